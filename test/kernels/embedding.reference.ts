import type { Operand, Reference } from './check_op.ts';
import { panelIndex } from './packed_weight.ts';

function element(weight: Operand, row: number, k: number): number {
  const [first = 0, second = 0] = weight.dims;
  if (weight.dims.length === 2) return weight.values[row * second + k] as number;
  return row < first * 16 ? (weight.values[panelIndex(weight.dims, row, k)] as number) : Number.NaN;
}

export const embedding: Reference = (inputs, _attrs, outputs) => {
  const ids = (inputs.ids as Operand).values;
  const width = outputs.y?.[1] as number;
  const y = new Float64Array(ids.length * width);
  ids.forEach((id, t) => {
    if (id >= 0) for (let k = 0; k < width; k++) y[t * width + k] = element(inputs.weight as Operand, id, k);
  });
  return { y };
};

export const gatherRows: Reference = (inputs) => {
  const { values, dims } = inputs.x as Operand;
  const rows = (inputs.rows as Operand).values;
  const inner = dims.slice(1).reduce((n, d) => n * d, 1);
  const y = new Float64Array(rows.length * inner);
  rows.forEach((row, r) => {
    if (row >= 0) y.set(values.subarray(row * inner, (row + 1) * inner), r * inner);
  });
  return { y };
};
