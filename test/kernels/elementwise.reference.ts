import type { Operand, Reference } from './check_op.ts';

/** erf by its series without cancellation: 2 / √π e^(-x²) Σ 2ⁿ x^(2n+1) / (2n+1)!!. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-18 && n < 300; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** The complement, for x >= 2 by its continued fraction evaluated from far inside. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  if (x < 2) return 1 - erfSeries(x);
  let tail = 0;
  for (let n = 200; n > 0; n--) tail = n / 2 / (x + tail);
  return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + tail);
}

const sigmoid = (x: number): number => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
// The limit at -infinity, where the formula would be -infinity times zero.
const times = (x: number, share: number): number => (x === -Infinity ? 0 : x * share);

export const functions: Record<string, (x: number) => number> = {
  relu: (x) => Math.max(x, 0),
  gelu: (x) => times(x, 0.5 * erfc(-x / Math.SQRT2)),
  gelu_tanh: (x) => times(x, sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => times(x, sigmoid(x)),
  sigmoid,
  tanh: Math.tanh,
};

const x = (inputs: Record<string, Operand | undefined>, name = 'x'): Float64Array => (inputs[name] as Operand).values;
const pairs =
  (f: (a: number, b: number) => number): Reference =>
  (inputs) => {
    const b = x(inputs, 'b');
    return { y: x(inputs, 'a').map((v, i) => f(v, b[i] as number)) };
  };

export const add = pairs((a, b) => a + b);
export const mul = pairs((a, b) => a * b);
export const addBias: Reference = (inputs) => {
  const bias = x(inputs, 'bias');
  return { y: x(inputs).map((v, i) => v + (bias[i % bias.length] as number)) };
};
export const scale: Reference = (inputs, attrs) => ({ y: x(inputs).map((v) => Math.fround(attrs.factor as number) * v) });
export const activate: Reference = (inputs, attrs) => ({ y: x(inputs).map(functions[attrs.function as string] as (v: number) => number) });
export const gate: Reference = (inputs, attrs) => {
  const up = x(inputs, 'up');
  const f = functions[attrs.function as string] as (v: number) => number;
  return { y: x(inputs, 'gate').map((v, i) => f(v) * (up[i] as number)) };
};
export const softCap: Reference = (inputs, attrs) => {
  const cap = Math.fround(attrs.cap as number);
  return { y: x(inputs).map((v) => cap * Math.tanh(v / cap)) };
};
export const copy: Reference = (inputs) => ({ y: x(inputs) });
