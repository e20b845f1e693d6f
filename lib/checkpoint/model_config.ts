import { z } from 'zod';
import { ModelError } from '../errors.js';

/** Rotary position settings with one spelling. `partialRotaryFactor` is the share of each head's channels that turn. */
export type RopeSettings = { readonly base: number; readonly partialRotaryFactor: number } & (
  | { readonly type: 'default' }
  | { readonly type: 'linear'; readonly factor: number }
  | { readonly type: 'dynamic'; readonly factor: number; readonly originalMaxPositions: number }
  | {
      readonly type: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly type: 'yarn';
      readonly factor: number;
      readonly originalMaxPositions: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly attentionFactor?: number | undefined;
      readonly mscale?: number | undefined;
      readonly mscaleAllDim?: number | undefined;
      readonly truncate?: boolean | undefined;
    }
  | {
      readonly type: 'longrope';
      readonly shortFactor: readonly number[];
      readonly longFactor: readonly number[];
      readonly originalMaxPositions: number;
      readonly attentionFactor: number;
    }
);

/** config.json with one spelling of every setting and transformers' defaults filled in. */
export interface ModelConfig {
  readonly modelType: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly headWidth: number;
  readonly vocabularySize: number;
  readonly maxPositions: number;
  readonly normEps: number;
  readonly activation: 'relu' | 'gelu' | 'gelu_tanh' | 'silu';
  readonly tiedEmbeddings: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  /** Per layer: 'full_attention' or 'sliding_attention'. */
  readonly layerTypes: readonly ('full_attention' | 'sliding_attention')[];
  /** Positions that a sliding layer sees, its own included; 0 when no layer slides. */
  readonly slidingWindow: number;
  /** 0: none. */
  readonly attentionSoftCap: number;
  /** 0: none. */
  readonly finalSoftCap: number;
  /** Scores are divided by its square root; undefined: the head width. */
  readonly queryScalar?: number | undefined;
  readonly rope: RopeSettings;
  /** Of sliding layers, where they have their own. */
  readonly slidingRope?: RopeSettings | undefined;
  readonly bosTokenId?: number | undefined;
  readonly eosTokenIds: readonly number[];
  readonly raw: Readonly<Record<string, unknown>>;
}

const size = z
  .number()
  .int()
  .min(1)
  .max(2 ** 31);
const optionalSize = size.nullish();
const positive = z.number().positive();
const tokenIds = z.union([z.number().int(), z.array(z.number().int())]).nullish();

const schema = z.looseObject({
  model_type: z.string(),
  hidden_size: optionalSize,
  intermediate_size: optionalSize,
  num_hidden_layers: z.number().int().min(1).max(10_000).nullish(),
  num_attention_heads: optionalSize,
  num_key_value_heads: optionalSize,
  head_dim: optionalSize,
  vocab_size: size,
  max_position_embeddings: optionalSize,
  rms_norm_eps: positive.nullish(),
  layer_norm_epsilon: positive.nullish(),
  hidden_act: z.string().nullish(),
  hidden_activation: z.string().nullish(),
  activation_function: z.string().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
  sliding_window: optionalSize,
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.number().int().min(0).nullish(),
  sliding_window_pattern: optionalSize,
  _sliding_window_pattern: optionalSize,
  attn_logit_softcapping: positive.nullish(),
  final_logit_softcapping: positive.nullish(),
  query_pre_attn_scalar: positive.nullish(),
  rope_theta: positive.nullish(),
  rope_local_base_freq: positive.nullish(),
  rope_scaling: z.record(z.string(), z.unknown()).nullish(),
  rope_parameters: z.record(z.string(), z.unknown()).nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  original_max_position_embeddings: optionalSize,
  bos_token_id: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  eos_token_id: tokenIds,
  n_embd: optionalSize,
  n_layer: optionalSize,
  n_head: optionalSize,
  n_inner: optionalSize,
  n_positions: optionalSize,
  scale_attn_weights: z.boolean().nullish(),
  scale_attn_by_inverse_layer_idx: z.boolean().nullish(),
});
type Raw = z.output<typeof schema>;

// What transformers assumes where a config is silent.
interface Defaults {
  headWidth?: number;
  keyHeads?: number;
  tied?: boolean;
  maxPositions: number;
  normEps: number;
  ropeBase?: number;
  activation?: string;
  slidingWindow?: number;
  softCaps?: { attention: number; final: number };
  queryScalar?: number;
  slidingPattern?: (layer: number, raw: Raw) => boolean;
}

const defaults: Record<string, Defaults> = {
  llama: { maxPositions: 2048, normEps: 1e-6 },
  mistral: { maxPositions: 131_072, normEps: 1e-6, keyHeads: 8, slidingWindow: 4096, slidingPattern: () => true },
  qwen2: {
    maxPositions: 32_768,
    normEps: 1e-6,
    keyHeads: 32,
    slidingPattern: (layer, raw) => raw.use_sliding_window === true && layer >= (raw.max_window_layers ?? 28),
  },
  qwen3: {
    maxPositions: 32_768,
    normEps: 1e-6,
    keyHeads: 32,
    headWidth: 128,
    slidingPattern: (layer, raw) => raw.use_sliding_window === true && layer >= (raw.max_window_layers ?? 28),
  },
  gemma2: {
    maxPositions: 8192,
    normEps: 1e-6,
    headWidth: 256,
    keyHeads: 4,
    tied: true,
    activation: 'gelu_pytorch_tanh',
    slidingWindow: 4096,
    softCaps: { attention: 50, final: 30 },
    queryScalar: 256,
    slidingPattern: (layer) => layer % 2 === 0,
  },
  gemma3_text: {
    maxPositions: 131_072,
    normEps: 1e-6,
    headWidth: 256,
    keyHeads: 4,
    tied: true,
    activation: 'gelu_pytorch_tanh',
    ropeBase: 1_000_000,
    slidingWindow: 4096,
    queryScalar: 256,
    slidingPattern: (layer, raw) => (layer + 1) % (raw._sliding_window_pattern ?? raw.sliding_window_pattern ?? 6) !== 0,
  },
  phi3: { maxPositions: 4096, normEps: 1e-5, slidingPattern: () => true },
  gpt2: { maxPositions: 1024, normEps: 1e-5, tied: true, activation: 'gelu_new' },
};

const activations: Record<string, ModelConfig['activation']> = {
  relu: 'relu',
  gelu: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  silu: 'silu',
  swish: 'silu',
};

/** Reads a parsed config.json. Throws ModelError naming the field, what it is and what was expected. */
export function toModelConfig(json: unknown, model: string): ModelConfig {
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ModelError(`${model}: config.json: ${issue?.path.join('.') || 'the file'}: ${issue?.message}`, {
      issues: parsed.error.issues,
    });
  }
  const raw = parsed.data;
  const known = defaults[raw.model_type] ?? { maxPositions: 2048, normEps: 1e-6 };
  const need = (field: string, ...values: (number | null | undefined)[]): number => {
    const value = values.find((v) => v !== null && v !== undefined);
    if (value === undefined || value === null) throw new ModelError(`${model}: config.json has no ${field}`, { field });
    return value;
  };
  const hiddenSize = need('hidden_size', raw.hidden_size, raw.n_embd);
  const heads = need('num_attention_heads', raw.num_attention_heads, raw.n_head);
  const layers = need('num_hidden_layers', raw.num_hidden_layers, raw.n_layer);
  const keyHeads =
    raw.num_key_value_heads ?? (raw.num_key_value_heads === undefined && known.keyHeads !== undefined ? known.keyHeads : heads);
  if (heads % keyHeads !== 0)
    throw new ModelError(
      `${model}: config.json: num_attention_heads is ${heads} but num_key_value_heads is ${keyHeads}: expected a divisor`,
    );
  const headWidth = raw.head_dim ?? (raw.head_dim === undefined && known.headWidth !== undefined ? known.headWidth : hiddenSize / heads);
  if (!Number.isInteger(headWidth))
    throw new ModelError(
      `${model}: config.json: hidden_size ${hiddenSize} is not a multiple of num_attention_heads ${heads}, and head_dim is not given`,
    );
  if (raw.model_type === 'gpt2' && (raw.scale_attn_weights === false || raw.scale_attn_by_inverse_layer_idx === true))
    throw new ModelError(`${model}: config.json: scale_attn_weights false and scale_attn_by_inverse_layer_idx true are not supported`);
  const activationName = raw.hidden_activation ?? raw.hidden_act ?? raw.activation_function ?? known.activation ?? 'silu';
  const activation = activations[activationName];
  if (activation === undefined)
    throw new ModelError(
      `${model}: config.json: activation '${activationName}' is not supported: expected one of ${Object.keys(activations).join(', ')}`,
    );
  const maxPositions = raw.max_position_embeddings ?? raw.n_positions ?? known.maxPositions;
  const window = raw.sliding_window === undefined ? (known.slidingWindow ?? null) : raw.sliding_window;
  const slides = (layer: number): boolean => {
    if (!window || (raw.model_type.startsWith('qwen') && raw.use_sliding_window !== true)) return false;
    return raw.layer_types ? raw.layer_types[layer] === 'sliding_attention' : (known.slidingPattern?.(layer, raw) ?? false);
  };
  if (raw.layer_types && raw.layer_types.length !== layers)
    throw new ModelError(
      `${model}: config.json: layer_types has ${raw.layer_types.length} entries, expected num_hidden_layers = ${layers}`,
    );
  const layerTypes = Array.from({ length: layers }, (_, layer) =>
    slides(layer) ? ('sliding_attention' as const) : ('full_attention' as const),
  );
  const eos = raw.eos_token_id ?? [];
  return {
    modelType: raw.model_type,
    hiddenSize,
    intermediateSize: raw.intermediate_size ?? raw.n_inner ?? (raw.model_type === 'gpt2' ? 4 * hiddenSize : need('intermediate_size')),
    layers,
    heads,
    keyHeads,
    headWidth,
    vocabularySize: raw.vocab_size,
    maxPositions,
    normEps: raw.rms_norm_eps ?? raw.layer_norm_epsilon ?? known.normEps,
    activation,
    tiedEmbeddings: raw.tie_word_embeddings ?? known.tied ?? false,
    attentionBias: raw.attention_bias ?? false,
    mlpBias: raw.mlp_bias ?? false,
    layerTypes,
    slidingWindow: layerTypes.includes('sliding_attention') ? (window as number) : 0,
    attentionSoftCap: raw.attn_logit_softcapping === undefined ? (known.softCaps?.attention ?? 0) : (raw.attn_logit_softcapping ?? 0),
    finalSoftCap: raw.final_logit_softcapping === undefined ? (known.softCaps?.final ?? 0) : (raw.final_logit_softcapping ?? 0),
    queryScalar: raw.query_pre_attn_scalar ?? known.queryScalar,
    ...ropeOf(raw, known, model, maxPositions, headWidth),
    bosTokenId: Array.isArray(raw.bos_token_id) ? raw.bos_token_id[0] : (raw.bos_token_id ?? undefined),
    eosTokenIds: Array.isArray(eos) ? eos : [eos],
    raw: raw as Record<string, unknown>,
  };
}

function ropeOf(
  raw: Raw,
  known: Defaults,
  model: string,
  maxPositions: number,
  headWidth: number,
): { rope: RopeSettings; slidingRope?: RopeSettings | undefined } {
  const base = raw.rope_theta ?? known.ropeBase ?? 10_000;
  const partial = raw.partial_rotary_factor ?? 1;
  const read = (settings: Readonly<Record<string, unknown>>, theta: number, field: string): RopeSettings =>
    readRope(settings, { theta, partial, maxPositions, headWidth, raw, model, field });
  const parameters = raw.rope_parameters;
  if (parameters) {
    const { full_attention: full, sliding_attention: sliding } = parameters as Record<string, Record<string, unknown> | undefined>;
    if (full === undefined && sliding === undefined) return { rope: read(parameters, base, 'rope_parameters') };
    return {
      rope: read(full ?? {}, base, 'rope_parameters.full_attention'),
      slidingRope: sliding && read(sliding, 10_000, 'rope_parameters.sliding_attention'),
    };
  }
  const rope = read(raw.rope_scaling ?? {}, base, 'rope_scaling');
  if (raw.model_type !== 'gemma3_text') return { rope };
  return { rope, slidingRope: { type: 'default', base: raw.rope_local_base_freq ?? 10_000, partialRotaryFactor: partial } };
}

interface RopeContext {
  theta: number;
  partial: number;
  maxPositions: number;
  headWidth: number;
  raw: Raw;
  model: string;
  field: string;
}

function readRope(settings: Readonly<Record<string, unknown>>, context: RopeContext): RopeSettings {
  const { model, field, raw } = context;
  const refuse = (name: string, expected: string): never => {
    throw new ModelError(`${model}: config.json: ${field}.${name} is ${JSON.stringify(settings[name])}: expected ${expected}`, {
      field: `${field}.${name}`,
      actual: settings[name],
    });
  };
  const number = (name: string, fallback?: number): number => {
    const value = settings[name] ?? fallback;
    return typeof value === 'number' && Number.isFinite(value) && value > 0 ? value : refuse(name, 'a positive number');
  };
  const optional = (name: string): number | undefined =>
    settings[name] === undefined || settings[name] === null ? undefined : number(name);
  const list = (name: string): number[] => {
    const value = settings[name];
    const pairs = Math.floor(context.headWidth * partialRotaryFactor) / 2;
    if (Array.isArray(value) && value.length === pairs && value.every((v) => typeof v === 'number' && v > 0)) return value;
    return refuse(name, `${pairs} positive numbers`);
  };
  const base = number('rope_theta', context.theta);
  const partialRotaryFactor = number('partial_rotary_factor', context.partial);
  const common = { base, partialRotaryFactor };
  const original = number('original_max_position_embeddings', raw.original_max_position_embeddings ?? context.maxPositions);
  const type = String(settings.rope_type ?? settings.type ?? 'default');
  switch (type) {
    case 'default':
      return { ...common, type };
    case 'linear':
      return { ...common, type, factor: number('factor') };
    case 'dynamic':
      return {
        ...common,
        type,
        factor: number('factor'),
        originalMaxPositions: optional('original_max_position_embeddings') ?? context.maxPositions,
      };
    case 'llama3':
      return {
        ...common,
        type,
        factor: number('factor'),
        lowFrequencyFactor: number('low_freq_factor'),
        highFrequencyFactor: number('high_freq_factor'),
        originalMaxPositions: original,
      };
    case 'yarn':
      return {
        ...common,
        type,
        factor: number('factor'),
        originalMaxPositions: original,
        betaFast: number('beta_fast', 32),
        betaSlow: number('beta_slow', 1),
        attentionFactor: optional('attention_factor'),
        mscale: optional('mscale'),
        mscaleAllDim: optional('mscale_all_dim'),
        truncate: settings.truncate === undefined ? undefined : settings.truncate === true,
      };
    case 'longrope':
    case 'su': {
      const factor = optional('factor') ?? context.maxPositions / original;
      const attentionFactor = optional('attention_factor') ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original)));
      return {
        ...common,
        type: 'longrope',
        shortFactor: list('short_factor'),
        longFactor: list('long_factor'),
        originalMaxPositions: original,
        attentionFactor,
      };
    }
    default:
      return refuse('rope_type', 'default, linear, dynamic, yarn, llama3 or longrope');
  }
}
