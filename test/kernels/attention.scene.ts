// Requests with keys and values in a paged cache, and any selection of their tokens as the operands of a call.
import { type DType, dtypeBytes } from '../../lib/runtime/dtype.js';
import { blockTokens, CacheLayer, kvWriteReference } from './attention.reference.ts';
import { f32, i32, type Operand, u8 } from './check_op.ts';
import { randomNormal, uniform } from './numbers.ts';

export interface SceneOptions {
  /** Cached positions of each request. */
  lengths: number[];
  heads?: number;
  keyHeads?: number;
  width?: number;
  type?: DType;
  window?: number;
  softCap?: number;
  scale?: number;
  /** Bytes of a page behind the layers; 0 keeps pages multiples of 16 bytes, as an engine's are. */
  pageTail?: number;
  query?: (count: number) => ArrayLike<number>;
  key?: (count: number) => ArrayLike<number>;
  value?: (count: number) => ArrayLike<number>;
}

export interface Token {
  request: number;
  position: number;
}

export const tokensOf = (request: number, first: number, end: number): Token[] =>
  Array.from({ length: end - first }, (_, i) => ({ request, position: first + i }));

/** All tokens of all requests, one request after another. */
export const wholePrompts = (lengths: number[]): Token[] => lengths.flatMap((length, request) => tokensOf(request, 0, length));

let seed = 7000;

export class Scene {
  readonly heads: number;
  readonly keyHeads: number;
  readonly width: number;
  readonly type: DType;
  readonly lengths: number[];
  readonly blockTable: Operand;
  readonly pageBytes: number;
  readonly layerOffset: number;
  readonly emptyPool: Operand;
  readonly pool: Operand;
  private readonly queries: Float64Array[];
  private readonly keys: Float64Array[];
  private readonly values: Float64Array[];

  constructor(private readonly options: SceneOptions) {
    const normal = (count: number): Float64Array => randomNormal(count, seed++);
    const { lengths, heads = 2, keyHeads = 1, width = 12, type = 'f32', query = normal, key = normal, value = normal } = options;
    Object.assign(this, { lengths, heads, keyHeads, width, type });
    this.lengths = lengths;
    this.heads = heads;
    this.keyHeads = keyHeads;
    this.width = width;
    this.type = type;
    const numbers = (make: (count: number) => ArrayLike<number>, perToken: number) =>
      lengths.map((length) => Float64Array.from(make(length * perToken)));
    this.queries = numbers(query, heads * width);
    this.keys = numbers(key, keyHeads * width);
    this.values = numbers(value, keyHeads * width);

    // Pages in random order with two to spare, and a layer in the middle of each page: everything else stays NaN.
    const blocks = Math.max(1, ...lengths.map((length) => Math.ceil(length / blockTokens)));
    const next = uniform(seed++);
    const ids = Array.from({ length: lengths.length * blocks + 2 }, (_, i) => ({ id: i, order: next() })).sort((a, b) => a.order - b.order);
    const layerBytes = 2 * keyHeads * width * blockTokens * dtypeBytes[type];
    this.layerOffset = layerBytes;
    this.pageBytes = 2 * layerBytes + (options.pageTail ?? 8);
    this.blockTable = i32(
      [lengths.length, blocks],
      Array.from({ length: lengths.length * blocks }, (_, i) => {
        const used = (i % blocks) * blockTokens < (lengths[Math.floor(i / blocks)] as number);
        return used ? (ids[i] as { id: number }).id : -1;
      }),
    );
    this.emptyPool = u8([ids.length * this.pageBytes], new Uint8Array(ids.length * this.pageBytes).fill(0xff));
    const everything = this.write(wholePrompts(lengths));
    const { written } = kvWriteReference({ ...everything.inputs, pool: this.emptyPool }, everything.attrs, {});
    this.pool = u8(this.emptyPool.dims as number[], Uint8Array.from(written as ArrayLike<number>));
  }

  private rows(of: Float64Array[], tokens: Token[], perToken: number): Float64Array {
    const all = new Float64Array(tokens.length * perToken);
    tokens.forEach(({ request, position }, t) => {
      if (position >= 0) all.set((of[request] as Float64Array).subarray(position * perToken, (position + 1) * perToken), t * perToken);
    });
    return all;
  }

  private paging(tokens: Token[]): Record<string, Operand> {
    return {
      blockTable: this.blockTable,
      positions: i32(
        [tokens.length],
        tokens.map((t) => t.position),
      ),
      request: i32(
        [tokens.length],
        tokens.map((t) => t.request),
      ),
    };
  }

  get layer(): CacheLayer {
    return new CacheLayer(this.type, this.keyHeads, this.width, this.pageBytes, this.layerOffset, this.blockTable);
  }

  /** Operands of kv_write for these tokens; `padding` columns lie between the rows of k and v. */
  write(tokens: Token[], padding = 0) {
    const perToken = this.keyHeads * this.width;
    const dims = [tokens.length, this.keyHeads, this.width];
    const operand = (of: Float64Array[]) => f32.strided(dims, perToken + padding, this.rows(of, tokens, perToken));
    return {
      inputs: { k: operand(this.keys), v: operand(this.values), pool: this.emptyPool, ...this.paging(tokens) } as Record<string, Operand>,
      attrs: { pageBytes: this.pageBytes, layerOffset: this.layerOffset, cacheType: this.type, interleaved: false },
    };
  }

  /** Operands of attention for these tokens over the full cache. */
  attend(tokens: Token[], padding = 0) {
    const perToken = this.heads * this.width;
    const dims = [tokens.length, this.heads, this.width];
    const { window = 0, softCap = 0, scale = 1 / Math.sqrt(this.width) } = this.options;
    return {
      inputs: {
        q: f32.strided(dims, perToken + padding, this.rows(this.queries, tokens, perToken)),
        pool: this.pool,
        ...this.paging(tokens),
      } as Record<string, Operand>,
      attrs: {
        pageBytes: this.pageBytes,
        layerOffset: this.layerOffset,
        cacheType: this.type,
        keyHeads: this.keyHeads,
        scale: Math.fround(scale),
        window,
        softCap,
      },
      outputs: { y: { dtype: 'f32' as const, dims } },
      reduction: this.width + Math.max(1, ...this.lengths),
    };
  }
}
