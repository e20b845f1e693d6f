import { type Command, InvalidArgumentError, Option } from 'commander';
import { type HubProgress, resolveModelFolder } from '../checkpoint/hub.js';
import { isHubId } from '../checkpoint/hub_cache.js';
import { setThreads } from '../engine/device.js';
import { loadModel } from '../engine/load_model.js';
import type { Model } from '../engine/model.js';
import { FileAccessError, HeddleError } from '../errors.js';
import { deviceSchema } from '../runtime/device.js';
import { throwIfInterrupted } from './interrupt.js';
import { ProgressBar } from './progress.js';

/** Options that every command with a model has. */
export interface ModelFlags {
  model: string;
  adapter?: Record<string, string>;
  device?: string;
  threads?: number;
  precision?: 'fast' | 'precise';
  adapterDtype?: 'stored' | 'bf16';
  context?: number;
  pool?: number;
  json?: boolean;
}

/** Reads a whole number of at least `least` from the command line. */
export function wholeNumber(least = 0, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    const range = most === Number.MAX_SAFE_INTEGER && !(value > most) ? `${least} or more` : `${least} to ${most}`;
    if (!/^\d+$/.test(text) || value < least || value > most) throw new InvalidArgumentError(`Expected a whole number, ${range}.`);
    return value;
  };
}

/** Reads a number from the command line. */
export function decimal(least = 0, most = Number.POSITIVE_INFINITY): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= least && value <= most && Number.isFinite(value)) return value;
    throw new InvalidArgumentError(`Expected a number, ${Number.isFinite(most) ? `${least} to ${most}` : `${least} or more`}.`);
  };
}

/** Reads the name of a device. */
export function deviceName(text: string): string {
  if (!deviceSchema.safeParse(text).success) throw new InvalidArgumentError('Expected auto, cpu, cuda, or cuda:1 and so on.');
  return text;
}

/** Reads an amount of memory: `4GB`, `512 MiB`, `1000000`. */
export function byteCount(text: string): number {
  const [, amount, prefix = '', binary] = /^(\d+(?:\.\d+)?) *([kmgt]?)(i?)b?$/i.exec(text) ?? [];
  const bytes = Math.floor(Number(amount) * (binary ? 1024 : 1000) ** ' kmgt'.indexOf(prefix.toLowerCase() || ' '));
  if (amount === undefined || !Number.isSafeInteger(bytes) || bytes < 1)
    throw new InvalidArgumentError('Expected bytes, such as 512MB or 4GiB.');
  return bytes;
}

function adapterFlag(text: string, soFar: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('Expected NAME=FOLDER.');
  const name = text.slice(0, at);
  if (Object.hasOwn(soFar, name)) throw new InvalidArgumentError(`There are two adapters named '${name}'.`);
  return { ...soFar, [name]: text.slice(at + 1) };
}

/** Refuses a command without this option. Unlike commander's own check it lets a mistyped option be reported first. */
export function mustGive(command: Command, name: string): Command {
  return command.hook('preAction', (given) => {
    if (given.opts()[name] === undefined) given.error(`error: --${name} is missing`);
  });
}

/** Adds the options of a model to a command; `fallback` says what runs where no model is named. */
export function withModel(command: Command, fallback?: string): Command {
  const ending = fallback === undefined ? '' : ` (default: ${fallback})`;
  if (fallback === undefined) mustGive(command, 'model');
  return command
    .option('-m, --model <folder>', `model folder, or org/name on the Hugging Face Hub${ending}`)
    .option('-a, --adapter <name=folder>', 'load a PEFT adapter under a name (may repeat)', adapterFlag)
    .option('--device <name>', 'cpu, cuda, cuda:1 or auto: a CUDA device where one can be used (default: auto)', deviceName)
    .option('--threads <n>', 'threads of the engine (default: the cores of this process)', wholeNumber(1, 1024))
    .addOption(
      new Option('--precision <mode>', 'how bf16 weights are multiplied: inputs rounded to bf16, or not (default: fast)').choices([
        'fast',
        'precise',
      ]),
    )
    .addOption(
      new Option(
        '--adapter-dtype <type>',
        'how factors of adapters are kept: as in their files, or rounded to bf16 (default: stored)',
      ).choices(['stored', 'bf16']),
    )
    .option('--context <n>', "tokens of a request at most (default: the model's own limit)", wholeNumber(1))
    .option('--pool <bytes>', 'memory for keys, values and adapters, such as 4GB', byteCount)
    .option('--json', 'one JSON object per line, for machines');
}

/** Loads the model and the adapters that the options name, with a progress bar on a terminal. */
export async function openModel(flags: ModelFlags, signal: AbortSignal): Promise<Model> {
  if (flags.threads !== undefined) setThreads(flags.threads);
  let bar: ProgressBar | undefined;
  try {
    const folder = await folderOf(flags.model, signal);
    const adapters: [name: string, folder: string][] = [];
    for (const [name, path] of Object.entries(flags.adapter ?? {})) adapters.push([name, await folderOf(path, signal)]);
    bar = new ProgressBar({ label: `loading ${flags.model}`, unit: 'bytes' });
    return await loadModel(folder, {
      adapters: Object.fromEntries(adapters),
      device: flags.device,
      precision: flags.precision,
      adapterDtype: flags.adapterDtype,
      contextLength: flags.context,
      poolBytes: flags.pool,
      onProgress: ({ bytes, totalBytes }) => bar?.update(bytes, totalBytes),
      signal,
    });
  } catch (error) {
    throwIfInterrupted(signal);
    throw error;
  } finally {
    bar?.finish();
  }
}

/** A folder of this machine, or one brought here from the Hub. */
async function folderOf(pathOrId: string, signal: AbortSignal): Promise<string> {
  let bar: ProgressBar | undefined;
  const onProgress = ({ totalReceived, totalBytes }: HubProgress): void => {
    bar ??= new ProgressBar({ label: `downloading ${pathOrId}`, unit: 'bytes' });
    bar.update(totalReceived, totalBytes);
  };
  try {
    return await resolveModelFolder(pathOrId, { signal, onProgress });
  } catch (error) {
    // A mistyped folder looks like an id: say that it was looked for here too.
    if (!(error instanceof HeddleError) || error.code === 'ABORT_ERR' || !isHubId(pathOrId)) throw error;
    throw new FileAccessError(
      `there is no folder ${pathOrId} here, and as the id of a model on the Hugging Face Hub: ${error.message}`,
      error.details,
      { cause: error },
    );
  } finally {
    bar?.finish();
  }
}
