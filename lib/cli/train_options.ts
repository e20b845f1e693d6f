// From the words of the command line, and a file, to the options of a training.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { trainableMethods } from '../adapters/methods/trainable.js';
import { readJsonFile } from '../checkpoint/json.js';
import { OptionError } from '../errors.js';
import { decimal, deviceName, wholeNumber } from './model_options.js';

/** What the command line says. */
export interface TrainFlags {
  config?: string;
  resume?: boolean;
  json?: boolean;
  printSchema?: boolean;
  model?: string;
  output?: string;
  data?: string[];
  adapter?: Record<string, string[]>;
  sample?: string[];
  samples?: boolean;
  [name: string]: unknown;
}

// Words that name an option of the data; all others that are given name an option of the training.
const dataWords = ['batchSize', 'maxLength', 'pack', 'evaluation', 'trainOnPrompt', 'maxBadLines', 'documents'];
const otherWords = ['config', 'resume', 'json', 'printSchema', 'data', 'adapter', 'sample', 'samples'];

/** Adds the options of a training to a command. */
export function withTraining(command: Command): Command {
  const choice = (words: string, text: string, choices: string[]): Option => new Option(words, text).choices(choices);
  return command
    .option('-m, --model <folder>', 'base model: a folder, or org/name on the Hugging Face Hub')
    .option('-d, --data <file...>', 'JSONL ({"text"}, {"prompt", "completion"} or {"messages"} per line) or plain text')
    .option('-o, --output <folder>', 'folder for the adapter, checkpoints, log.jsonl and report.html')
    .option('--name <name>', 'name of the adapter in log and report (default: adapter)')
    .option(
      '-a, --adapter <name=file>',
      'train an adapter of this name on this file: several are trained at once (may repeat)',
      adapterFlag,
    )
    .option('-c, --config <file>', 'JSON file with any of these options, and more; the command line goes first')
    .option('--resume', 'go on from the last checkpoint in --output; begin where there is none')
    .option('--method <name>', `adapter method: ${[...trainableMethods.keys()].join(', ')} (default: lora)`)
    .option('--from <folder>', 'adapter to go on from, of heddle or PEFT: it decides rank, alpha and target modules')
    .option('--rank <n>', 'rank of the factors (default: 16)', wholeNumber(1))
    .option('--alpha <x>', 'the scale is alpha / rank (default: twice the rank)', decimal())
    .option('--target-modules <name...>', 'modules by the last parts of their names, or all-linear (default: all-linear)')
    .option('--rs-lora', 'scale by alpha / sqrt(rank)')
    .option('--lora-plus-ratio <x>', 'learning rate of B over that of A (default: 1)', decimal())
    .option('--init <name>', "how the factors begin, such as pissa or olora (default: the method's own)")
    .addOption(choice('--optimiser <name>', '(default: adamw)', ['adamw', 'sgd']))
    .option('--learning-rate <x>', 'peak learning rate (default: 2e-4 for adamw, 1e-2 for sgd)', decimal())
    .addOption(choice('--schedule <kind>', '(default: cosine)', ['constant', 'linear', 'cosine']))
    .option('--warmup <n>', 'steps until the peak rate, or below 1 a share of all steps (default: 0.03)', decimal())
    .option('--weight-decay <x>', 'decoupled weight decay (default: 0)', decimal())
    .option('--clip-norm <x>', 'gradients are scaled to this norm at most; 0: never (default: 1)', decimal())
    .option('--steps <n>', 'steps to train (default: as --epochs says)', wholeNumber(1))
    .option('--epochs <x>', 'passes over the data (default: 1)', decimal())
    .option('--batch-size <n>', 'examples of a step (default: 8)', wholeNumber(1))
    .option('--accumulation <n>', 'a step takes this many times --batch-size (default: 1)', wholeNumber(1))
    .option('--batch-tokens <n>', 'tokens that run at once: more of a step run in parts (default: 1024)', wholeNumber(1))
    .option('--max-length <n>', 'tokens of an example: longer texts are split', wholeNumber(2))
    .option('--pack', 'put short examples together; --batch-size then counts packs')
    .addOption(choice('--documents <how>', 'a plain text file is one document, or several (default: file)', ['file', 'blank-lines']))
    .option('--train-on-prompt', 'learn prompts and the user’s turns too')
    .option('--max-bad-lines <n>', 'lines of the data that may be skipped (default: 0)', wholeNumber())
    .option('--evaluation <share|file>', 'held out: a share of the data such as 0.05, or a file', shareOrFile)
    .option('--evaluate-every <n>', 'steps between evaluations (default: a tenth of all)', wholeNumber(1))
    .option('--save-every <n>', 'steps between checkpoints (default: 100)', wholeNumber(1))
    .addOption(
      choice('--recompute <what>', 'computed again instead of kept: less memory, more time (default: cheap)', ['none', 'cheap', 'layer']),
    )
    .addOption(choice('--precision <mode>', 'how bf16 weights are multiplied (default: fast)', ['fast', 'precise']))
    .option('--seed <n>', 'same seed, same adapter (default: 0)', wholeNumber())
    .option('--device <name>', 'cpu, cuda, cuda:1 or auto: a CUDA device where one can be used (default: auto)', deviceName)
    .option('--threads <n>', 'threads of the engine (default: the cores of this process)', wholeNumber(1, 1024))
    .option('--sample <prompt...>', 'texts that the trained adapters continue for the report (default: beginnings of held-out examples)')
    .option('--no-samples', 'no continuations')
    .option('--print-schema', 'print the JSON schema of --config files and end')
    .option('--json', 'one JSON object per event, for machines');
}

/** The options that file and command line give together. Throws FileFormatError, FileAccessError, OptionError. */
export async function trainOptionsOf(flags: TrainFlags): Promise<Record<string, unknown>> {
  const written = flags.config === undefined ? {} : await readConfig(flags.config);
  const given = Object.entries(flags).filter(([, value]) => value !== undefined);
  const options: Record<string, unknown> = { ...written };
  for (const [name, value] of given) if (!dataWords.includes(name) && !otherWords.includes(name)) options[name] = value;
  const dataOptions = Object.fromEntries(given.filter(([name]) => dataWords.includes(name)));
  const about = { ...objectOf(written.data), ...dataOptions, ...(flags.data === undefined ? {} : { files: flags.data }) };
  if (flags.adapter !== undefined) {
    options.adapters = Object.fromEntries(Object.entries(flags.adapter).map(([name, files]) => [name, { data: { ...about, files } }]));
    delete options.data;
  } else if (Object.keys(about).length > 0) options.data = about;
  if (flags.samples === false) options.samples = false;
  else if (flags.sample !== undefined)
    options.samples = { ...(typeof written.samples === 'object' ? written.samples : {}), prompts: flags.sample };
  return options;
}

async function readConfig(path: string): Promise<Record<string, unknown>> {
  const value = await readJsonFile(path);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new OptionError(`${path}: expected a JSON object with options; heddle train --print-schema says which there are`, { file: path });
}

function objectOf(data: unknown): Record<string, unknown> {
  if (data === undefined) return {};
  return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Record<string, unknown>) : { files: data };
}

function adapterFlag(text: string, soFar: Record<string, string[]> = {}): Record<string, string[]> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('Expected NAME=FILE.');
  const name = text.slice(0, at);
  return { ...soFar, [name]: [...(Object.hasOwn(soFar, name) ? (soFar[name] as string[]) : []), text.slice(at + 1)] };
}

function shareOrFile(text: string): number | string {
  const share = Number(text);
  if (text.trim() === '' || !Number.isFinite(share)) return text;
  if (share > 0 && share < 1) return share;
  throw new InvalidArgumentError('Expected a share above 0 and below 1, or a file.');
}
