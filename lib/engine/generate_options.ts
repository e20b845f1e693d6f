import { z } from 'zod';
import { checkedQuickly } from '../runtime/checked_quickly.js';
import { signalSchema } from '../runtime/signal_schema.js';
import { samplingLimits, samplingSchema } from './sampling.js';

const adapterName = "expected an adapter's name, { name, scale }, or an array of them";
const adapterRef = z.union(
  [z.string(), z.strictObject({ name: z.string(), scale: z.number().min(-1000).max(1000).default(1) })],
  adapterName,
);
const token = z.number().int().min(0);
const tokenList = checkedQuickly(z.array(token), (values) => {
  for (let i = 0; i < values.length; i++) if (!Number.isSafeInteger(values[i]) || (values[i] as number) < 0) return i;
  return undefined;
});

const text = {
  /** Text to continue. One of prompt, messages and tokens. */
  prompt: z.string().optional(),
  /** A conversation, rendered with the model's chat template. */
  messages: z.array(z.looseObject({ role: z.string() })).optional(),
  /** Token ids to continue. */
  tokens: tokenList.optional(),
  /** Name of an adapter, or several with scales. Default, and null: the bare model. */
  adapter: z.union([adapterRef, z.array(adapterRef), z.null()], adapterName).optional(),
};

/** A request to generate. */
export const generateSchema = samplingSchema
  .extend(text)
  .extend({
    /** Tokens to generate at most. Default: as many as the context holds. */
    maxTokens: z.number().int().min(1).optional(),
    /** Strings that end the answer; they are not part of it. */
    stop: z.union([z.string().min(1), z.array(z.string().min(1)).max(64)]).default([]),
    /** Tokens that end the answer, besides the model's own end of text. */
    stopTokens: z
      .array(token)
      .max(samplingLimits.stopTokens - 16)
      .default([]),
    /** Go on when the model wants to end. */
    ignoreEos: z.boolean().default(false),
  })
  .strict();

/** A request to generate. */
export type GenerateRequest = z.input<typeof generateSchema>;

/** A request to score: the log-probability of every token of a text. */
export const scoreSchema = z.strictObject({
  /** Text to score. One of text and tokens. */
  text: z.string().optional(),
  /** Token ids to score. */
  tokens: tokenList.optional(),
  adapter: text.adapter,
});

/** A request to score. */
export type ScoreRequestOptions = z.input<typeof scoreSchema>;

/** Adapters of a request in one form. */
export function adapterList(value: z.output<typeof text.adapter>): { name: string; scale: number }[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map((ref) => (typeof ref === 'string' ? { name: ref, scale: 1 } : ref));
}

/** What a call takes besides its request. */
export const callSchema = z.strictObject({
  /** Ends the call with AbortError. */
  signal: signalSchema.optional(),
});

/** What a call takes besides its request. */
export type CallOptions = z.input<typeof callSchema>;
