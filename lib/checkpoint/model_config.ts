import { z } from 'zod';
import { ModelError } from '../errors.js';
import { shownValue, valueAt } from '../runtime/shown_value.js';
import { largestSize, type RopeSettings, readRope } from './rope_settings.js';

export type { RopeSettings } from './rope_settings.js';

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
  /** The longest text: max_position_embeddings, or what rotary settings of type dynamic stretch it to. */
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

const size = z.number().int().min(1).max(largestSize);
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
  vocab_size: optionalSize,
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

// What the configuration classes of transformers assume where a config is silent.
interface Defaults {
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  /** Absent: as many as heads. */
  keyHeads?: number;
  /** Absent: hiddenSize / heads. */
  headWidth?: number;
  vocabularySize: number;
  maxPositions: number;
  /** Before stretching, where that is a field of its own. */
  originalMaxPositions?: number;
  normEps: number;
  activation: string;
  activationField: 'hidden_act' | 'hidden_activation' | 'activation_function';
  tied: boolean;
  ropeBase?: number;
  slidingRopeApart?: boolean;
  slidingWindow?: number;
  slides?: (layer: number, raw: Raw) => boolean;
  softCaps?: { attention: number; final: number };
  queryScalar?: number;
  bosTokenId?: number;
  eosTokenId?: number;
}

const silu = { normEps: 1e-6, activation: 'silu', activationField: 'hidden_act', tied: false } as const;
const qwenWindow = {
  slidingWindow: 4096,
  slides: (layer: number, raw: Raw) => raw.use_sliding_window === true && layer >= (raw.max_window_layers ?? 28),
};
const gemma = {
  hiddenSize: 2304,
  intermediateSize: 9216,
  layers: 26,
  heads: 8,
  keyHeads: 4,
  headWidth: 256,
  normEps: 1e-6,
  activation: 'gelu_pytorch_tanh',
  activationField: 'hidden_activation',
  tied: true,
  slidingWindow: 4096,
  queryScalar: 256,
  bosTokenId: 2,
  eosTokenId: 1,
} as const;

const defaults: Record<string, Defaults> = {
  llama: {
    ...silu,
    ...{ hiddenSize: 4096, intermediateSize: 11_008, layers: 32, heads: 32, vocabularySize: 32_000, maxPositions: 2048 },
    ...{ bosTokenId: 1, eosTokenId: 2 },
  },
  mistral: {
    ...silu,
    ...{ hiddenSize: 4096, intermediateSize: 14_336, layers: 32, heads: 32, keyHeads: 8, vocabularySize: 32_000, maxPositions: 131_072 },
    ...{ slidingWindow: 4096, slides: () => true, bosTokenId: 1, eosTokenId: 2 },
  },
  qwen2: {
    ...silu,
    ...qwenWindow,
    ...{ hiddenSize: 4096, intermediateSize: 22_016, layers: 32, heads: 32, keyHeads: 32, vocabularySize: 151_936, maxPositions: 32_768 },
  },
  qwen3: {
    ...silu,
    ...qwenWindow,
    ...{ hiddenSize: 4096, intermediateSize: 22_016, layers: 32, heads: 32, keyHeads: 32, headWidth: 128 },
    ...{ vocabularySize: 151_936, maxPositions: 32_768 },
  },
  gemma2: {
    ...gemma,
    ...{ vocabularySize: 256_000, maxPositions: 8192, softCaps: { attention: 50, final: 30 }, slides: (layer) => layer % 2 === 0 },
  },
  gemma3_text: {
    ...gemma,
    ...{ vocabularySize: 262_208, maxPositions: 131_072, ropeBase: 1_000_000, slidingRopeApart: true },
    slides: (layer, raw) => (layer + 1) % (raw.sliding_window_pattern ?? raw._sliding_window_pattern ?? 6) !== 0,
  },
  phi3: {
    ...silu,
    ...{ hiddenSize: 3072, intermediateSize: 8192, layers: 32, heads: 32, vocabularySize: 32_064, maxPositions: 4096 },
    ...{ originalMaxPositions: 4096, normEps: 1e-5, slides: () => true, bosTokenId: 1, eosTokenId: 32_000 },
  },
  gpt2: {
    ...{ hiddenSize: 768, intermediateSize: 0, layers: 12, heads: 12, vocabularySize: 50_257, maxPositions: 1024 },
    ...{
      normEps: 1e-5,
      activation: 'gelu_new',
      activationField: 'activation_function',
      tied: true,
      bosTokenId: 50_256,
      eosTokenId: 50_256,
    },
  },
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
  const raw = checked(json, model);
  const known = Object.hasOwn(defaults, raw.model_type) ? defaults[raw.model_type] : undefined;
  if (known === undefined)
    throw new ModelError(`${model}: config.json: model_type is "${raw.model_type}": expected one of ${Object.keys(defaults).join(', ')}`, {
      field: 'model_type',
      actual: raw.model_type,
      expected: Object.keys(defaults),
    });
  const refuse = (field: string, actual: unknown, expected: string): never => {
    throw new ModelError(`${model}: config.json: ${field} is ${shownValue(actual, 'missing')}: expected ${expected}`, {
      field,
      actual,
      expected,
    });
  };
  const gpt2 = raw.model_type === 'gpt2';
  const hiddenSize = (gpt2 ? raw.n_embd : raw.hidden_size) ?? known.hiddenSize;
  const heads = (gpt2 ? raw.n_head : raw.num_attention_heads) ?? known.heads;
  const layers = (gpt2 ? raw.n_layer : raw.num_hidden_layers) ?? known.layers;
  const maxPositions = (gpt2 ? raw.n_positions : raw.max_position_embeddings) ?? known.maxPositions;
  // null is an answer of its own where a default exists.
  const keyHeads = raw.num_key_value_heads === undefined ? (known.keyHeads ?? heads) : (raw.num_key_value_heads ?? heads);
  if (heads % keyHeads !== 0) refuse('num_key_value_heads', keyHeads, `a divisor of num_attention_heads ${heads}`);
  const headWidth = raw.head_dim === undefined ? (known.headWidth ?? hiddenSize / heads) : (raw.head_dim ?? hiddenSize / heads);
  if (!Number.isInteger(headWidth)) refuse('hidden_size', hiddenSize, `a multiple of num_attention_heads ${heads}, or a head_dim`);
  if (gpt2 && raw.scale_attn_weights === false) refuse('scale_attn_weights', false, 'true');
  if (gpt2 && raw.scale_attn_by_inverse_layer_idx) refuse('scale_attn_by_inverse_layer_idx', true, 'false');
  const activationName = raw[known.activationField] ?? known.activation;
  const activation = Object.hasOwn(activations, activationName) ? activations[activationName] : undefined;
  const { layerTypes, slidingWindow } = windows(raw, known, layers, refuse);
  const eos = raw.eos_token_id === undefined ? known.eosTokenId : raw.eos_token_id;
  const bos = raw.bos_token_id === undefined ? known.bosTokenId : raw.bos_token_id;
  const rotary = readRope(raw, {
    model,
    defaultBase: known.ropeBase ?? 10_000,
    maxPositions,
    originalMaxPositions: raw.original_max_position_embeddings ?? known.originalMaxPositions ?? maxPositions,
    headWidth,
    slidingApart: known.slidingRopeApart ?? false,
  });
  return {
    modelType: raw.model_type,
    hiddenSize,
    intermediateSize: gpt2 ? (raw.n_inner ?? 4 * hiddenSize) : (raw.intermediate_size ?? known.intermediateSize),
    layers,
    heads,
    keyHeads,
    headWidth,
    vocabularySize: raw.vocab_size ?? known.vocabularySize,
    maxPositions: rotary.rope.type === 'dynamic' ? Math.floor(maxPositions * rotary.rope.factor) : maxPositions,
    normEps: (gpt2 ? raw.layer_norm_epsilon : raw.rms_norm_eps) ?? known.normEps,
    activation: activation ?? refuse(known.activationField, activationName, `one of ${Object.keys(activations).join(', ')}`),
    tiedEmbeddings: raw.tie_word_embeddings ?? known.tied,
    attentionBias: raw.attention_bias ?? false,
    mlpBias: raw.mlp_bias ?? false,
    layerTypes,
    slidingWindow,
    attentionSoftCap: raw.attn_logit_softcapping === undefined ? (known.softCaps?.attention ?? 0) : (raw.attn_logit_softcapping ?? 0),
    finalSoftCap: raw.final_logit_softcapping === undefined ? (known.softCaps?.final ?? 0) : (raw.final_logit_softcapping ?? 0),
    queryScalar: raw.query_pre_attn_scalar ?? known.queryScalar,
    ...rotary,
    bosTokenId: (Array.isArray(bos) ? bos[0] : bos) ?? undefined,
    eosTokenIds: eos === null || eos === undefined ? [] : [eos].flat(),
    raw,
  };
}

function checked(json: unknown, model: string): Raw {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path ?? [];
  const actual = valueAt(json, path);
  const field = path.join('.') || 'the whole';
  throw new ModelError(`${model}: config.json: ${field} is ${shownValue(actual, 'missing')}: ${issue?.message}`, {
    field,
    actual,
    issues: parsed.error.issues,
  });
}

type Refuse = (field: string, actual: unknown, expected: string) => never;

function windows(raw: Raw, known: Defaults, layers: number, refuse: Refuse): Pick<ModelConfig, 'layerTypes' | 'slidingWindow'> {
  if (raw.layer_types && raw.layer_types.length !== layers)
    refuse('layer_types', raw.layer_types, `${layers} entries, as many as num_hidden_layers`);
  const given = raw.sliding_window === undefined ? known.slidingWindow : raw.sliding_window;
  const window = raw.model_type.startsWith('qwen') && raw.use_sliding_window !== true ? 0 : (given ?? 0);
  const slides = (layer: number): boolean =>
    window > 0 && (raw.layer_types ? raw.layer_types[layer] === 'sliding_attention' : (known.slides?.(layer, raw) ?? false));
  const layerTypes = Array.from({ length: layers }, (_, layer) => (slides(layer) ? 'sliding_attention' : 'full_attention'));
  return { layerTypes, slidingWindow: layerTypes.includes('sliding_attention') ? window : 0 };
}
