import type { Operand, Reference } from './check_op.ts';
import { byRow } from './norm.reference.ts';

/** log softmax of one row. */
export function logSoftmaxOf(x: Float64Array): Float64Array {
  const top = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const rest = Math.log(x.reduce((sum, v) => sum + Math.exp(v - top), 0));
  return x.map((v) => v - top - rest);
}

const operand = (inputs: Record<string, Operand | undefined>, name: string): Operand => inputs[name] as Operand;
const width = (x: Operand): number => x.dims.at(-1) as number;

export const logSoftmax: Reference = (inputs) => {
  const x = operand(inputs, 'x');
  return { y: byRow(x.values, width(x), logSoftmaxOf) };
};

export const softmax: Reference = (inputs) => {
  const x = operand(inputs, 'x');
  return { y: byRow(x.values, width(x), (row) => logSoftmaxOf(row).map(Math.exp)) };
};

export const tokenLogprob: Reference = (inputs) => {
  const logits = operand(inputs, 'logits');
  const columns = width(logits);
  const logprob = operand(inputs, 'target').values.map((target, r) =>
    target < 0 ? 0 : (logSoftmaxOf(logits.values.subarray(r * columns, (r + 1) * columns))[target] as number),
  );
  return { logprob };
};
