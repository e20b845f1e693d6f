// Definitions of kv_write and attention in float64, over the bytes of the page pool as attention_layout.h describes them.
import { type DType, dtypeBytes, viewAs } from '../../lib/runtime/dtype.js';
import type { Operand, Reference } from './check_op.ts';
import { fromBits, toBits, toBytes } from './numbers.ts';
import { ropeReference } from './rope.reference.ts';

export const blockTokens = 16;

/** One layer's part of the pool, addressed by request and position. Offsets count elements of the cache's type. */
export class CacheLayer {
  readonly size: number;
  constructor(
    readonly type: DType,
    readonly heads: number,
    readonly width: number,
    readonly pageBytes: number,
    readonly layerOffset: number,
    readonly blockTable: Operand,
  ) {
    this.size = dtypeBytes[type];
  }

  private page(request: number, position: number): number {
    const blocks = this.blockTable.dims[1] as number;
    const page = this.blockTable.values[request * blocks + Math.floor(position / blockTokens)] as number;
    return (page * this.pageBytes + this.layerOffset) / this.size;
  }

  key(request: number, position: number, head: number, channel: number): number {
    return this.page(request, position) + (head * this.width + channel) * blockTokens + (position % blockTokens);
  }

  value(request: number, position: number, head: number, channel: number): number {
    const keys = this.heads * this.width * blockTokens;
    return this.page(request, position) + keys + (head * blockTokens + (position % blockTokens)) * this.width + channel;
  }
}

function cacheLayer(
  inputs: Record<string, Operand | undefined>,
  attrs: Record<string, number | boolean | string>,
  heads: number,
  width: number,
) {
  return new CacheLayer(
    attrs.cacheType as DType,
    heads,
    width,
    attrs.pageBytes as number,
    attrs.layerOffset as number,
    inputs.blockTable as Operand,
  );
}

export const kvWriteReference: Reference = (inputs, attrs) => {
  const { k, v, pool, positions, request } = inputs as Record<'k' | 'v' | 'pool' | 'positions' | 'request', Operand>;
  const { table } = inputs;
  const keys = table === undefined ? k.values : (ropeReference({ x: k, table }, attrs, {}).y as Float64Array);
  const [tokens, heads, width] = k.dims as [number, number, number];
  const layer = cacheLayer(inputs, attrs, heads, width);
  const written = Uint8Array.from(pool.values);
  const put = (element: number, x: number): void => written.set(toBytes(layer.type, [x]), element * layer.size);
  for (let t = 0; t < tokens; t++) {
    const position = positions.values[t] as number;
    if (position < 0) continue;
    for (let h = 0; h < heads; h++)
      for (let c = 0; c < width; c++) {
        const from = (t * heads + h) * width + c;
        put(layer.key(request.values[t] as number, position, h, c), keys[from] as number);
        put(layer.value(request.values[t] as number, position, h, c), v.values[from] as number);
      }
  }
  return { written };
};

export const attentionReference: Reference = (inputs, attrs) => {
  const { q, pool, positions, request } = inputs as Record<'q' | 'pool' | 'positions' | 'request', Operand>;
  const [tokens, heads, width] = q.dims as [number, number, number];
  const keyHeads = attrs.keyHeads as number;
  const { scale, window, softCap } = attrs as Record<'scale' | 'window' | 'softCap', number>;
  const layer = cacheLayer(inputs, attrs, keyHeads, width);
  const bytes = Uint8Array.from(pool.values);
  const cache = fromBits(layer.type, viewAs(layer.type, bytes.buffer));
  const y = new Float64Array(tokens * heads * width);
  for (let t = 0; t < tokens; t++) {
    const last = positions.values[t] as number;
    const owner = request.values[t] as number;
    if (last < 0) continue;
    const first = window > 0 ? Math.max(0, last - window + 1) : 0;
    for (let h = 0; h < heads; h++) {
      const keyHead = Math.floor(h / (heads / keyHeads));
      const at = (t * heads + h) * width;
      const scores: number[] = [];
      for (let j = first; j <= last; j++) {
        let dot = 0;
        for (let c = 0; c < width; c++) dot += (q.values[at + c] as number) * (cache[layer.key(owner, j, keyHead, c)] as number);
        dot *= scale;
        scores.push(softCap > 0 ? softCap * Math.tanh(dot / softCap) : dot);
      }
      const top = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - top));
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let c = 0; c < width; c++) {
        let sum = 0;
        for (let j = first; j <= last; j++) sum += (weights[j - first] as number) * (cache[layer.value(owner, j, keyHead, c)] as number);
        y[at + c] = sum / total;
      }
    }
  }
  return { y };
};

/** Rounds as the cache does. */
export const rounded = (type: DType, values: ArrayLike<number>): Float64Array => fromBits(type, toBits(type, values));
