import { type SiteShape, virtualTokensPath } from '../../adapters/method.js';
import type { SiteGraph } from '../../adapters/trainable_method.js';
import type { Graph } from '../../graph/graph.js';
import type { Tensor } from '../../graph/tensor.js';
import type { Constants } from '../../models/constants.js';
import type { AttentionAttributes, FrozenProjection, ModelPaths, NormAttributes, Site } from '../../models/model_builder.js';
import { splitColumns } from '../../models/serving_paths.js';
import {
  type AdapterRouting,
  concatRows,
  copy,
  gatherRows,
  groupedLora,
  layerNorm,
  replaceRows,
  rmsNorm,
  selfAttention,
} from '../../ops/index.js';
import type { Dimension } from '../../runtime/shape.js';
import { type AdapterInTraining, actsAt, factorsAt, type ParameterNodes } from './site_adapters.js';
import { positionsOf, prefixKeys } from './virtual_positions.js';

/** Tensors of a batch of packed documents. */
export interface TrainingTensors {
  /** i32 [rows]: tokens that have a label. */
  readonly rows: Tensor;
  /** Factors of all adapters; undefined: no adapter has any. */
  readonly routing: AdapterRouting | undefined;
}

/** Names of inputs that depend on what the graph needs. */
export const inputNames = {
  /** i32 [tokens, 4]: keys that each token sees, no further back than a window (0: to its document's beginning). */
  ranges: (window: number): string => (window === 0 ? 'ranges' : `ranges ${window}`),
  /** i32: for each key the token that it belongs to, -1 for those that adapters bring, which come first. */
  keys: 'keys',
  /** i32: tokens of one of several adapters. */
  tokensOf: (slot: number): string => `tokens of ${slot}`,
};

/** Every token sees its own document, and the adapter that it trains. */
export class TrainingPaths implements ModelPaths {
  /** Windows that some layer has. */
  readonly windows = new Map<number, Tensor>();
  /** Adapters whose tokens are picked out. */
  readonly picked = new Map<number, Tensor>();
  private keys: Tensor | undefined;
  private routing: AdapterRouting | undefined;
  private selected = false;

  constructor(
    private readonly graph: Graph,
    private readonly tensors: TrainingTensors,
    private readonly adapters: readonly AdapterInTraining[],
    private readonly parameters: ParameterNodes,
    private readonly constants: Constants,
  ) {
    this.routing = tensors.routing;
  }

  /** Keys that adapters bring in front of the text's. */
  get prefixKeys(): number {
    return prefixKeys(positionsOf(this.adapters)).total;
  }

  embed(ids: Tensor, base: Tensor, site: Site): Tensor {
    const frozen = (v: Tensor): Tensor => v;
    return this.adapt(site, ids, base, { bias: undefined, frozen });
  }

  project({ x, sites, starts, bias, apply }: FrozenProjection): Tensor[] {
    let y = apply(x);
    if (this.routing !== undefined && sites.some((site) => this.adapters.some((adapter) => factorsAt(adapter, site) !== undefined))) {
      const columns = this.constants.table(`columns ${starts.join(' ')}`, 'i32', () => Int32Array.from(starts));
      y = groupedLora(x, y, this.routing, { site: (sites[0] as Site).number, columns });
    }
    return splitColumns(y, starts).map((base, i) =>
      this.adapt(sites[i] as Site, x, base, {
        bias: bias && (sites.length === 1 ? bias : this.slicedBias(bias, sites[i] as Site, starts[i] as number)),
        frozen: (v) => splitColumns(apply(v, { bias: false }), starts)[i] as Tensor,
      }),
    );
  }

  norm(x: Tensor, base: Tensor, site: Site, { kind, eps, weightOffset }: NormAttributes): Tensor {
    const plain = (): Tensor => (kind === 'rms' ? rmsNorm(x, undefined, { eps }) : layerNorm(x, undefined, undefined, { eps }));
    return this.adapt(site, x, base, { bias: undefined, frozen: (v) => v, norm: { plain, weightOffset } });
  }

  attend(q: Tensor, k: Tensor, v: Tensor, { layer, scale, window, softCap }: AttentionAttributes): Tensor {
    let ranges = this.windows.get(window);
    if (ranges === undefined) {
      ranges = this.graph.input(inputNames.ranges(window), 'i32', ['tokens', 4]);
      this.windows.set(window, ranges);
    }
    return selfAttention({ q, ...this.withPrefixes(layer, k, v), ranges }, { scale, softCap }).y;
  }

  // No adapter that is trained brings keys and values with a softmax of their own.
  prompted(_q: Tensor, y: Tensor): Tensor {
    return y;
  }

  selectRows(x: Tensor): Tensor {
    const { rows } = this.tensors;
    this.selected = true;
    if (this.routing !== undefined) {
      const { index, weight, ...rest } = this.routing;
      this.routing = { ...rest, index: gatherRows(index, rows), weight: gatherRows(weight, rows) };
    }
    return gatherRows(x, rows);
  }

  // Keys and values that adapters bring, in front of the text's.
  private withPrefixes(layer: number, k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    const [, keyHeads, headWidth] = k.shape as [Dimension, number, number];
    const keys: Tensor[] = [];
    const values: Tensor[] = [];
    for (const { slot, method, settings } of this.adapters) {
      const positions = method.virtualPositions?.(settings);
      if (positions?.as !== 'keys' || method.prefix === undefined) continue;
      const parameter = (part: string): Tensor => this.parameters.of(slot, virtualTokensPath, part);
      const own = method.prefix(settings, { layer, width: keyHeads * headWidth, parameter });
      keys.push(own.keys.reshape([positions.count, keyHeads, headWidth]));
      values.push(own.values.reshape([positions.count, keyHeads, headWidth]));
    }
    if (keys.length === 0) return { k, v };
    const count = this.prefixKeys;
    this.keys ??= this.graph.input(inputNames.keys, 'i32', [inputNames.keys]);
    const places = this.constants.table(`rows 0 to ${count}`, 'i32', () => Int32Array.from({ length: count }, (_, row) => row));
    const together = (own: readonly Tensor[], text: Tensor): Tensor =>
      replaceRows(gatherRows(text, this.keys as Tensor), concatRows(own), places);
    return { k: together(keys, k), v: together(values, v) };
  }

  private slicedBias(bias: Tensor, site: Site, first: number): Tensor {
    return copy(bias.reshape([1, bias.shape[0] as number]).columns(first, first + site.outputs)).reshape([site.outputs]);
  }

  // Each adapter changes its own tokens; one alone changes all.
  private adapt(
    site: Site,
    x: Tensor,
    base: Tensor,
    more: Pick<SiteGraph, 'bias' | 'frozen'> & { norm?: { plain: () => Tensor; weightOffset: number } },
  ): Tensor {
    let y = base;
    for (const adapter of this.adapters) {
      const forward = adapter.method.forward;
      if (forward === undefined || !actsAt(adapter, site) || factorsAt(adapter, site) !== undefined) continue;
      const rows = this.adapters.length === 1 ? undefined : this.tokensOf(adapter.slot);
      const pick = (tensor: Tensor): Tensor => (rows === undefined ? tensor : gatherRows(tensor, rows));
      const changed = forward(adapter.settings, {
        site: site as SiteShape,
        x: pick(x),
        base: pick(y),
        bias: more.bias,
        frozen: more.frozen,
        norm: more.norm && { plain: pick(more.norm.plain()), weightOffset: more.norm.weightOffset },
        table: (key, dtype, values) => this.constants.table(key, dtype, values),
        parameter: (part) => this.parameters.of(adapter.slot, parameterPath(adapter, site), part),
      });
      y = rows === undefined ? changed : replaceRows(y, changed, rows);
    }
    return y;
  }

  private tokensOf(slot: number): Tensor {
    const key = this.selected ? -1 - slot : slot;
    let rows = this.picked.get(key);
    if (rows === undefined) {
      const name = inputNames.tokensOf(slot);
      rows = this.selected ? this.graph.input(`labelled ${name}`, 'i32', [`labelled ${name}`]) : this.graph.input(name, 'i32', [name]);
      this.picked.set(key, rows);
    }
    return rows;
  }
}

// Tied modules have the parameters of the one that was chosen.
function parameterPath({ stored, sites }: AdapterInTraining, site: Site): string {
  const owns = ({ path }: SiteShape): boolean => stored.parameters.some((parameter) => parameter.path === path);
  if (owns(site)) return site.path;
  return sites.find((other) => other.weight === site.weight && owns(other))?.path ?? site.path;
}
