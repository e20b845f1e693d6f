// What users say about a training.
import { z } from 'zod';
import { OptionError } from '../errors.js';
import { deviceSchema } from '../runtime/device.js';
import { parseOptions, unusableKey } from '../runtime/parse_options.js';
import { type AdapterStart, readAdapterStart, withAdapterStart } from './adapter_start.js';
import { type DataOptions, type DataSettings, dataSchema, parseDataOptions } from './data/data_options.js';
import { scheduleSchema } from './schedules.js';

const count = z.number().int().min(1);
const files = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);
const rate = z.number().gt(0).max(1e6);

const seed = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const { kind, warmup, floor } = scheduleSchema.shape;

// Defaults are filled in later, from what is said for all adapters.
const schedule = z
  .union([
    kind.unwrap(),
    z.strictObject({ kind: kind.unwrap().optional(), warmup: warmup.unwrap().optional(), floor: floor.unwrap().optional() }),
  ])
  .describe('constant, linear or cosine; or an object with kind, warmup (steps, or a share below 1) and floor (share of the peak)');

/** What can be said for each adapter, or for all. */
const adapterFields = {
  /** Adapter method. */
  method: z.string().min(1).describe("adapter method, such as lora (default: 'lora')"),
  /** Adapter folder to go on from, of this training or of PEFT: it decides the method's kind, rank, alpha, rsLora and targetModules. */
  from: z
    .string()
    .min(1)
    .describe('adapter folder to go on from: it decides rank, alpha, rsLora, targetModules and, where not said, method'),
  /** Rank of the factors. Default 16. */
  rank: count.max(65_536).describe('rank of the factors (default: 16)'),
  /** The scale is alpha / rank, with rsLoRA alpha / sqrt(rank). Default: twice the rank. */
  alpha: rate.describe('the scale is alpha / rank, with rsLora alpha / sqrt(rank) (default: twice the rank)'),
  /** Modules by the last parts of their names, or 'all-linear'. Default 'all-linear'. */
  targetModules: files.describe("modules by the last parts of their names, or 'all-linear' (default: 'all-linear')"),
  /** Scale by alpha / sqrt(rank) (Kalajdzievski, 2023). */
  rsLora: z.boolean().describe('scale by alpha / sqrt(rank) (default: false)'),
  /** Rate of B over that of A (LoRA+; Hayou et al., 2024). Default 1. */
  loraPlusRatio: rate.describe('learning rate of B over that of A, as in LoRA+ (default: 1)'),
  /** How the factors begin, by the method's own names. Default: the method's. */
  init: z.string().min(1).describe("how the factors begin: names of the method, such as pissa or olora (default: the method's own)"),
  /** Further options of the method. */
  methodOptions: z.record(z.string(), z.json()).describe('further options of the method'),
  /** 'adamw' or 'sgd'. Default 'adamw'. */
  optimiser: z.enum(['adamw', 'sgd']).describe("(default: 'adamw')"),
  /** Peak learning rate. Default 2e-4 for adamw, 1e-2 for sgd. */
  learningRate: rate.describe('peak learning rate (default: 2e-4 for adamw, 1e-2 for sgd)'),
  /** How the rate changes. Default cosine. */
  schedule,
  /** Steps until the peak, or a share of all steps below 1. Default 0.03. */
  warmup: warmup.unwrap().describe('steps until the peak rate, or below 1 a share of all steps (default: 0.03)'),
  /** Decoupled weight decay. Default 0. */
  weightDecay: z.number().min(0).max(1e3).describe('decoupled weight decay (default: 0)'),
  /** AdamW's decays. Default 0.9 and 0.999. */
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).describe("adamw's decays (default: [0.9, 0.999])"),
  /** Added to the root of the second moment. Default 1e-8. */
  epsilon: z.number().gt(0).max(1).describe('(default: 1e-8)'),
  /** Of sgd. Default 0.9. */
  momentum: z.number().min(0).lt(1).describe('of sgd (default: 0.9)'),
  /** Gradients of an adapter are scaled to this norm at most; 0: never. Default 1. */
  clipNorm: z.number().min(0).max(1e30).describe('gradients of an adapter are scaled to this norm at most; 0: never (default: 1)'),
  /** Steps to train. Default: `epochs`. */
  steps: count.describe('steps to train (default: as many as epochs needs)'),
  /** Passes over the data; fractions count. Default 1. */
  epochs: z.number().gt(0).max(1e6).describe('passes over the data (default: 1)'),
  /** A step takes this many times the data's batchSize. Default 1. */
  accumulation: count.max(1_000_000).describe("a step takes this many times the data's batchSize of examples (default: 1)"),
} as const;

// Callbacks have no place in a file.
const dataWords = z
  .union([files, dataSchema.omit({ onBadLine: true }).extend({ seed: seed.optional() })])
  .describe('files with examples (JSONL or plain text), or an object with files and how to read them');

const optional = <T extends Record<string, z.ZodType>>(fields: T): { [K in keyof T]: z.ZodOptional<T[K]> } =>
  Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.optional()])) as { [K in keyof T]: z.ZodOptional<T[K]> };

const samples = z.union([
  z.literal(false),
  z.strictObject({
    /** Texts to go on with. Default: beginnings of held-out examples. */
    prompts: z.array(z.string().min(1)).min(1).max(64).optional(),
    /** Prompts taken from the data where none are given. */
    count: count.max(64).default(3),
    maxTokens: count.max(4096).default(48),
    temperature: z.number().min(0).max(100).default(0.8),
  }),
]);

/** Everything that a file can say. */
export const trainFileSchema = z.strictObject({
  $schema: z.string().optional(),
  /** Model folder, or org/name on the Hugging Face Hub. */
  model: z.string().min(1).describe('model folder, or org/name on the Hugging Face Hub'),
  /** Folder for the adapter, checkpoints, log and report. */
  output: z.string().min(1).describe('folder for the adapter, checkpoints, log.jsonl and report.html'),
  /** Data of the one adapter, or of all that bring none of their own. */
  data: dataWords.optional(),
  /** Name of the one adapter in log and report. Default 'adapter'. */
  name: z.string().min(1).optional().describe('name of the one adapter in log and report (default: adapter)'),
  ...optional(adapterFields),
  /** Several adapters, trained in shared batches: what they do not say, the options beside `adapters` say for all. */
  adapters: z
    .record(
      z
        .string()
        .regex(
          /^[\w][\w.-]{0,127}$/,
          "expected 1 to 128 letters from a to z, digits, '_', '-' and '.', with a letter, a digit or '_' at the beginning",
        ),
      z.strictObject({ data: dataWords.optional(), ...optional(adapterFields) }),
    )
    .optional()
    .describe('several adapters by name, trained in shared batches; what one does not say, the options beside adapters say for all'),
  /** Tokens that run at once at most; a step of more runs in parts. */
  batchTokens: count.max(1_000_000).default(1024).describe('tokens that run at once at most: a step of more runs in parts'),
  /** Everything random depends on it alone: order, initial factors, samples. */
  seed: seed.default(0).describe('order, initial factors and samples depend on it alone'),
  /** Steps from one evaluation to the next; there is one before the first and after the last step too. Default: a tenth of all. */
  evaluateEvery: count.optional().describe('steps between evaluations of held-out data (default: a tenth of all steps)'),
  /** Steps from one checkpoint to the next. */
  saveEvery: count.default(100).describe('steps between checkpoints'),
  /** 'cheap' computes norms, activations and attention again instead of keeping them; 'layer' all but the beginnings of layers: least memory, about a third more time. Default 'cheap'. */
  recompute: z
    .enum(['none', 'cheap', 'layer'])
    .default('cheap')
    .describe(
      "what is computed again instead of kept: 'none', 'cheap' (norms, activations, attention), 'layer' (all but the beginnings of layers)",
    ),
  /** How bf16 weights are multiplied; see loadModel. */
  precision: z.enum(['fast', 'precise']).default('fast'),
  /** 'cpu', 'cuda' or 'cuda:1'; 'auto' takes a CUDA device where one can be used. Default 'auto'. */
  device: deviceSchema.default('auto').describe("'cpu', 'cuda', 'cuda:1' or 'auto': a CUDA device where one can be used"),
  /** Threads of the engine. Default: the cores of the process. */
  threads: count.max(1024).optional(),
  /** Texts that the trained adapters continue, for the report; false: none. */
  samples: samples.default({ count: 3, maxTokens: 48, temperature: 0.8 }),
});

/** Options of `train`, as users write them. */
export type TrainOptions = Omit<z.input<typeof trainFileSchema>, '$schema'>;

/** What is said for one adapter, every default filled in. */
export interface AdapterSettings {
  readonly data: DataSettings;
  readonly method: string;
  /** Folder whose values the adapter begins with. */
  readonly from: string | undefined;
  readonly rank: number;
  readonly alpha: number;
  readonly targetModules: string | readonly string[];
  readonly rsLora: boolean;
  readonly loraPlusRatio: number;
  readonly init: string | undefined;
  readonly methodOptions: Readonly<Record<string, unknown>>;
  readonly optimiser: 'adamw' | 'sgd';
  readonly learningRate: number;
  readonly schedule: z.output<typeof scheduleSchema>;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly momentum: number;
  readonly clipNorm: number;
  readonly steps: number | undefined;
  readonly epochs: number;
  readonly accumulation: number;
}

/** Options with every default filled in. */
export interface TrainSettings {
  readonly model: string;
  readonly output: string;
  /** By name, in the order given. */
  readonly adapters: ReadonlyMap<string, AdapterSettings>;
  /** Whether `adapters` was given: each then has a folder of its own in `output`. */
  readonly many: boolean;
  readonly batchTokens: number;
  readonly seed: number;
  readonly evaluateEvery: number | undefined;
  readonly saveEvery: number;
  readonly recompute: 'none' | 'cheap' | 'layer';
  readonly precision: 'fast' | 'precise';
  readonly device: string;
  readonly threads: number | undefined;
  readonly samples: false | { prompts?: string[] | undefined; count: number; maxTokens: number; temperature: number };
}

type Parsed = z.output<typeof trainFileSchema>;
type AdapterWords = Pick<Parsed, keyof typeof adapterFields | 'data'>;

/**
 * Checks options, reads the folders that adapters go on from, and fills in the defaults. Throws OptionError naming the option, its value
 * and what was expected, and AdapterError for a folder that cannot be trained on.
 */
export async function readTrainOptions(options: unknown, what = 'train'): Promise<TrainSettings> {
  const { adapters } = parseTrainOptions(options, what);
  const starts = new Map<string, AdapterStart>();
  for (const [name, { from }] of adapters) if (from !== undefined) starts.set(name, await readAdapterStart(from));
  return parseTrainOptions(options, what, starts);
}

/** The same where no adapter goes on from a folder, or where `starts` says by adapter what the folders hold. */
export function parseTrainOptions(options: unknown, what = 'train', starts: ReadonlyMap<string, AdapterStart> = new Map()): TrainSettings {
  const parsed = parseOptions(trainFileSchema, options, what);
  const { adapters, name } = parsed;
  const many = adapters !== undefined;
  if (many && Object.keys(adapters).length === 0)
    throw new OptionError(`${what}.adapters is empty: expected at least one adapter`, { option: 'adapters' });
  if (many && name !== undefined)
    throw new OptionError(`${what}.name is '${name}': expected no name beside adapters, which have their own`, { option: 'name' });
  if (name === unusableKey) throw new OptionError(`${what}.name is '${name}': expected another name`, { option: 'name', actual: name });
  const own: Record<string, Partial<AdapterWords>> = many ? adapters : { [name ?? 'adapter']: {} };
  const settings = new Map<string, AdapterSettings>();
  for (const [adapter, words] of Object.entries(own)) {
    const where = many ? `${what}.adapters.${adapter}` : what;
    const all: AdapterWords = { ...withoutUndefined(parsed), ...withoutUndefined(words) };
    const start = starts.get(adapter);
    // What is said for all gives way to the folder of one.
    const decided = start === undefined ? all : withAdapterStart(all, words.from === undefined ? all : words, start, where);
    settings.set(adapter, adapterSettings(decided, parsed.seed, where));
  }
  const { model, output, batchTokens, seed, evaluateEvery, saveEvery, recompute, precision, device, threads, samples } = parsed;
  return {
    model,
    output,
    adapters: settings,
    many,
    batchTokens,
    seed,
    evaluateEvery,
    saveEvery,
    recompute,
    precision,
    device,
    threads,
    samples,
  };
}

function adapterSettings(words: AdapterWords, generalSeed: number, where: string): AdapterSettings {
  if (words.data === undefined) throw new OptionError(`${where}.data is missing: expected files with examples`, { option: 'data' });
  const rank = words.rank ?? 16;
  const optimiser = words.optimiser ?? 'adamw';
  const written: { kind?: string; warmup?: number; floor?: number } | undefined =
    typeof words.schedule === 'string' ? { kind: words.schedule } : words.schedule;
  const shape = scheduleSchema.parse({ ...withoutUndefined(written ?? {}), warmup: written?.warmup ?? words.warmup ?? 0.03 });
  return {
    data: dataSettings(words.data, generalSeed, `${where}.data`),
    method: words.method ?? 'lora',
    from: words.from,
    rank,
    alpha: words.alpha ?? 2 * rank,
    targetModules: words.targetModules ?? 'all-linear',
    rsLora: words.rsLora ?? false,
    loraPlusRatio: words.loraPlusRatio ?? 1,
    init: words.init,
    methodOptions: words.methodOptions ?? {},
    optimiser,
    learningRate: words.learningRate ?? (optimiser === 'adamw' ? 2e-4 : 1e-2),
    schedule: shape,
    weightDecay: words.weightDecay ?? 0,
    betas: words.betas ?? [0.9, 0.999],
    epsilon: words.epsilon ?? 1e-8,
    momentum: words.momentum ?? 0.9,
    clipNorm: words.clipNorm ?? 1,
    steps: words.steps,
    epochs: words.epochs ?? 1,
    accumulation: words.accumulation ?? 1,
  };
}

// The seed of the training orders the data too, unless the data has its own.
function dataSettings(written: NonNullable<Parsed['data']>, generalSeed: number, where: string): DataSettings {
  const given: Exclude<DataOptions, string | readonly string[]> =
    typeof written === 'string' || Array.isArray(written) ? { files: written } : written;
  return parseDataOptions({ ...given, seed: given.seed ?? generalSeed }, where);
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T;
}
