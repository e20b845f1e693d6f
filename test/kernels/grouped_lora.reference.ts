// The grouped ops from their formulas, in float64.
import type { DType } from '../../lib/runtime/dtype.js';
import { viewAs } from '../../lib/runtime/dtype.js';
import type { Operand, Reference } from './check_op.ts';
import { functions } from './elementwise.reference.ts';
import { fromBits } from './numbers.ts';

const dtypes: readonly DType[] = ['f32', 'f16', 'bf16'];
const rowUnit = 64;
const piece = 4096;
const groupRows = 16;
const inGroups = 256;

interface Entry {
  kind: number;
  dtype: DType;
  /** Rows of B lie in groups. */
  grouped: boolean;
  rank: number;
  firstA: number;
  firstB: number;
  scale: number;
  gain: Float64Array | undefined;
  shift: Float64Array | undefined;
  shiftRow: number;
  /** Of kinds 3 and 4. */
  activation: (x: number) => number;
}

const functionNames = ['relu', 'gelu', 'gelu_tanh', 'silu', 'sigmoid', 'tanh'];

/** Entries and rows of adapters, read from the operands. */
export class Tables {
  private readonly bytes: Uint8Array;

  constructor(private readonly inputs: Record<string, Operand | undefined>) {
    this.bytes = Uint8Array.from((inputs.pool as Operand).values);
  }

  row(index: number, dtype: DType, width: number): Float64Array {
    const at = ((this.inputs.rows as Operand).values[index] as number) * rowUnit;
    const size = width * (dtype === 'f32' ? 4 : 2);
    return fromBits(dtype, viewAs(dtype, this.bytes.slice(at, at + size).buffer));
  }

  /** Row r of B. */
  rowOfB({ grouped, firstB, rank, dtype }: Entry, r: number, width: number): Float64Array {
    if (!grouped) return this.row(firstB + r, dtype, width);
    const size = dtype === 'f32' ? 4 : 2;
    const group = Math.floor(r / groupRows);
    const count = Math.min(groupRows, rank - group * groupRows);
    const base = ((this.inputs.rows as Operand).values[firstB + group] as number) * rowUnit;
    const bytes = new Uint8Array(width * size);
    for (let i = 0; i < bytes.length; i++)
      bytes[i] = this.bytes[base + (Math.floor(i / rowUnit) * count + (r % groupRows)) * rowUnit + (i % rowUnit)] as number;
    return fromBits(dtype, viewAs(dtype, bytes.buffer));
  }

  entry(slot: number, site: number, outputs: number): Entry {
    const { values, dims } = this.inputs.entries as Operand;
    const at = (slot * (dims[1] as number) + site) * 8;
    const [kind, dtype, rank, firstA, firstB, gain, shift, bits] = values.subarray(at, at + 8) as unknown as number[] as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const vector = (row: number): Float64Array | undefined =>
      kind === 0 || kind > 2 || row < 0 ? undefined : this.row(row, 'f32', outputs);
    const scale = new Float32Array(Int32Array.of(bits).buffer)[0] as number;
    return {
      ...{ kind, dtype: dtypes[dtype % inGroups] as DType, grouped: dtype >= inGroups, rank, firstA, firstB, scale },
      ...{ gain: vector(gain), shift: vector(shift), shiftRow: shift },
      activation: kind > 2 ? (functions[functionNames[gain] as string] as (x: number) => number) : (x) => x,
    };
  }
}

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
};

// What an adapter puts in the base's place, minus the base: see grouped_lora_layout.h.
function delta(entry: Entry, base: number, product: number, n: number): number {
  const shift = entry.shift?.[n] ?? 0;
  if (entry.kind === 2) return product - base + shift;
  if (entry.gain) return (entry.gain[n] as number) * (base + product) - base + shift;
  return product + shift;
}

// Σ routes weight · delta, added to a copy of base; product(entry) gives the adapter's product for one token.
function addRoutes(
  inputs: Record<string, Operand | undefined>,
  y: Float64Array,
  at: number,
  outputs: number,
  token: number,
  site: number,
  tables: Tables,
  bias: (n: number) => number,
  product: (entry: Entry, original: Float64Array) => Float64Array,
): void {
  const { values: index, dims } = inputs.index as Operand;
  const original = y.slice(at, at + outputs);
  for (let j = 0; j < (dims[1] as number); j++) {
    const route = token * (dims[1] as number) + j;
    const slot = index[route] as number;
    if (slot < 0) continue;
    const entry = tables.entry(slot, site, outputs);
    if (entry.kind === 0) continue;
    const weight = (inputs.weight as Operand).values[route] as number;
    const own = product(entry, original);
    for (let n = 0; n < outputs; n++)
      y[at + n] = (y[at + n] as number) + weight * delta(entry, (original[n] as number) - bias(n), own[n] as number, n);
  }
}

export const groupedLora: Reference = (inputs, attrs) => {
  const x = inputs.x as Operand;
  const base = inputs.base as Operand;
  const columns = (inputs.columns as Operand).values;
  const tables = new Tables(inputs);
  const [tokens, width] = x.dims as [number, number];
  const total = base.dims[1] as number;
  const y = base.values.slice();
  for (let t = 0; t < tokens; t++)
    for (let s = 0; s + 1 < columns.length; s++) {
      const [from, to] = [columns[s] as number, columns[s + 1] as number];
      const row = x.values.subarray(t * width, (t + 1) * width);
      addRoutes(
        inputs,
        y,
        t * total + from,
        to - from,
        t,
        (attrs.site as number) + s,
        tables,
        (n) => inputs.baseBias?.values[from + n] ?? 0,
        (entry, original) => {
          const product = new Float64Array(to - from);
          const into = entry.kind === 4 ? original : row;
          if (entry.kind === 2) return product.map((_, n) => dot(tables.row(entry.firstA + n, entry.dtype, width), row));
          for (let r = 0; r < entry.rank; r++) {
            const v = entry.scale * entry.activation(dot(tables.row(entry.firstA + r, entry.dtype, into.length), into));
            const b = tables.rowOfB(entry, r, to - from);
            for (let n = 0; n < product.length; n++) product[n] = (product[n] as number) + v * (b[n] as number);
          }
          return product;
        },
      );
    }
  return { y };
};

export const groupedEmbedding: Reference = (inputs, attrs) => {
  const base = inputs.base as Operand;
  const tables = new Tables(inputs);
  const [tokens, width] = base.dims as [number, number];
  const y = base.values.slice();
  for (let t = 0; t < tokens; t++) {
    const id = (inputs.ids as Operand).values[t] as number;
    if (id < 0) continue;
    addRoutes(
      inputs,
      y,
      t * width,
      width,
      t,
      attrs.site as number,
      tables,
      () => 0,
      (entry) => {
        if (entry.kind === 2) return tables.row(entry.firstA + id, entry.dtype, width);
        const product = new Float64Array(width);
        for (let r = 0; r < entry.rank; r++) {
          const at = id % piece;
          const v = entry.scale * (tables.row(entry.firstA + Math.floor(id / piece) * entry.rank + r, entry.dtype, at + 1)[at] as number);
          const b = tables.row(entry.firstB + r, entry.dtype, width);
          for (let n = 0; n < width; n++) product[n] = (product[n] as number) + v * (b[n] as number);
        }
        return product;
      },
    );
  }
  return { y };
};

export const groupedNorm: Reference = (inputs, attrs) => {
  const x = inputs.x as Operand;
  const tables = new Tables(inputs);
  const width = x.dims.at(-1) as number;
  const heads = x.dims.length === 3 ? (x.dims[1] as number) : 1;
  const y = (inputs.base as Operand).values.slice();
  for (let head = 0; head < (x.dims[0] as number) * heads; head++) {
    const row = x.values.subarray(head * width, (head + 1) * width);
    const mean = attrs.kind === 'layer' ? row.reduce((sum, v) => sum + v, 0) / width : 0;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / width;
    addRoutes(
      inputs,
      y,
      head * width,
      width,
      Math.floor(head / heads),
      attrs.site as number,
      tables,
      () => 0,
      (entry) => {
        const weight = tables.row(entry.firstA, 'f32', width);
        return row.map(
          (v, n) => ((v - mean) / Math.sqrt(variance + (attrs.eps as number))) * ((weight[n] as number) + (attrs.weightOffset as number)),
        );
      },
    );
  }
  return { y };
};

export const groupedPrompt: Reference = (inputs, attrs) => {
  const q = inputs.q as Operand;
  const { values: index, dims } = inputs.index as Operand;
  const tables = new Tables(inputs);
  const [tokens, heads, width] = q.dims as [number, number, number];
  const routes = dims[1] as number;
  const keyHeads = attrs.keyHeads as number;
  const y = (inputs.base as Operand).values.slice();
  for (let route = 0; route < tokens * routes; route++) {
    const slot = index[route] as number;
    if (slot < 0) continue;
    const entry = tables.entry(slot, attrs.site as number, 0);
    if (entry.kind === 0 || entry.rank === 0) continue;
    const rows = (first: number): Float64Array[] =>
      Array.from({ length: entry.rank }, (_, i) => tables.row(first + i, 'f32', keyHeads * width));
    const [keys, values] = [rows(entry.firstA), rows(entry.firstB)];
    for (let head = 0; head < heads; head++) {
      const at = (Math.floor(route / routes) * heads + head) * width;
      const own = Math.floor((head * keyHeads) / heads) * width;
      const query = q.values.subarray(at, at + width);
      const scores = keys.map((key) => dot(query, key.subarray(own, own + width)) * (attrs.scale as number));
      const top = Math.max(...scores);
      const shares = scores.map((score) => Math.exp(score - top));
      const total = shares.reduce((sum, share) => sum + share, 0);
      const factor = ((inputs.weight as Operand).values[route] as number) * entry.scale;
      for (let c = 0; c < width; c++)
        y[at + c] =
          (y[at + c] as number) +
          (factor * values.reduce((sum, value, i) => sum + (shares[i] as number) * (value[own + c] as number), 0)) / total;
    }
  }
  return { y };
};
