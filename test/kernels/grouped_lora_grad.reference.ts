// Gradients of the grouped ops from the formula of the forward pass, in float64.
import type { Operand, Reference } from './check_op.ts';
import { dot, Tables } from './grouped_lora.reference.ts';

const unitFloats = 16;

type Operands = Record<string, Operand | undefined>;
type Entry = ReturnType<Tables['entry']>;

interface Route {
  token: number;
  /** Position in index and weight. */
  route: number;
  weight: number;
  entry: Entry;
  x: Float64Array;
  dy: Float64Array;
  tables: Tables;
}

const rowOf = ({ values, dims }: Operand, row: number): Float64Array =>
  values.subarray(row * (dims[1] as number), (row + 1) * (dims[1] as number));

const piece = 4096;

// Adds factor * values to the gradient of row number `row`.
function adder(inputs: Operands, accumulated: Float64Array) {
  const addresses = (inputs.rows as Operand).values;
  return (row: number, factor: number, values: ArrayLike<number>, first = 0): void => {
    const at = (addresses[row] as number) * unitFloats + first;
    for (let i = 0; i < values.length; i++) accumulated[at + i] = (accumulated[at + i] as number) + factor * (values[i] as number);
  };
}

// Every route of every token at every site that has something there.
function* routesOf(inputs: Operands, site: number): Generator<Route> {
  const index = inputs.index as Operand;
  const columns = (inputs.columns as Operand).values;
  const dy = inputs.dy as Operand;
  const tables = new Tables(inputs);
  const [tokens, count] = index.dims as [number, number];
  for (let token = 0; token < tokens; token++)
    for (let s = 0; s + 1 < columns.length; s++)
      for (let j = 0; j < count; j++) {
        const route = token * count + j;
        const slot = index.values[route] as number;
        const [from, to] = [columns[s] as number, columns[s + 1] as number];
        if (slot < 0) continue;
        const entry = tables.entry(slot, site + s, to - from);
        if (entry.kind === 0) continue;
        yield {
          token,
          route,
          weight: inputs.weight?.values[route] ?? 1,
          entry,
          x: inputs.x === undefined ? new Float64Array(0) : rowOf(inputs.x, token),
          dy: rowOf(dy, token).subarray(from, to),
          tables,
        };
      }
}

export const groupedLoraGradX: Reference = (inputs, attrs) => {
  const base = inputs.base as Operand;
  const dx = base.values.slice();
  const width = base.dims[1] as number;
  for (const { token, weight, entry, dy, tables } of routesOf(inputs, attrs.site as number))
    for (let r = 0; r < entry.rank; r++) {
      const factor = weight * entry.scale * dot(tables.row(entry.firstB + r, entry.dtype, dy.length), dy);
      const a = tables.row(entry.firstA + r, entry.dtype, width);
      for (let k = 0; k < width; k++) dx[token * width + k] = (dx[token * width + k] as number) + factor * (a[k] as number);
    }
  return { dx };
};

export const groupedLoraGradFactors: Reference = (inputs, attrs) => {
  const accumulated = (inputs.gradients as Operand).values.slice();
  const add = adder(inputs, accumulated);
  for (const { weight, entry, x, dy, tables } of routesOf(inputs, attrs.site as number)) {
    for (let r = 0; r < entry.rank; r++) {
      const a = tables.row(entry.firstA + r, 'f32', x.length);
      const b = tables.row(entry.firstB + r, 'f32', dy.length);
      add(entry.firstA + r, weight * entry.scale * dot(b, dy), x);
      add(entry.firstB + r, weight * entry.scale * dot(a, x), dy);
    }
    if (entry.shift !== undefined) add(entry.shiftRow, weight, dy);
  }
  return { accumulated };
};

export const groupedLoraGradWeight: Reference = (inputs, attrs) => {
  const dweight = (inputs.base as Operand).values.slice();
  for (const { route, entry, x, dy, tables } of routesOf(inputs, attrs.site as number)) {
    let sum = entry.shift === undefined ? 0 : dot(entry.shift, dy);
    for (let r = 0; r < entry.rank; r++)
      sum +=
        entry.scale *
        dot(tables.row(entry.firstA + r, entry.dtype, x.length), x) *
        dot(tables.row(entry.firstB + r, entry.dtype, dy.length), dy);
    dweight[route] = (dweight[route] as number) + sum;
  }
  return { dweight };
};

export const groupedEmbeddingGradFactors: Reference = (inputs, attrs) => {
  const accumulated = (inputs.gradients as Operand).values.slice();
  const add = adder(inputs, accumulated);
  const width = (inputs.dy as Operand).dims[1] as number;
  // The table of ids is one site as wide as dy.
  const one: Operands = { ...inputs, columns: { dtype: 'i32', dims: [2], values: Float64Array.of(0, width) } };
  for (const { token, weight, entry, dy, tables } of routesOf(one, attrs.site as number)) {
    const id = (inputs.ids as Operand).values[token] as number;
    if (id < 0) continue;
    if (entry.shift !== undefined) add(entry.shiftRow, weight, dy);
    if (entry.kind === 2) add(entry.firstA + id, weight, dy);
    for (let r = 0; entry.kind === 1 && r < entry.rank; r++) {
      const row = entry.firstA + Math.floor(id / piece) * entry.rank + r;
      const at = id % piece;
      add(row, weight * entry.scale, [dot(tables.row(entry.firstB + r, 'f32', width), dy)], at);
      add(entry.firstB + r, weight * entry.scale * (tables.row(row, 'f32', at + 1)[at] as number), dy);
    }
  }
  return { accumulated };
};
