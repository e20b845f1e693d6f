import { type SiteShape, virtualTokensPath } from '../adapters/method.js';
import { ModelError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import {
  type AdapterRouting,
  addBias,
  attention,
  embedding,
  gatherRows,
  groupedEmbedding,
  groupedLora,
  groupedNorm,
  groupedPrompt,
  kvWrite,
  layerNorm,
  linear,
  rmsNorm,
} from '../ops/index.js';
import { type DeviceTensor, tensor } from '../runtime/device_tensor.js';
import type { DType } from '../runtime/dtype.js';
import type { WeightStore } from './weight_store.js';

/** A place of a model where an adapter can act. */
export type Site = SiteShape;

/** Tensors of one step, shared by all layers. */
export interface StepTensors {
  /** i32 [tokens] */
  readonly tokens: Tensor;
  /** i32 [tokens]: which of its adapter's virtual tokens it is; -1: a token of the text. */
  readonly virtualTokens: Tensor;
  /** i32 [tokens]; negative: not a token. */
  readonly positions: Tensor;
  /** i32 [tokens]: row of blockTable. */
  readonly request: Tensor;
  /** i32 [tokens]: length of the prompt that the token is part of, 0 when it was generated. For position schemes that depend on length. */
  readonly lengths: Tensor;
  /** i32 [requests, blocks] */
  readonly blockTable: Tensor;
  /** i32 [rows]: tokens whose logits are wanted. */
  readonly rows: Tensor;
  readonly routing: AdapterRouting;
}

/** How keys and values are kept. */
export interface CacheLayout {
  readonly dtype: 'f32' | 'f16' | 'bf16';
  readonly pageBytes: number;
  /** Bytes from the start of a page to each layer's part. */
  readonly layerOffsets: readonly number[];
  readonly keyHeads: number;
  readonly width: number;
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
  private readonly bound = new Map<DeviceTensor, Tensor>();
  private readonly shared = new Map<string, Tensor>();
  private pool: Tensor;
  private routing: AdapterRouting;
  private constants = 0;

  constructor(
    readonly graph: Graph,
    readonly weights: WeightStore,
    readonly step: StepTensors,
    readonly cache: CacheLayout,
    private readonly columnTensors: Map<string, DeviceTensor>,
  ) {
    this.pool = step.routing.pool;
    this.routing = step.routing;
  }

  /** Rows of an embedding table with the adapters' changes. `tied`: the table is also the output layer's weight. */
  embed(path: string, ids: Tensor, vocabulary: number, width: number, options: { tied?: boolean } = {}): Tensor {
    const name = `${path}.weight`;
    const table = options.tied ? this.weights.panels([{ name, outputs: vocabulary }], width) : this.weights.rows(name, vocabulary, width);
    const base = embedding(ids, this.constant(table), { vocabulary, width });
    const site = this.site({ path, kind: 'embedding', inputs: vocabulary, outputs: width, weight: name, transposed: false, bias: false });
    return groupedEmbedding(ids, base, this.currentRouting(), { site });
  }

  /** Puts the embeddings of the adapters' virtual tokens where they stand. x [tokens, width] holds zeros there. */
  virtualTokens(x: Tensor): Tensor {
    const width = x.shape[1] as number;
    const path = virtualTokensPath;
    const site = this.site({ path, kind: 'virtual', inputs: width, outputs: width, weight: path, transposed: false, bias: false });
    return groupedEmbedding(this.step.virtualTokens, x, this.currentRouting(), { site });
  }

  /** Rows of a table that no adapter touches. */
  lookUp(name: string, ids: Tensor, count: number, width: number): Tensor {
    return embedding(ids, this.constant(this.weights.rows(name, count, width)));
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
        : this.constant(this.weights.vector(biased.map((p) => ({ name: `${p.path}.bias`, outputs: p.outputs }))));
    const base = linear(x, this.constant(weight), { outputs, bias, precision: this.weights.precision });
    const starts = [0];
    const numbers = projections.map((p) => {
      starts.push((starts.at(-1) as number) + p.outputs);
      return this.site({ path: p.path, kind: 'linear', inputs, outputs: p.outputs, weight: weightOf(p), transposed, bias: p.bias });
    });
    const y = groupedLora(x, base, this.currentRouting(), { site: numbers[0] as number, columns: this.columns(starts), baseBias: bias });
    if (projections.length === 1) return [y];
    return projections.map((_, i) => y.columns(starts[i] as number, starts[i + 1] as number));
  }

  /** One linear module. */
  linear(x: Tensor, path: string, outputs: number, options: { bias?: boolean; transposed?: boolean; weight?: string } = {}): Tensor {
    return this.project(x, [{ path, outputs, bias: options.bias ?? false }], options)[0] as Tensor;
  }

  /** Root-mean-square norm over [tokens, width], with the adapters' own weights. */
  rmsNorm(x: Tensor, path: string, eps: number, weightOffset = 0): Tensor {
    const width = x.shape[1] as number;
    const name = `${path}.weight`;
    const y = rmsNorm(x, this.constant(this.weights.vector([{ name, outputs: width }])), { eps, weightOffset });
    const site = this.site({ path, kind: 'norm', inputs: width, outputs: width, weight: name, transposed: false, bias: false });
    return groupedNorm(x, y, this.currentRouting(), { site, kind: 'rms', eps, weightOffset });
  }

  /** Root-mean-square norm over the width of each head: x [tokens, heads, width]. */
  headNorm(x: Tensor, path: string, eps: number, weightOffset = 0): Tensor {
    const weight = this.constant(this.weights.vector([{ name: `${path}.weight`, outputs: x.shape[2] as number }]));
    return rmsNorm(x, weight, { eps, weightOffset });
  }

  /** Layer norm with bias over [tokens, width]. */
  layerNorm(x: Tensor, path: string, eps: number): Tensor {
    const width = x.shape[1] as number;
    const vector = (suffix: string): Tensor => this.constant(this.weights.vector([{ name: `${path}.${suffix}`, outputs: width }]));
    const y = layerNorm(x, vector('weight'), vector('bias'), { eps });
    const site = this.site({ path, kind: 'norm', inputs: width, outputs: width, weight: `${path}.weight`, transposed: false, bias: true });
    return groupedNorm(x, y, this.currentRouting(), { site, kind: 'layer', eps, weightOffset: 0 });
  }

  /** Adds a bias that is not part of a linear module. */
  bias(x: Tensor, name: string): Tensor {
    return addBias(x, this.constant(this.weights.vector([{ name, outputs: x.shape.at(-1) as number }])));
  }

  /**
   * Stores k and v and attends: q [tokens, heads, width] → [tokens, heads * width]. `prompted`: the module whose queries adapters
   * may give keys and values of their own, and the width of what goes into it.
   */
  attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    layer: number,
    options: { scale: number; window?: number; softCap?: number; prompted?: { path: string; inputs: number } | undefined },
  ): Tensor {
    const { dtype, pageBytes, keyHeads, layerOffsets } = this.cache;
    const { blockTable, positions, request } = this.step;
    const where = { pageBytes, layerOffset: layerOffsets[layer] as number, cacheType: dtype };
    this.pool = kvWrite(k, v, { pool: this.pool, blockTable, positions, request }, where);
    const attended = attention(
      q,
      { pool: this.pool, blockTable, positions, request },
      {
        ...where,
        keyHeads,
        scale: options.scale,
        window: options.window ?? 0,
        softCap: options.softCap ?? 0,
      },
    );
    const [tokens, heads, width] = q.shape as [number, number, number];
    const y = attended.reshape([tokens, heads * width]);
    if (options.prompted === undefined) return y;
    const { path, inputs } = options.prompted;
    const site = this.site({ path, kind: 'attention', inputs, outputs: heads * width, weight: path, transposed: false, bias: false });
    return groupedPrompt(q, y, this.currentRouting(), { site, keyHeads, scale: width ** -0.5 });
  }

  /** From here on, only the tokens whose logits are wanted: cheaper final norm and output layer. */
  selectRows(x: Tensor): Tensor {
    const { rows } = this.step;
    const { index, weight, ...rest } = this.routing;
    this.routing = { ...rest, index: gatherRows(index, rows), weight: gatherRows(weight, rows) };
    return gatherRows(x, rows);
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
    let made = this.columnTensors.get(key);
    if (made === undefined) {
      const data = values();
      made = tensor('f32', [data.length], data);
      this.columnTensors.set(key, made);
    }
    return this.constant(made);
  }

  /** True when the checkpoint's weights have this dtype. */
  storedAs(name: string, dtype: DType): boolean {
    return this.weights.catalog.info(name)?.dtype.toLowerCase() === dtype;
  }

  private currentRouting(): AdapterRouting {
    return { ...this.routing, pool: this.pool };
  }

  private columns(starts: readonly number[]): Tensor {
    const key = `columns ${starts.join(' ')}`;
    let made = this.columnTensors.get(key);
    if (made === undefined) {
      made = tensor('i32', [starts.length], Int32Array.from(starts));
      this.columnTensors.set(key, made);
    }
    return this.constant(made);
  }

  private constant(device: DeviceTensor): Tensor {
    let node = this.bound.get(device);
    if (node === undefined) {
      node = this.graph.weight(`weight ${this.constants++}`, device);
      this.bound.set(device, node);
    }
    return node;
  }

  private site(site: Omit<Site, 'number'>): number {
    const number = this.sites.length;
    this.sites.push({ ...site, number });
    return number;
  }
}
