import type { Operand, Reference } from './check_op.ts';
import { roundF32 } from './numbers.ts';

type Inputs = Record<string, Operand | undefined>;
const values = (inputs: Inputs, name: string): Float64Array => (inputs[name] as Operand).values;

/** Calls `row` for each run of `width` elements and joins the results. */
export function byRow(x: Float64Array, width: number, row: (x: Float64Array, index: number) => ArrayLike<number>): Float64Array {
  const y = new Float64Array(x.length);
  for (let at = 0; at < x.length; at += width) y.set(row(x.subarray(at, at + width), at / width), at);
  return y;
}

function rms(x: Float64Array, width: number, inputs: Inputs, attrs: Record<string, number | boolean | string>): Float64Array {
  const weight = inputs.weight?.values;
  const offset = Math.fround(attrs.weightOffset as number);
  return byRow(x, width, (row) => {
    const scale = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / width + Math.fround(attrs.eps as number));
    return row.map((v, i) => v * scale * (weight === undefined ? 1 : (weight[i] as number) + offset));
  });
}

export const rmsNorm: Reference = (inputs, attrs, outputs) => ({ y: rms(values(inputs, 'x'), outputs.y?.at(-1) as number, inputs, attrs) });

export const addRmsNorm: Reference = (inputs, attrs, outputs) => {
  const b = values(inputs, 'b');
  const exact = values(inputs, 'a').map((v, i) => v + (b[i] as number));
  // The sum is an output: its f32 rounding is what the norm sees.
  return { sum: exact, y: rms(exact.map(roundF32), outputs.y?.at(-1) as number, inputs, attrs) };
};

export const layerNorm: Reference = (inputs, attrs, outputs) => {
  const width = outputs.y?.at(-1) as number;
  const weight = inputs.weight?.values;
  const bias = inputs.bias?.values;
  const y = byRow(values(inputs, 'x'), width, (row) => {
    const mean = row.reduce((sum, v) => sum + v, 0) / width;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / width;
    const scale = 1 / Math.sqrt(variance + Math.fround(attrs.eps as number));
    return row.map((v, i) => (v - mean) * scale * (weight?.[i] ?? 1) + (bias?.[i] ?? 0));
  });
  return { y };
};

export const inverseRms: Reference = (inputs, attrs) => {
  const x = inputs.x as Operand;
  const width = x.dims.at(-1) as number;
  const y = Float64Array.from({ length: x.values.length / width }, (_, r) => {
    const row = x.values.subarray(r * width, (r + 1) * width);
    return 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / width + Math.fround(attrs.eps as number));
  });
  return { y };
};

/** The gradient of norm(center(x)) * factor by the chain rule, with center taking away the mean or nothing. */
function normGradient(inputs: Inputs, eps: number, offset: number, centered: boolean): Float64Array {
  const { dims } = inputs.x as Operand;
  const width = dims.at(-1) as number;
  const weight = inputs.weight?.values;
  const dy = values(inputs, 'dy');
  return byRow(values(inputs, 'x'), width, (row, r) => {
    const mean = centered ? row.reduce((sum, v) => sum + v, 0) / width : 0;
    const c = row.map((v) => v - mean);
    const deviation = Math.sqrt(c.reduce((sum, v) => sum + v * v, 0) / width + eps);
    const g = c.map((_, i) => (dy[r * width + i] as number) * (weight === undefined ? 1 : (weight[i] as number) + offset));
    // d(c_i / deviation): through c_i, and through the deviation, whose derivative by c_j is c_j / (width deviation).
    const along = g.reduce((sum, v, i) => sum + (v * (c[i] as number)) / deviation, 0);
    const dc = g.map((v, i) => (v - ((c[i] as number) / deviation) * (along / width)) / deviation);
    const drift = centered ? dc.reduce((sum, v) => sum + v, 0) / width : 0;
    return dc.map((v) => v - drift);
  });
}

export const rmsNormGrad: Reference = (inputs, attrs) => ({
  dx: normGradient(inputs, Math.fround(attrs.eps as number), Math.fround(attrs.weightOffset as number), false),
});

export const layerNormGrad: Reference = (inputs, attrs) => ({ dx: normGradient(inputs, Math.fround(attrs.eps as number), 0, true) });
