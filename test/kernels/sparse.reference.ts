import type { Operand, Reference } from './check_op.ts';
import { roundF32 } from './numbers.ts';

interface Place {
  readonly row: number;
  readonly column: number;
  readonly at: number;
}

/** The places of all numbers: row n has those from starts[n] to before starts[n + 1]; columns are two bytes each, low byte first. */
function places({ starts, columns }: Record<string, Operand | undefined>): Place[] {
  const first = starts?.values as Float64Array;
  const bytes = columns?.values as Float64Array;
  const found: Place[] = [];
  for (let row = 0; row + 1 < first.length; row++)
    for (let at = first[row] as number; at < (first[row + 1] as number); at++)
      found.push({ row, column: (bytes[2 * at] as number) + 256 * (bytes[2 * at + 1] as number), at });
  return found;
}

const matrix = ({ values, dims }: Operand) => {
  const [rows = 0, width = 0] = dims;
  return { rows, width, at: (row: number, column: number): number => values[row * width + column] as number };
};

export const sparseLinear: Reference = (inputs) => {
  const x = matrix(inputs.x as Operand);
  const base = inputs.base as Operand;
  const values = inputs.values?.values as Float64Array;
  const y = Float64Array.from(base.values);
  const outputs = base.dims[1] as number;
  for (let t = 0; t < x.rows; t++)
    for (const { row, column, at } of places(inputs))
      y[t * outputs + row] = (y[t * outputs + row] as number) + (values[at] as number) * x.at(t, column);
  return { y };
};

export const sparseLinearGradX: Reference = (inputs, _, outputs) => {
  const dy = matrix(inputs.dy as Operand);
  const values = inputs.values?.values as Float64Array;
  const width = outputs.dx?.[1] as number;
  const dx = new Float64Array(dy.rows * width);
  for (let t = 0; t < dy.rows; t++)
    for (const { row, column, at } of places(inputs))
      dx[t * width + column] = (dx[t * width + column] as number) + (values[at] as number) * dy.at(t, row);
  return { dx };
};

export const sparseLinearGradValues: Reference = (inputs) => {
  const x = matrix(inputs.x as Operand);
  const dy = matrix(inputs.dy as Operand);
  const found = places(inputs);
  const dvalues = new Float64Array(found.length);
  for (const { row, column, at } of found)
    for (let t = 0; t < x.rows; t++) dvalues[at] = (dvalues[at] as number) + dy.at(t, row) * x.at(t, column);
  return { dvalues };
};

/** The same gradient from the dense one: dyᵀ x, of which only the numbers' places are looked at. */
export function maskedDenseGradient(inputs: Record<string, Operand | undefined>): Float64Array {
  const x = matrix(inputs.x as Operand);
  const dy = matrix(inputs.dy as Operand);
  const dense = new Float64Array(dy.width * x.width);
  for (let t = 0; t < x.rows; t++)
    for (let n = 0; n < dy.width; n++)
      for (let i = 0; i < x.width; i++) dense[n * x.width + i] = (dense[n * x.width + i] as number) + dy.at(t, n) * x.at(t, i);
  return Float64Array.from(places(inputs), ({ row, column }) => roundF32(dense[row * x.width + column] as number));
}
