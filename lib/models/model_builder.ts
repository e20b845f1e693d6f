import { type SiteShape, virtualTokensPath } from '../adapters/method.js';
import { ModelError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import { addBias, embedding, layerNorm, linear, rmsNorm } from '../ops/index.js';
import type { DType } from '../runtime/dtype.js';
import type { Constants } from './constants.js';
import type { WeightStore } from './weight_store.js';

/** A place of a model where an adapter can act. */
export type Site = SiteShape;

/** What every token of a batch is, shared by all layers. */
export interface TokenTensors {
  /** i32 [tokens] */
  readonly tokens: Tensor;
  /** i32 [tokens]: which of its adapter's virtual tokens it is; -1: a token of the text. */
  readonly virtualTokens: Tensor;
  /** i32 [tokens]; negative: not a token. */
  readonly positions: Tensor;
  /** i32 [tokens]: length of the prompt that the token is part of, 0 when it was generated. For position schemes that depend on length. */
  readonly lengths: Tensor;
}

/** Frozen linear modules that share an input. */
export interface FrozenProjection {
  readonly x: Tensor;
  readonly sites: readonly Site[];
  /** Where each site's columns begin in the product, and where the last ones end. */
  readonly starts: readonly number[];
  /** f32 [outputs of all sites] */
  readonly bias: Tensor | undefined;
  /** W v + bias for v f32 [rows, inputs] → f32 [rows, outputs of all sites]. */
  apply(v: Tensor, options?: { bias?: boolean }): Tensor;
}

/** How a norm is computed. */
export interface NormAttributes {
  readonly kind: 'rms' | 'layer';
  readonly eps: number;
  readonly weightOffset: number;
}

/** How attention scores are made. */
export interface AttentionAttributes {
  readonly layer: number;
  readonly scale: number;
  readonly window: number;
  readonly softCap: number;
}

/** What joins a model's frozen modules: adapters, and where earlier keys and values are. Serving and training differ in this and in nothing else. */
export interface ModelPaths {
  /** base f32 [tokens, width]: rows of the table. */
  embed(ids: Tensor, base: Tensor, site: Site): Tensor;
  /** The output of each site, f32 [tokens, outputs]. */
  project(frozen: FrozenProjection): Tensor[];
  /** base f32 [tokens, width] or [tokens, heads, width]: x normalised over its width with the model's own weights. */
  norm(x: Tensor, base: Tensor, site: Site, attributes: NormAttributes): Tensor;
  /** q f32 [tokens, heads, width], k and v f32 [tokens, key heads, width] → like q. */
  attend(q: Tensor, k: Tensor, v: Tensor, attributes: AttentionAttributes): Tensor;
  /** y f32 [tokens, heads * width] with what adapters' own keys and values at this site add for q f32 [tokens, heads, width]. */
  prompted(q: Tensor, y: Tensor, site: Site, attributes: { keyHeads: number }): Tensor;
  /** Only the tokens whose logits are wanted go on from here. */
  selectRows(x: Tensor): Tensor;
}

/** One linear module of a fused projection. */
export interface Projection {
  readonly path: string;
  readonly outputs: number;
  readonly bias: boolean;
}

/** Gives architectures their vocabulary: every method adds base and adapter paths together, so that no architecture knows of adapters. */
export class ModelBuilder {
  readonly sites: Site[] = [];
  private readonly shared = new Map<string, Tensor>();

  constructor(
    readonly graph: Graph,
    readonly weights: WeightStore,
    readonly step: TokenTensors,
    private readonly paths: ModelPaths,
    private readonly constants: Constants,
  ) {}

  /** Ops of one layer belong together: training can compute them again instead of keeping their results. */
  layer<T>(number: number, build: () => T): T {
    return this.graph.segment(number, build);
  }

  /** Rows of an embedding table with the adapters' changes. `tied`: the table is also the output layer's weight. */
  embed(path: string, ids: Tensor, vocabulary: number, width: number, options: { tied?: boolean } = {}): Tensor {
    const name = `${path}.weight`;
    const table = options.tied ? this.weights.panels([{ name, outputs: vocabulary }], width) : this.weights.rows(name, vocabulary, width);
    const base = embedding(ids, this.constants.of(table), { vocabulary, width });
    const site = this.site({ path, kind: 'embedding', inputs: vocabulary, outputs: width, weight: name, transposed: false, bias: false });
    return this.paths.embed(ids, base, site);
  }

  /** Puts the embeddings of the adapters' virtual tokens where they stand. x [tokens, width] holds zeros there. */
  virtualTokens(x: Tensor): Tensor {
    const width = x.shape[1] as number;
    const path = virtualTokensPath;
    const site = this.site({ path, kind: 'virtual', inputs: width, outputs: width, weight: path, transposed: false, bias: false });
    return this.paths.embed(this.step.virtualTokens, x, site);
  }

  /** Rows of a table that no adapter touches. */
  lookUp(name: string, ids: Tensor, count: number, width: number): Tensor {
    return embedding(ids, this.constants.of(this.weights.rows(name, count, width)));
  }

  /** Linear modules that share x, multiplied at once; gives each one's columns. `weight` overrides where the (single) weight is stored. */
  project(x: Tensor, projections: readonly Projection[], options: { transposed?: boolean; weight?: string } = {}): Tensor[] {
    const inputs = x.shape[1] as number;
    const outputs = projections.reduce((sum, p) => sum + p.outputs, 0);
    const transposed = options.transposed ?? false;
    const weightOf = (p: Projection): string => options.weight ?? `${p.path}.weight`;
    const weight = this.weights.panels(
      projections.map((p) => ({ name: weightOf(p), outputs: p.outputs })),
      inputs,
      { transposed },
    );
    const biased = projections.filter((p) => p.bias);
    if (biased.length > 0 && biased.length < projections.length)
      throw new ModelError(`${projections[0]?.path}: modules that share an input have biases all or none`);
    const bias =
      biased.length === 0
        ? undefined
        : this.constants.of(this.weights.vector(biased.map((p) => ({ name: `${p.path}.bias`, outputs: p.outputs }))));
    const starts = [0];
    const sites = projections.map((p) => {
      starts.push((starts.at(-1) as number) + p.outputs);
      return this.site({ path: p.path, kind: 'linear', inputs, outputs: p.outputs, weight: weightOf(p), transposed, bias: p.bias });
    });
    const packed = this.constants.of(weight);
    const apply = (v: Tensor, { bias: biased = true }: { bias?: boolean } = {}): Tensor =>
      linear(v, packed, { outputs, bias: biased ? bias : undefined, precision: this.weights.precision });
    return this.paths.project({ x, sites, starts, bias, apply });
  }

  /** One linear module. */
  linear(x: Tensor, path: string, outputs: number, options: { bias?: boolean; transposed?: boolean; weight?: string } = {}): Tensor {
    return this.project(x, [{ path, outputs, bias: options.bias ?? false }], options)[0] as Tensor;
  }

  /** Root-mean-square norm over the width of [tokens, width] or of each head, [tokens, heads, width], with the adapters' own weights. */
  rmsNorm(x: Tensor, path: string, eps: number, weightOffset = 0): Tensor {
    const width = x.shape.at(-1) as number;
    const name = `${path}.weight`;
    const y = rmsNorm(x, this.constants.of(this.weights.vector([{ name, outputs: width }])), { eps, weightOffset });
    const site = this.site({ path, kind: 'norm', inputs: width, outputs: width, weight: name, transposed: false, bias: false });
    return this.paths.norm(x, y, site, { kind: 'rms', eps, weightOffset });
  }

  /** Layer norm with bias over [tokens, width]. */
  layerNorm(x: Tensor, path: string, eps: number): Tensor {
    const width = x.shape[1] as number;
    const vector = (suffix: string): Tensor => this.constants.of(this.weights.vector([{ name: `${path}.${suffix}`, outputs: width }]));
    const y = layerNorm(x, vector('weight'), vector('bias'), { eps });
    const site = this.site({ path, kind: 'norm', inputs: width, outputs: width, weight: `${path}.weight`, transposed: false, bias: true });
    return this.paths.norm(x, y, site, { kind: 'layer', eps, weightOffset: 0 });
  }

  /** Adds a bias that is not part of a linear module. */
  bias(x: Tensor, name: string): Tensor {
    return addBias(x, this.constants.of(this.weights.vector([{ name, outputs: x.shape.at(-1) as number }])));
  }

  /**
   * Causal attention of q [tokens, heads, width] over this token's and earlier keys → [tokens, heads * width]. `prompted`: the module whose
   * queries adapters may give keys and values of their own, and the width of what goes into it.
   */
  attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layer: number,
    options: { scale: number; window?: number; softCap?: number; prompted?: { path: string; inputs: number } | undefined },
  ): Tensor {
    const { scale, window = 0, softCap = 0, prompted } = options;
    const attended = this.paths.attend(q, k, v, { layer, scale, window, softCap });
    const [tokens, heads, width] = q.shape as [number, number, number];
    const y = attended.reshape([tokens, heads * width]);
    if (prompted === undefined) return y;
    const { path, inputs } = prompted;
    const site = this.site({ path, kind: 'attention', inputs, outputs: heads * width, weight: path, transposed: false, bias: false });
    return this.paths.prompted(q, y, site, { keyHeads: k.shape[1] as number });
  }

  /** From here on, only the tokens whose logits are wanted: cheaper final norm and output layer. */
  selectRows(x: Tensor): Tensor {
    return this.paths.selectRows(x);
  }

  /** A tensor that all layers share, built when the first one asks. */
  once(key: string, build: () => Tensor): Tensor {
    let made = this.shared.get(key);
    if (made === undefined) {
      made = build();
      this.shared.set(key, made);
    }
    return made;
  }

  /** A small table computed in TypeScript, such as rotary frequencies. */
  table(key: string, values: () => Float32Array): Tensor {
    return this.constants.table(key, 'f32', values);
  }

  /** True when the checkpoint's weights have this dtype. */
  storedAs(name: string, dtype: DType): boolean {
    return this.weights.catalog.info(name)?.dtype.toLowerCase() === dtype;
  }

  private site(site: Omit<Site, 'number'>): Site {
    const numbered = { ...site, number: this.sites.length };
    this.sites.push(numbered);
    return numbered;
  }
}
