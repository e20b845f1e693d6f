import type { Operand, Reference } from './check_op.ts';

function perRow(inputs: Record<string, Operand | undefined>, of: (row: Float64Array) => number): { y: Float64Array } {
  const { values, dims } = inputs.x as Operand;
  const width = dims.at(-1) as number;
  const rows = dims.slice(0, -1).reduce((n, d) => n * d, 1);
  return { y: Float64Array.from({ length: rows }, (_, r) => of(values.subarray(r * width, (r + 1) * width))) };
}

const sum = (row: Float64Array): number => row.reduce((a, b) => a + b, 0);
const kinds: Record<string, (row: Float64Array) => number> = {
  sum,
  mean: (row) => sum(row) / row.length,
  max: (row) => row.reduce((a, b) => Math.max(a, b), -Infinity),
};

export const reduce: Reference = (inputs, attrs) => perRow(inputs, kinds[attrs.kind as string] as (row: Float64Array) => number);

export const argmax: Reference = (inputs) =>
  perRow(inputs, (row) => {
    let best = 0;
    for (let i = 1; i < row.length; i++) {
      const value = (j: number): number => (Number.isNaN(row[j]) ? -Infinity : (row[j] as number));
      if (value(i) > value(best)) best = i;
    }
    return best;
  });

export const sumRows: Reference = (inputs, _attrs, outputs) => {
  const y = new Float64Array(outputs.y?.[0] as number);
  (inputs.x as Operand).values.forEach((v, i) => {
    y[i % y.length] = (y[i % y.length] as number) + v;
  });
  return { y };
};

const count = (dims: readonly number[] = []): number => dims.reduce((n, d) => n * d, 1);

export const repeatRows: Reference = (inputs, _attrs, outputs) => {
  const { values } = inputs.x as Operand;
  return { y: Float64Array.from({ length: count(outputs.y) }, (_, i) => values[i % values.length] as number) };
};

export const repeatColumns: Reference = (inputs, _attrs, outputs) => {
  const { values } = inputs.x as Operand;
  const columns = outputs.y?.at(-1) as number;
  return { y: Float64Array.from({ length: count(outputs.y) }, (_, i) => values[Math.floor(i / columns)] as number) };
};
