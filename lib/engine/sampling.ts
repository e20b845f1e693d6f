import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { checkedQuickly } from '../runtime/checked_quickly.js';

// Columns of native/kernels/sampling/sampling_layout.h.
export const controlColumns = 8;
export const integerColumns = 8;

/** States that `advance` reports. */
export const requestState = { running: 0, stopped: 1, lengthReached: 2 } as const;

/** Limits of one step's tables: what a single request may ask for. */
export const samplingLimits = { biases: 512, stopTokens: 64, topLogprobs: 20 } as const;

const largestBias = 1e30;
const tokenKey = /^(0|[1-9]\d*)$/;
const logitBias = checkedQuickly(
  z.record(z.string().regex(tokenKey, 'expected token ids as keys'), z.number().min(-largestBias).max(largestBias)),
  (biases) => {
    for (const key in biases) {
      const bias: unknown = biases[key];
      if (!tokenKey.test(key) || typeof bias !== 'number' || !(Math.abs(bias) <= largestBias)) return key;
    }
    return undefined;
  },
);

const probability = z.number().min(0).max(1);

/** How the next token is drawn. */
export const samplingSchema = z.object({
  /** 0: always the most likely token. */
  temperature: z.number().min(0).max(100).default(1),
  /** Keep the k most likely tokens; 0: all. */
  topK: z
    .number()
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .default(0),
  /** Keep the smallest set of most likely tokens with this probability together. */
  topP: probability.default(1),
  /** Drop tokens less likely than this share of the most likely one. */
  minP: probability.default(0),
  /** Divide (or multiply, below zero) the logits of tokens already seen, in prompt or answer; 1: off. */
  repetitionPenalty: z.number().min(0.01).max(100).default(1),
  /** Subtract per time a token was generated. */
  frequencyPenalty: z.number().min(-100).max(100).default(0),
  /** Subtract once a token was generated. */
  presencePenalty: z.number().min(-100).max(100).default(0),
  /** Added to the logits of single tokens, by token id. */
  logitBias: logitBias
    .refine((biases) => Object.keys(biases).length <= samplingLimits.biases, `expected at most ${samplingLimits.biases} tokens`)
    .default({}),
  /** The same seed and text give the same tokens, whatever else runs. Default: random. */
  seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  /** Report this many most likely tokens beside each drawn one. */
  topLogprobs: z.number().int().min(0).max(samplingLimits.topLogprobs).default(0),
});

/** Sampling settings of a request with every default filled in. */
export type Sampling = z.output<typeof samplingSchema>;

/** Sampling settings as users write them. */
export type SamplingOptions = z.input<typeof samplingSchema>;

/** A seed for a request that gave none. */
export const randomSeed = (): number => randomBytes(6).readUIntBE(0, 6);

/** Writes one request's settings into row `row` of the step's tables. */
export function writeSampling(
  sampling: Sampling & { seed: number },
  slot: number,
  maxLength: number,
  row: number,
  controls: Float32Array,
  integers: Int32Array,
): void {
  const { temperature, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty } = sampling;
  controls.set([temperature, topP, minP, repetitionPenalty, frequencyPenalty, presencePenalty, 0, 0], row * controlColumns);
  const low = (sampling.seed % 2 ** 32) | 0;
  const high = Math.floor(sampling.seed / 2 ** 32) | 0;
  integers.set([sampling.topK, low, high, sampling.topLogprobs, slot, maxLength, 0, 0], row * integerColumns);
}
