import type { Tensor } from '../graph/tensor.js';
import type { AdapterBase, SiteShape } from './method.js';
import { endsIn } from './module_pattern.js';
import type { SiteTensorReader } from './site_tensor_reader.js';

/** How a parameter begins. Random numbers depend on the training's seed and the parameter's name alone. */
export type InitialValues =
  | { readonly kind: 'constant'; readonly value: number }
  /** Uniform in [-bound, bound). */
  | { readonly kind: 'uniform'; readonly bound: number }
  | { readonly kind: 'normal'; readonly deviation: number }
  | { readonly kind: 'given'; readonly values: Float32Array };

/** One tensor that a method keeps at a site, or for the whole model. */
export interface ParameterSpec {
  /** Name of its own at the site. */
  readonly part: string;
  /** [rows, width], or [width] for one row. */
  readonly shape: readonly [number] | readonly [number, number];
  readonly initial: InitialValues;
  /** False: kept as it begins. */
  readonly trained: boolean;
  /** Multiplies the learning rate. Default 1. */
  readonly rateMultiplier?: number;
  /** Whether weight decay takes from it. Default true. */
  readonly decays?: boolean;
  /** Frozen elements that are no f32 numbers: graphs see their bits as `count` elements of this dtype. */
  readonly bits?: { readonly dtype: 'i32' | 'u8'; readonly count: number };
}

/** What is said about an adapter to be trained, for every method. */
export interface MethodSettings {
  readonly rank: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  readonly loraPlusRatio: number;
  readonly init: string | undefined;
  readonly targetModules: string | readonly string[];
  /** Of the method's own. */
  readonly methodOptions: Readonly<Record<string, unknown>>;
}

/** A site as the graph code of a method sees it. */
export interface SiteGraph {
  readonly site: SiteShape;
  /** linear: f32 [tokens, inputs]; norm: the same or [tokens, heads, inputs]; embedding: i32 [tokens]. */
  readonly x: Tensor;
  /** What the model without adapters gives, f32 [tokens, outputs] or [tokens, heads, outputs]. */
  readonly base: Tensor;
  /** f32 [outputs], where the module has one. */
  readonly bias: Tensor | undefined;
  /** The frozen module without its bias at other inputs: v f32 [rows, inputs] → f32 [rows, outputs]. Linear and embedding-free sites only. */
  frozen(v: Tensor): Tensor;
  /** A small constant, computed when the first graph asks: equal keys have equal values. */
  table(key: string, dtype: 'f32' | 'i32', values: () => Float32Array | Int32Array): Tensor;
  /** Norm sites: x normalised without a weight, and what is added to stored weights. */
  readonly norm?: { readonly plain: Tensor; readonly weightOffset: number } | undefined;
  /** One of the adapter's parameters at this site, in its shape; where the site has none, at the chosen one with the same weight. */
  parameter(part: string): Tensor;
}

/** Positions that a method puts in front of every document. */
export interface VirtualPositions {
  readonly count: number;
  /** Tokens with embeddings of their own, which the virtual site gives; or keys and values of every layer. */
  readonly as: 'tokens' | 'keys';
}

/** A layer as a method that brings keys and values sees it. */
export interface PrefixGraph {
  readonly layer: number;
  /** Key heads times their width. */
  readonly width: number;
  /** A parameter at the virtual site. */
  parameter(part: string): Tensor;
}

/** Factors of a site for the kernels of grouped_lora: y = W x + scale · B (A x). */
export interface FactorParts {
  /** Parts whose rows, one below the other, are A: each row as wide as the inputs. */
  readonly a: readonly string[];
  /** Parts whose rows are B transposed: each row as wide as the outputs, as many as A has. */
  readonly bT: readonly string[];
  readonly scale: number;
}

/** What one step trains of an adapter whose factors are only used in part. */
export interface StepShare {
  /** So many rows of the factors are used. */
  readonly rank: number;
  readonly scale: number;
  /** Rows of the factors from the first to before the last: the others' gradients are dropped. */
  readonly trainedRows: readonly [from: number, to: number];
}

/** What the examples say of a base, measured before there is an adapter. One site at a time: nothing is kept. */
export interface Calibration {
  /** Σ x xᵀ over what goes into the site, f64 [inputs, inputs]; the inputs of each batch divided by the largest of them. */
  inputCovariance(site: SiteShape): Promise<Float64Array>;
  /** Σ over the batches of the gradient of their mean loss by the site's weight, f32 [outputs, inputs]. */
  weightGradient(site: SiteShape): Promise<Float32Array>;
}

/** Values of a parameter after training, [rows, width] without gaps. */
export type ParameterValues = (part: string) => Float32Array;

/** A tensor of an adapter's file. */
export interface ExportedTensor {
  /** After the module's path, such as lora_A.weight; at the virtual site the whole name. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** A method that can be trained: parameters per site, what they do in a graph, and how they are stored. */
export interface TrainableMethod {
  /** As users name it. */
  readonly name: string;
  /** Kinds of modules that it can change. */
  readonly sites: readonly SiteShape['kind'][];
  /** Modules that share their weight with a chosen one are changed too; parameters belong to the chosen one, files hold its tensors for each. */
  readonly sharesTiedWeights?: boolean;
  /** Checks the method's own options. Throws OptionError naming the option, its value and what was expected. */
  check(settings: MethodSettings): void;
  /** Examples that the beginning is measured on; 0 or without it: none. */
  calibrationExamples?(settings: MethodSettings): number;
  /** Parameters of one site. Weights of the base are read only where the beginning needs them; `calibration` is there where examples were asked for. */
  parameters(settings: MethodSettings, site: SiteShape, base: AdapterBase, calibration?: Calibration): Promise<readonly ParameterSpec[]>;
  /** Where the site's change is a product of two factors: they run for all adapters at once. */
  factors?(settings: MethodSettings, site: SiteShape): FactorParts | undefined;
  /** Where a step uses a part of the factors: which one. `draw` in [0, 1) depends on the training's seed and the step alone. Evaluation uses all. */
  perStep?(settings: MethodSettings, draw: number): StepShare;
  /** What the site gives with the adapter, f32 [tokens, outputs]: everything that `factors` cannot say. */
  forward?(settings: MethodSettings, at: SiteGraph): Tensor;
  /** Positions in front of every document. */
  virtualPositions?(settings: MethodSettings): VirtualPositions;
  /** Keys and values of a layer, f32 [count, width] each, where `virtualPositions` are keys: nothing turns them by their position. */
  prefix?(settings: MethodSettings, at: PrefixGraph): { keys: Tensor; values: Tensor };
  /** True: at the beginning the model with the adapter is the model without. */
  startsAtBase(settings: MethodSettings): boolean;
  /** adapter_config.json without base_model_name_or_path, and without target_modules unless they are not the chosen sites. `all`: sites of the model. */
  config(settings: MethodSettings, sites: readonly SiteShape[], all: readonly SiteShape[]): Readonly<Record<string, unknown>>;
  /** The site's tensors as PEFT names and shapes them. */
  exportSite(settings: MethodSettings, site: SiteShape, values: ParameterValues): readonly ExportedTensor[];
  /** Values of parameters that stored tensors hold: the way back of `exportSite`, for adapters that are trained on. */
  importSite?(settings: MethodSettings, site: SiteShape, tensors: SiteTensorReader): ReadonlyMap<string, Float32Array>;
}

/** Sites whose paths end in one of the names; 'all-linear': every linear module but the output layer. */
export function targetSites(
  sites: readonly SiteShape[],
  method: Pick<TrainableMethod, 'sites'>,
  targets: string | readonly string[],
): SiteShape[] {
  const possible = sites.filter((site) => method.sites.includes(site.kind));
  if (targets === 'all-linear')
    return possible.filter((site) => site.path !== 'lm_head' && (site.kind === 'linear' || !method.sites.includes('linear')));
  const names = typeof targets === 'string' ? [targets] : targets;
  return possible.filter((site) => names.some((name) => endsIn(site.path, name)));
}

/** Names of modules for adapter_config.json: last parts where they tell exactly these sites apart from all others, else whole paths. */
export function moduleNames(chosen: readonly SiteShape[], sites: readonly SiteShape[]): string[] {
  const last = ({ path }: SiteShape): string => path.slice(path.lastIndexOf('.') + 1);
  const paths = new Set(chosen.map(({ path }) => path));
  const whole = new Set(sites.filter(({ path }) => !paths.has(path)).map(last));
  return [...new Set(chosen.map((site) => (whole.has(last(site)) ? site.path : last(site))))];
}
