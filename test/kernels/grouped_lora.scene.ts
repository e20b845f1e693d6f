// Adapters in a page pool, written row by row to shuffled addresses, as operands of the grouped ops.
import { type DType, dtypeCode } from '../../lib/runtime/dtype.js';
import { f32, i32, type Operand, u8 } from './check_op.ts';
import { randomNormal, toBytes, uniform } from './numbers.ts';

type FloatDType = 'f32' | 'f16' | 'bf16';

export interface AdapterSite {
  kind: 'lowRank' | 'dense' | 'parallel' | 'series';
  dtype?: FloatDType;
  rank?: number;
  scale?: number;
  gain?: boolean;
  shift?: boolean;
  /** Number of the function of parallel and series. */
  activation?: number;
}

const kinds = { lowRank: 1, dense: 2, parallel: 3, series: 4 };

const rowUnit = 64;
const piece = 4096;
let seed = 9000;

const normal = (count: number, factor: number, mean = 0): Float64Array => randomNormal(count, seed++).map((x) => mean + factor * x);

/** Adapters with random factors; `entries` and `rows` may be changed before the operands are taken. */
export class AdapterScene {
  readonly entries: Int32Array;
  private readonly contents: Uint8Array[] = [];
  rows: Int32Array = new Int32Array(0);
  bytes = new Uint8Array(0);

  constructor(
    readonly slots: number,
    readonly sites: number,
  ) {
    this.entries = new Int32Array(slots * sites * 8);
  }

  /** An adapter's entry for a linear layer, or for an embedding with `inputs` ids. */
  set(
    slot: number,
    site: number,
    inputs: number,
    outputs: number,
    what: AdapterSite,
    table: 'linear' | 'embedding' | 'norm' = 'linear',
  ): this {
    const { kind, dtype = 'bf16', scale = 0.5 } = what;
    const rank = kind !== 'dense' ? (what.rank ?? 4) : table === 'linear' ? outputs : table === 'embedding' ? inputs : 1;
    const width = kind === 'series' ? outputs : table === 'linear' ? inputs : kind === 'lowRank' ? inputs : outputs;
    let firstA: number;
    if (table === 'embedding' && kind === 'lowRank') {
      const whole = Array.from({ length: rank }, () => normal(width, 0.3));
      firstA = this.contents.length;
      for (let from = 0; from < width; from += piece) for (const row of whole) this.row(dtype, row.subarray(from, from + piece));
    } else {
      firstA = this.block(dtype, rank, width, table === 'norm' ? 1 : 0.1);
    }
    const firstB = kind !== 'dense' ? this.block(dtype, rank, outputs, 0.3) : 0;
    const gain = what.gain ? this.row('f32', normal(outputs, 0.2, 1)) : (what.activation ?? -1);
    const shift = what.shift ? this.row('f32', normal(outputs, 1)) : -1;
    const bits = new Int32Array(Float32Array.of(scale).buffer)[0] as number;
    this.entries.set([kinds[kind], dtypeCode[dtype], rank, firstA, firstB, gain, shift, bits], (slot * this.sites + site) * 8);
    return this;
  }

  /** Rows of keys and of values, `width` wide, with a gate. */
  setPrompt(slot: number, site: number, count: number, width: number, gate: number, factor = 1): this {
    const keys = this.block('f32', count, width, factor);
    const values = this.block('f32', count, width, 1);
    const bits = new Int32Array(Float32Array.of(gate).buffer)[0] as number;
    this.entries.set([2, dtypeCode.f32, count, keys, values, -1, -1, bits], (slot * this.sites + site) * 8);
    return this;
  }

  /** Column of an entry: 0 kind, 1 dtype, 2 rank, 3 first_a, 4 first_b, 5 gain, 6 shift. */
  spoil(slot: number, site: number, column: number, value: number): this {
    this.entries[(slot * this.sites + site) * 8 + column] = value;
    return this;
  }

  /** Puts the rows at shuffled addresses with gaps; the pool ends with the last byte of the row that lies last. */
  lay(): this {
    const next = uniform(seed++);
    const order = this.contents.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(next() * (i + 1));
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    this.rows = new Int32Array(this.contents.length);
    let unit = 0;
    let end = 0;
    for (const row of order) {
      const content = this.contents[row] as Uint8Array;
      this.rows[row] = unit;
      end = unit * rowUnit + content.length;
      unit += Math.ceil(content.length / rowUnit) + Math.floor(next() * 3);
    }
    this.bytes = new Uint8Array(end).fill(0xff);
    for (const [row, content] of this.contents.entries()) this.bytes.set(content, (this.rows[row] as number) * rowUnit);
    return this;
  }

  operands(): { entries: Operand; rows: Operand; pool: Operand } {
    return {
      entries: i32([this.slots, this.sites, 8], this.entries),
      rows: i32([this.rows.length], this.rows),
      pool: u8([this.bytes.length], this.bytes),
    };
  }

  private block(dtype: FloatDType, count: number, width: number, factor: number): number {
    const first = this.contents.length;
    for (let i = 0; i < count; i++) this.row(dtype, normal(width, factor));
    return first;
  }

  private row(dtype: FloatDType, values: Float64Array): number {
    return this.contents.push(toBytes(dtype as DType, values)) - 1;
  }
}

/** index and weight [tokens, routes]: `slots` per token, -1 for none. */
export function routes(
  slots: readonly (number | readonly number[])[],
  weights?: (i: number) => number,
): { index: Operand; weight: Operand } {
  const lists = slots.map((s) => (typeof s === 'number' ? [s] : s));
  const count = lists[0]?.length ?? 1;
  const index = lists.flat();
  return {
    index: i32([lists.length, count], index),
    weight: f32(
      [lists.length, count],
      index.map((_, i) => weights?.(i) ?? 1),
    ),
  };
}
