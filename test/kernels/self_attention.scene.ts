// Packed documents as self_attention sees them.
import { f32, i32, type OpCase, type Operand } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { selfAttentionReference } from './self_attention.reference.ts';

export interface PackedOptions {
  /** Tokens of each document. */
  lengths: readonly number[];
  /** Virtual tokens before the keys of each document, seen by all its tokens through the first range. */
  prefix?: number;
  heads?: number;
  keyHeads?: number;
  width?: number;
  window?: number;
  scale?: number;
  softCap?: number;
  /** Elements between tokens when q, k and v are columns of one wider tensor each. */
  padding?: number;
  /** Seed of each document's numbers. */
  seed?: number;
  query?: (count: number, seed: number) => ArrayLike<number>;
  key?: (count: number, seed: number) => ArrayLike<number>;
  value?: (count: number, seed: number) => ArrayLike<number>;
}

export type Ranges = readonly [number, number, number, number];

/** A case of self_attention over documents side by side; all prefixes lie before the documents' keys. */
export class PackedScene {
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  readonly dy: Operand;
  readonly ranges: Operand;
  readonly attrs: { scale: number; softCap: number };
  readonly dims: { q: [number, number, number]; k: [number, number, number]; lse: [number, number] };
  /** The longest range of any token. */
  readonly seen: number;

  constructor(options: PackedOptions) {
    const { lengths, prefix = 0, heads = 2, keyHeads = 1, width = 8, window = 0, seed = 11, padding } = options;
    const { query = randomNormal, key = randomNormal, value = randomNormal } = options;
    this.attrs = { scale: options.scale ?? 1 / Math.sqrt(width), softCap: options.softCap ?? 0 };
    const tokens = lengths.reduce((sum, length) => sum + length, 0);
    const keys = tokens + prefix * lengths.length;
    this.dims = { q: [tokens, heads, width], k: [keys, keyHeads, width], lse: [tokens, heads] };
    // A document's numbers depend on its own seed only, so that it can be found again in another batch.
    const make = (name: number, draw: (count: number, seed: number) => ArrayLike<number>, perToken: number, extra: number): number[] => {
      const parts = lengths.map((length, i) =>
        Array.from(draw((length + extra) * perToken, seed + 10 * (lengths.length === 1 ? 0 : i) + name)),
      );
      return extra === 0
        ? parts.flat()
        : [...parts.flatMap((part) => part.slice(0, extra * perToken)), ...parts.flatMap((part) => part.slice(extra * perToken))];
    };
    const place = (dims: [number, number, number], values: number[]): Operand =>
      padding === undefined ? f32(dims, values) : f32.strided(dims, dims[1] * dims[2] + padding, values);
    this.q = place(this.dims.q, make(1, query, heads * width, 0));
    this.k = place(this.dims.k, make(2, key, keyHeads * width, prefix));
    this.v = place(this.dims.k, make(3, value, keyHeads * width, prefix));
    this.dy = place(this.dims.q, make(4, randomNormal, heads * width, 0));
    const rows: Ranges[] = [];
    let start = prefix * lengths.length;
    lengths.forEach((length, i) => {
      for (let t = 0; t < length; t++)
        rows.push([prefix * i, prefix * (i + 1), start + (window > 0 ? Math.max(0, t - window + 1) : 0), start + t + 1]);
      start += length;
    });
    this.ranges = i32([tokens, 4], rows.flat());
    this.seen = Math.max(1, ...rows.map(([a, b, c, d]) => b - a + (d - c)));
  }

  with(ranges: readonly Ranges[]): PackedScene {
    const other = Object.assign(Object.create(PackedScene.prototype), this) as { -readonly [K in keyof PackedScene]: PackedScene[K] };
    other.ranges = i32([ranges.length, 4], ranges.flat());
    other.seen = Math.max(1, ...ranges.map(([a, b, c, d]) => b - a + (d - c)));
    return other as PackedScene;
  }

  attend(name: string, more: Partial<OpCase> = {}): OpCase {
    const { q, k, v, ranges, attrs, dims } = this;
    return {
      name,
      inputs: { q, k, v, ranges },
      attrs,
      outputs: { y: { dtype: 'f32', dims: dims.q }, lse: { dtype: 'f32', dims: dims.lse } },
      reduction: this.seen + dims.q[2],
      ...more,
    };
  }

  gradient(name: string, more: Partial<OpCase> = {}): OpCase {
    const { q, k, v, ranges, dy, attrs, dims } = this;
    const { y, lse } = selfAttentionReference({ q, k, v, ranges }, attrs, {}) as { y: Float64Array; lse: Float64Array };
    return {
      name,
      inputs: { q, k, v, ranges, y: f32(dims.q, y), lse: f32(dims.lse, lse), dy },
      attrs,
      outputs: { dq: { dtype: 'f32', dims: dims.q }, dk: { dtype: 'f32', dims: dims.k }, dv: { dtype: 'f32', dims: dims.k } },
      reduction: (this.seen + dims.q[2]) * (dims.q[1] / dims.k[1]),
      // dy . v - dy . y cancels where one key has nearly all the weight.
      absolute: Math.max(2e-6, 4e-7 * Math.sqrt(dims.q[2])) * Math.max(1, attrs.scale * Math.sqrt(dims.q[2])),
      ...more,
    };
  }
}
