import { type Command, InvalidArgumentError } from 'commander';
import { setThreads } from '../engine/device.js';
import { loadModel } from '../engine/load_model.js';
import type { Model } from '../engine/model.js';
import { ProgressBar } from './progress.js';

/** Options that every command with a model has. */
export interface ModelFlags {
  model: string;
  adapter: Record<string, string>;
  threads?: number;
  precision?: 'fast' | 'precise';
  context?: number;
  pool?: number;
  json?: boolean;
}

/** A whole number from the command line. */
export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('expected a whole number');
  return Number(text);
}

/** A number from the command line. */
export function decimal(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('expected a number');
  return value;
}

function adapterFlag(text: string, soFar: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('expected NAME=FOLDER');
  const name = text.slice(0, at);
  if (Object.hasOwn(soFar, name)) throw new InvalidArgumentError(`there are two adapters named '${name}'`);
  return { ...soFar, [name]: text.slice(at + 1) };
}

/** Adds the options of a model to a command. */
export function withModel(command: Command): Command {
  return command
    .requiredOption('-m, --model <folder>', 'model folder, or org/name on the Hugging Face Hub')
    .option('-a, --adapter <name=folder>', 'load a PEFT adapter under a name (may repeat)', adapterFlag, {})
    .option('--threads <n>', 'threads of the engine (default: the cores of this process)', wholeNumber)
    .option('--precision <mode>', "'fast' or 'precise': how bf16 weights are multiplied")
    .option('--context <n>', "tokens of a request at most (default: the model's own limit)", wholeNumber)
    .option('--pool <bytes>', 'memory for keys, values and adapters', wholeNumber)
    .option('--json', 'one JSON object per line, for machines');
}

/** Loads the model that the options name, with a progress bar on a terminal. */
export async function openModel(flags: ModelFlags, signal?: AbortSignal): Promise<Model> {
  if (flags.threads !== undefined) setThreads(flags.threads);
  const bar = new ProgressBar({ label: `loading ${flags.model}`, unit: 'bytes' });
  try {
    return await loadModel(flags.model, {
      adapters: flags.adapter,
      ...(flags.precision === undefined ? {} : { precision: flags.precision }),
      contextLength: flags.context,
      poolBytes: flags.pool,
      onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
      signal,
    });
  } finally {
    bar[Symbol.dispose]();
  }
}

/** A signal that Ctrl-C aborts; a second Ctrl-C ends the process as usual. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort(new Error('interrupted')));
  return controller.signal;
}
