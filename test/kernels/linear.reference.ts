import { bf16, f16, f32, type Operand, type Reference } from './check_op.ts';
import { panelIndex } from './packed_weight.ts';

const makers = { f32, f16, bf16 };
export type WeightType = keyof typeof makers;

/** A row-major [outputs, k] weight as the op wants it: panels of 16 outputs, k going down, bf16 in pairs of k, zeros where nothing is. */
export function packWeight(dtype: WeightType, outputs: number, k: number, values: ArrayLike<number>): Operand {
  const inner = k + (k % 2);
  const together = dtype === 'bf16' ? 2 : 1;
  const panels = Math.ceil(outputs / 16);
  const packed = new Float64Array(panels * inner * 16);
  const dims = [panels, inner / together, 16 * together];
  for (let n = 0; n < outputs; n++) for (let i = 0; i < k; i++) packed[panelIndex(dims, n, i)] = values[n * k + i] as number;
  return { ...makers[dtype](dims, packed), packed: { outputs, k } };
}

const weightAt = (weight: Operand, n: number, i: number): number => weight.values[panelIndex(weight.dims, n, i)] as number;

export const linear: Reference = (inputs, _attrs, outputs) => {
  const { x, weight, bias } = inputs as { x: Operand; weight: Operand; bias?: Operand };
  const [rows = 0, k = 0] = x.dims;
  const count = outputs.y?.[1] ?? 0;
  const y = new Float64Array(rows * count);
  for (let m = 0; m < rows; m++)
    for (let n = 0; n < count; n++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (x.values[m * k + i] as number) * weightAt(weight, n, i);
      y[m * count + n] = sum + (bias?.values[n] ?? 0);
    }
  return { y };
};

export const linearGrad: Reference = (inputs, _attrs, outputs) => {
  const { dy, weight } = inputs as { dy: Operand; weight: Operand };
  const [rows = 0, count = 0] = dy.dims;
  const k = outputs.dx?.[1] ?? 0;
  const dx = new Float64Array(rows * k);
  for (let m = 0; m < rows; m++)
    for (let i = 0; i < k; i++) {
      let sum = 0;
      for (let n = 0; n < count; n++) sum += (dy.values[m * count + n] as number) * weightAt(weight, n, i);
      dx[m * k + i] = sum;
    }
  return { dx };
};
