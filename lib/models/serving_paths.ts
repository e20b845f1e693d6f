import type { Tensor } from '../graph/tensor.js';
import {
  type AdapterRouting,
  attention,
  gatherRows,
  groupedEmbedding,
  groupedLora,
  groupedNorm,
  groupedPrompt,
  kvWrite,
  type Paging,
} from '../ops/index.js';
import type { Constants } from './constants.js';
import type { AttentionAttributes, FrozenProjection, ModelPaths, NormAttributes, Site } from './model_builder.js';

/** How keys and values are kept. */
export interface CacheLayout {
  readonly dtype: 'f32' | 'f16' | 'bf16';
  readonly pageBytes: number;
  /** Bytes from the start of a page to each layer's part. */
  readonly layerOffsets: readonly number[];
  readonly keyHeads: number;
  readonly width: number;
}

/** Tensors of one step that only serving has. */
export interface ServingTensors extends Omit<Paging, 'pool'> {
  /** i32 [rows]: tokens whose logits are wanted. */
  readonly rows: Tensor;
  readonly routing: AdapterRouting;
}

/** Any mix of adapters from the page pool by token, over a paged cache. */
export class ServingPaths implements ModelPaths {
  private pool: Tensor;
  private routing: AdapterRouting;

  constructor(
    private readonly step: ServingTensors,
    private readonly cache: CacheLayout,
    private readonly constants: Constants,
  ) {
    this.pool = step.routing.pool;
    this.routing = step.routing;
  }

  embed(ids: Tensor, base: Tensor, site: Site): Tensor {
    return groupedEmbedding(ids, base, this.currentRouting(), { site: site.number });
  }

  project({ x, sites, starts, bias, apply }: FrozenProjection): Tensor[] {
    const columns = this.constants.table(`columns ${starts.join(' ')}`, 'i32', () => Int32Array.from(starts));
    const site = (sites[0] as Site).number;
    const y = groupedLora(x, apply(x), this.currentRouting(), { site, columns, baseBias: bias });
    return splitColumns(y, starts);
  }

  norm(x: Tensor, base: Tensor, site: Site, attributes: NormAttributes): Tensor {
    return groupedNorm(x, base, this.currentRouting(), { site: site.number, ...attributes });
  }

  attend(q: Tensor, k: Tensor, v: Tensor, { layer, scale, window, softCap }: AttentionAttributes): Tensor {
    const { dtype, pageBytes, keyHeads, layerOffsets } = this.cache;
    const { blockTable, positions, request } = this.step;
    const where = { pageBytes, layerOffset: layerOffsets[layer] as number, cacheType: dtype };
    this.pool = kvWrite(k, v, { pool: this.pool, blockTable, positions, request }, where);
    return attention(q, { pool: this.pool, blockTable, positions, request }, { ...where, keyHeads, scale, window, softCap });
  }

  prompted(q: Tensor, y: Tensor, site: Site, { keyHeads }: { keyHeads: number }): Tensor {
    return groupedPrompt(q, y, this.currentRouting(), { site: site.number, keyHeads, scale: (q.shape[2] as number) ** -0.5 });
  }

  selectRows(x: Tensor): Tensor {
    const { rows } = this.step;
    const { index, weight, ...rest } = this.routing;
    this.routing = { ...rest, index: gatherRows(index, rows), weight: gatherRows(weight, rows) };
    return gatherRows(x, rows);
  }

  private currentRouting(): AdapterRouting {
    return { ...this.routing, pool: this.pool };
  }
}

/** The columns of each site of a fused product. */
export function splitColumns(y: Tensor, starts: readonly number[]): Tensor[] {
  if (starts.length === 2) return [y];
  return starts.slice(1).map((end, i) => y.columns(starts[i] as number, end));
}
