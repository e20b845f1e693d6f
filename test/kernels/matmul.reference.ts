import type { Operand, Reference } from './check_op.ts';

export const matmul: Reference = (inputs, attrs, outputs) => {
  const { a, b } = inputs as { a: Operand; b: Operand };
  const [rows = 0, columns = 0] = (outputs.y ?? []).slice(-2);
  const batch = a.dims.length === 3 ? (a.dims[0] as number) : 1;
  const k = a.dims.at(attrs.transposeA ? -2 : -1) as number;
  const y = new Float64Array(batch * rows * columns);
  for (let p = 0; p < batch; p++)
    for (let m = 0; m < rows; m++)
      for (let n = 0; n < columns; n++) {
        let sum = 0;
        for (let i = 0; i < k; i++) {
          const left = a.values[p * rows * k + (attrs.transposeA ? i * rows + m : m * k + i)] as number;
          const right = b.values[p * k * columns + (attrs.transposeB ? n * k + i : i * columns + n)] as number;
          sum += left * right;
        }
        y[(p * rows + m) * columns + n] = sum;
      }
  return { y };
};
