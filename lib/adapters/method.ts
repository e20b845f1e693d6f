import type { Activation } from '../ops/index.js';
import type { DType } from '../runtime/dtype.js';
import type { SiteTensorReader } from './site_tensor_reader.js';

/** Element types that adapter tensors may have. */
export type FloatDType = Extract<DType, 'f32' | 'f16' | 'bf16'>;

/** Named tensors of one or more files, read one at a time: what lib/checkpoint opens. */
export interface TensorSource {
  names(): Iterable<string>;
  /** dtype as written in safetensors (F32, F16, BF16, …), or undefined when there is no such tensor. */
  info(name: string): { dtype: string; shape: readonly number[] } | undefined;
  read(name: string): Promise<ArrayBuffer>;
}

/** What an adapter needs to know of a place where it can act. */
export interface SiteShape {
  /** Module path in Hugging Face checkpoints, such as model.layers.0.self_attn.q_proj. */
  readonly path: string;
  /** virtual: positions in front of the text that an adapter brings. attention: keys and values beside the text's. */
  readonly kind: 'linear' | 'embedding' | 'norm' | 'virtual' | 'attention';
  /** linear: width of x; embedding: vocabulary; norm, virtual and attention: width. */
  readonly inputs: number;
  readonly outputs: number;
  /** Row of the entries table. */
  readonly number: number;
  /** Name of the base weight; modules with tied weights share it. */
  readonly weight: string;
  /** Stored as [inputs, outputs]. */
  readonly transposed: boolean;
  readonly bias: boolean;
}

/** The model that an adapter is for. Weights are only read where a method needs them. */
export interface AdapterBase {
  readonly name: string;
  readonly sites: readonly SiteShape[];
  /** Rows `first`.. of the base weight as f32: outputs of a linear layer (inputs wide), ids of an embedding (outputs wide), the one row of a norm. */
  readRows(site: SiteShape, first: number, count: number): Promise<Float32Array>;
  /** The bias of a site that has one. */
  readBias(site: SiteShape): Promise<Float32Array>;
  /** Keys and values that the base keeps of each position. */
  readonly cache: { readonly layers: number; readonly keyHeads: number; readonly width: number };
}

/** Rows of equal width side by side; 16-bit floats as their bits. */
export interface RowBlock {
  readonly dtype: FloatDType;
  readonly count: number;
  readonly width: number;
  readonly data: Float32Array | Uint16Array;
  /** Compact rows, group by group, in place of `data`, which is then empty; see compact_factors.ts. */
  readonly groups?: readonly Uint8Array[] | undefined;
}

/**
 * What an adapter does at one site, ready to be placed; native/kernels/grouped_lora/grouped_lora_layout.h says what it means.
 * lowRank: `rank` rows of A and of B transposed. dense: `a` holds the rows of a whole weight (a norm: one f32 row; attention: keys,
 * with the values in `bT`). parallel and series: factors with `activation` between them; A of series reads the module's output.
 */
export interface SiteParts {
  readonly path: string;
  readonly number: number;
  readonly site: SiteShape['kind'];
  readonly kind: 'lowRank' | 'dense' | 'parallel' | 'series';
  readonly dtype: FloatDType;
  readonly rank: number;
  readonly scale: number;
  readonly a: RowBlock;
  readonly bT?: RowBlock | undefined;
  readonly activation?: Activation | undefined;
  /** One factor per output. */
  readonly gain?: Float32Array | undefined;
  /** One summand per output. */
  readonly shift?: Float32Array | undefined;
}

/** What an adapter is, known without reading its tensors. */
export interface AdapterSummary {
  /** Such as LoRA, rsLoRA, DoRA. */
  readonly kind: string;
  /** Distinct ranks, ascending. */
  readonly ranks: readonly number[];
  /** Distinct scales, ascending. */
  readonly scales: readonly number[];
  /** Last components of the module paths that it changes. */
  readonly targets: readonly string[];
  /** Modules that it changes. */
  readonly modules: number;
  /** Modules that it brings whole weights for. */
  readonly savedModules: readonly string[];
  readonly parameters: number;
  readonly bytes: number;
  /** What adapter_config.json calls the base. */
  readonly base: string | undefined;
}

/** An adapter in host memory. */
export interface AdapterParts {
  /** SHA-256 over everything that changes results: equal hashes, equal outputs. */
  readonly contentHash: string;
  readonly summary: AdapterSummary;
  readonly sites: ReadonlyMap<string, SiteParts>;
  /** Positions in front of the text that it brings. */
  readonly virtualTokens: number;
  /** Their keys and values, where those are not computed from embeddings. */
  readonly prefix?: PrefixKeysValues | undefined;
}

/** A tensor of an adapter file that was read. */
export interface AdapterTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
  readonly data: Float32Array | Uint16Array;
}

/** A tensor of whole numbers, such as indices. */
export interface IntegerTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: 'integer';
  readonly data: Int32Array;
}

/** Factors of one linear or embedding site: W + scale · B A. */
export interface LowRank {
  readonly kind: 'lowRank';
  readonly scale: number;
  /** `rank` rows, inputs wide. */
  readonly a: RowBlock;
  /** `rank` rows, outputs wide. */
  readonly bT: RowBlock;
  /** Added to the product B (A x), before the scale. */
  readonly bias?: Float32Array | undefined;
  /** Length of each output's row of base weight plus product (DoRA). */
  readonly magnitude?: Float32Array | undefined;
  /** What loading does to the base weight first, unless the file brings that weight. */
  readonly baseChange?: 'pissa' | 'olora' | undefined;
}

/**
 * W + C A, where C is made from W: `coefficients` gives one number per row of A for each row of W, in float64.
 * What a product of reflections of the inputs amounts to.
 */
export interface ProjectedLowRank {
  readonly kind: 'projected';
  /** `rank` rows, inputs wide. */
  readonly a: RowBlock;
  /** `rows` holds whole rows of W; fills `rank` numbers for each. */
  coefficients(rows: Float64Array, into: Float64Array): void;
}

/** A whole weight, made from the base's: any merge that has no smaller form. */
export interface MergedWeight {
  readonly kind: 'weight';
  /** Rows that are mixed with each other: slices begin at its multiples. 1: every row on its own. */
  readonly rowGroup: number;
  /** Multiplications for one row, about. */
  readonly workPerRow: number;
  /** Turns whole rows of W, the first of them number `first`, into the adapter's, in place and in float64. */
  merge(rows: Float64Array, first: number): void;
  /** Turns the bias into the adapter's, where the method changes it. */
  mergeBias?(bias: Float64Array): void;
}

/** One factor per output, for the bias too: diag(factors) (W x + b). */
export interface OutputScale {
  readonly kind: 'scale';
  readonly factors: Float32Array;
}

/** Some rows of W replaced: tokens of an embedding, outputs of a linear layer. */
export interface NewRows {
  readonly kind: 'rows';
  readonly ids: Int32Array;
  readonly rows: RowBlock;
}

/** A norm's own weight and, where it has one, bias. */
export interface NormWeight {
  readonly kind: 'norm';
  readonly weight: AdapterTensor;
  readonly bias?: AdapterTensor | undefined;
}

/** Embeddings of positions in front of the text. */
export interface VirtualTokens {
  readonly kind: 'virtual';
  readonly rows: RowBlock;
}

/** Keys and values of positions in front of the text, as they are in the cache: nothing turns them by their position. */
export interface PrefixKeysValues {
  readonly kind: 'prefix';
  readonly tokens: number;
  /** Of each layer, [tokens, key heads · width]. */
  readonly layers: readonly { readonly keys: Float32Array; readonly values: Float32Array }[];
}

/** Embeddings whose keys and values a layer attends to beside the text, by a gate. */
export interface AttentionPrompt {
  readonly kind: 'attentionPrompt';
  /** Rows as wide as the model, before the projections of keys and values. */
  readonly rows: RowBlock;
  readonly gate: number;
}

/** A network of two layers beside a linear module, y + scale · B f(A x), or behind it, y + scale · B f(A y). */
export interface Bottleneck {
  readonly kind: 'bottleneck';
  readonly mode: 'parallel' | 'series';
  readonly activation: Activation;
  readonly scale: number;
  /** Rows as wide as the inputs, in series as the outputs. */
  readonly a: RowBlock;
  /** As many rows, outputs wide. */
  readonly bT: RowBlock;
}

/** Changes of a weight, which can be merged into it. */
export type WeightChange = LowRank | ProjectedLowRank | MergedWeight | OutputScale | NewRows;

/** What an adapter does at one site. */
export type SiteChange = WeightChange | NormWeight | VirtualTokens | PrefixKeysValues | AttentionPrompt | Bottleneck;

/** The path of the site where virtual tokens enter, of every base. */
export const virtualTokensPath = 'virtual_tokens';

/** One site of one base, for one adapter. */
export interface SiteRequest {
  readonly adapter: string;
  readonly base: string;
  readonly cache: AdapterBase['cache'];
  readonly site: SiteShape;
  /** The site's path as the adapter spells it. */
  readonly module: string;
}

/** One adapter method. Naming, placing, hashing and saved modules are the same for all. */
export interface AdapterMethod<Config = unknown> {
  /** `peft_type` of adapter_config.json. */
  readonly peftType: string;
  /** Checks the options. Throws AdapterError that names the first one that would change results and is not supported. */
  readConfig(raw: Readonly<Record<string, unknown>>, adapter: string): Config;
  /** Options that change results: part of the content hash. */
  identity(config: Config): unknown;
  /** Kinds of modules that it can change. */
  readonly sites: readonly SiteShape['kind'][];
  /** A change of one module also changes modules with the same base weight. */
  readonly sharesTiedWeights?: boolean;
  /** Parts that hold whole numbers. */
  readonly integerParts?: readonly string[];
  /**
   * Splits a tensor's name (without base_model.model.) into module and part; undefined when it is none of the method's.
   * Module '': a tensor that all modules share.
   */
  split(name: string): { module: string; part: string; adapterName?: string | undefined } | undefined;
  /** Name of the variant, and rank and scale of a module, from shapes alone. */
  describe(config: Config): string;
  measure(config: Config, module: string, parts: ReadonlyMap<string, readonly number[]>): { rank: number; scale: number } | undefined;
  /** What it does at one site; checks that all parts are there and fit. `parts` gives the module's tensors and the shared ones. A promise where there is much to compute first. */
  read(config: Config, request: SiteRequest, parts: SiteTensorReader): SiteChange | Promise<SiteChange>;
}
