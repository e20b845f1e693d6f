import type { Operand, Reference } from './check_op.ts';

type Inputs = Record<string, Operand | undefined>;
const size = (dims: readonly number[]): number => dims.reduce((n, d) => n * d, 1);
const rowsOf = ({ values, dims }: Operand): Float64Array[] => {
  const width = size(dims.slice(1));
  return Array.from({ length: dims[0] as number }, (_, r) => values.subarray(r * width, (r + 1) * width));
};
const joined = (rows: readonly ArrayLike<number>[]): { y: Float64Array } => ({
  y: Float64Array.from(rows.flatMap((row) => Array.from(row))),
});
const x = (inputs: Inputs): Operand => inputs.x as Operand;

export const concatColumns: Reference = (inputs) => {
  const parts = Object.values(inputs).flatMap((part) => (part === undefined ? [] : [rowsOf(part)]));
  return joined((parts[0] ?? []).map((_, r) => parts.flatMap((rows) => Array.from(rows[r] as Float64Array))));
};

export const concatRows: Reference = ({ a, b }) => joined([...rowsOf(a as Operand), ...rowsOf(b as Operand)]);

export const sliceRows: Reference = (inputs, attrs, outputs) => {
  const rows = rowsOf(x(inputs));
  const count = outputs.y?.[0] as number;
  const first = attrs.atEnd ? rows.length - count - (attrs.from as number) : (attrs.from as number);
  return joined(rows.slice(first, first + count));
};

export const padRows: Reference = (inputs, attrs, outputs) => {
  const rows = rowsOf(x(inputs));
  const count = outputs.y?.[0] as number;
  const nothing = new Float64Array(size(x(inputs).dims.slice(1)));
  const first = attrs.atEnd ? count - rows.length - (attrs.from as number) : (attrs.from as number);
  return joined(Array.from({ length: count }, (_, r) => rows[r - first] ?? nothing));
};

export const swapAxes: Reference = (inputs) => {
  const { values, dims } = x(inputs);
  const [a = 0, b = 0, width = 1] = dims;
  const y = new Float64Array(values.length);
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++) for (let c = 0; c < width; c++) y[(j * a + i) * width + c] = values[(i * b + j) * width + c] as number;
  return { y };
};

export const scatterAddRows: Reference = (inputs, _attrs, outputs) => {
  const width = size(x(inputs).dims.slice(1));
  const sums = Array.from({ length: outputs.y?.[0] as number }, () => new Float64Array(width));
  rowsOf(x(inputs)).forEach((row, i) => {
    const sum = sums[inputs.rows?.values[i] as number];
    row.forEach((v, c) => {
      if (sum !== undefined) sum[c] = (sum[c] as number) + v;
    });
  });
  return joined(sums);
};

export const replaceRows: Reference = (inputs) => {
  const rows = rowsOf(inputs.base as Operand);
  rowsOf(x(inputs)).forEach((row, i) => {
    const at = inputs.rows?.values[i] as number;
    if (at >= 0) rows[at] = row;
  });
  return joined(rows);
};
