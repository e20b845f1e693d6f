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
