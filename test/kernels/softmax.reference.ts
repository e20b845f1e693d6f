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

export const softmaxGrad: Reference = (inputs) => {
  const y = operand(inputs, 'y');
  const dy = operand(inputs, 'dy').values;
  const columns = width(y);
  const dx = byRow(y.values, columns, (row, r) => {
    const mean = row.reduce((sum, v, i) => sum + v * (dy[r * columns + i] as number), 0);
    return row.map((v, i) => v * ((dy[r * columns + i] as number) - mean));
  });
  return { dx };
};

export const logSoftmaxGrad: Reference = (inputs) => {
  const y = operand(inputs, 'y');
  const columns = width(y);
  const dx = byRow(operand(inputs, 'dy').values, columns, (row, r) => {
    const sum = row.reduce((a, b) => a + b, 0);
    return row.map((v, i) => v - Math.exp(y.values[r * columns + i] as number) * sum);
  });
  return { dx };
};

export const tokenLogprobGrad: Reference = (inputs) => {
  const logits = operand(inputs, 'logits');
  const upstream = operand(inputs, 'dlogprob').values;
  const target = operand(inputs, 'target').values;
  const dlogits = byRow(logits.values, width(logits), (row, r) => {
    if ((target[r] as number) < 0) return row.map(() => 0);
    const p = logSoftmaxOf(row).map(Math.exp);
    const others = p.reduce((sum, v, i) => (i === target[r] ? sum : sum + v), 0);
    return p.map((v, i) => (upstream[r] as number) * (i === target[r] ? others : -v));
  });
  return { dlogits };
};

export const oneHotLike: Reference = (inputs) => {
  const x = operand(inputs, 'x');
  const target = operand(inputs, 'target').values;
  return { y: byRow(x.values, width(x), (row, r) => row.map((_, i) => (i === target[r] ? 1 : 0))) };
};
