import { z } from 'zod';
import { deviceSchema } from '../runtime/device.js';
import { signalSchema } from '../runtime/signal_schema.js';
import type { LoadProgress } from './load_weights.js';

const count = z.number().int().min(1);

/** What a merge multiplies the adapter's changes by. */
export const mergeScale = z.number().min(-1e6).max(1e6).default(1);

/** Options of `loadModel`. */
export const loadSchema = z.strictObject({
  /** Adapters to load with the model: name → folder (PEFT). */
  adapters: z.record(z.string().min(1), z.string()).default({}),
  /** 'cpu', 'cuda' or 'cuda:1'; 'auto' takes a CUDA device where one can be used and the model fits in its memory, otherwise the processor. */
  device: deviceSchema.default('auto'),
  /** bf16 weights where the processor multiplies bf16: 'fast' rounds activations to bf16, as PyTorch does; 'precise' keeps them. */
  precision: z.enum(['fast', 'precise']).default('fast'),
  /**
   * Keep bf16 weights of linear layers in 12 bits each, without loss, where that makes them faster to read (processors with AVX-512): a
   * quarter less memory, faster decoding of a few requests, long prompts some per cent slower.
   */
  compactWeights: z.boolean().default(true),
  /**
   * How factors and whole weights of adapters are kept: 'stored' as their files have them, which is f32 unless PEFT was told otherwise; 'bf16'
   * rounds those of more bits: half the memory or less, faster steps, outputs that differ as far as eight bits of precision allow.
   */
  adapterDtype: z.enum(['stored', 'bf16']).default('stored'),
  /** How keys and values are kept. Default: f32 for f32 weights, else bf16. */
  cacheDtype: z.enum(['f32', 'f16', 'bf16']).optional(),
  /** Bytes for keys, values and adapters together. The processor's memory is used as it is needed, a CUDA device's is taken at once. */
  poolBytes: count.optional(),
  /** Tokens of a request at most, prompt and answer. Default: what the model was made for. */
  contextLength: count.optional(),
  /** Requests that run at the same time; more wait. */
  maxRequests: count.max(4096).default(128),
  /** Tokens of one step: prompts are cut into pieces of this size. */
  maxStepTokens: count.max(65_536).default(512),
  /**
   * Keep adapters in host memory too, and have only those on the device that requests run or wait for, as far as there is room: more can be
   * loaded than fit. Default: on CUDA devices only; on the processor it costs a second copy.
   */
  moveAdapters: z.boolean().optional(),
  /** Adapters on the device at the same time; without `moveAdapters`, adapters loaded at the same time. */
  maxAdapters: count.max(65_536).default(256),
  /** Adapters that one request can combine. */
  maxAdaptersPerRequest: count.max(16).default(4),
  /** Keep the keys and values of finished prompts while their memory is not needed. */
  prefixCache: z.boolean().default(true),
  /** Told while weights are read. */
  onProgress: z.custom<(progress: LoadProgress) => void>((f) => typeof f === 'function', 'expected a function').optional(),
  signal: signalSchema.optional(),
});

/** Options of `loadModel`. */
export type LoadOptions = z.input<typeof loadSchema>;
