import type { Operand, Reference } from './check_op.ts';

/** Weight [vocabulary, width] as `linear` packs it: panels of 16 rows, in bf16 with pairs of columns side by side. */
export function packed(
  dtype: 'f32' | 'f16' | 'bf16',
  vocabulary: number,
  width: number,
  values: ArrayLike<number>,
): { dims: number[]; values: Float64Array } {
  const pair = dtype === 'bf16' ? 2 : 1;
  const inner = width + (width % 2);
  const panels = Math.ceil(vocabulary / 16);
  const out = new Float64Array(panels * inner * 16);
  for (let n = 0; n < vocabulary; n++)
    for (let k = 0; k < width; k++) {
      const panel = Math.floor(n / 16) * inner * 16;
      out[panel + Math.floor(k / pair) * 16 * pair + (n % 16) * pair + (k % pair)] = values[n * width + k] as number;
    }
  return { dims: [panels, inner / pair, 16 * pair], values: out };
}

function element(weight: Operand, row: number, k: number): number {
  const [first = 0, second = 0, third = 0] = weight.dims;
  if (weight.dims.length === 2) return weight.values[row * second + k] as number;
  const pair = third / 16;
  if (row >= first * 16) return Number.NaN;
  const panel = Math.floor(row / 16) * second * third;
  return weight.values[panel + Math.floor(k / pair) * third + (row % 16) * pair + (k % pair)] as number;
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
