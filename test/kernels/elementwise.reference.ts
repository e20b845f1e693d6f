import type { Operand, Reference } from './check_op.ts';
import { roundF32 } from './numbers.ts';

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
export const scale: Reference = (inputs, attrs) => ({ y: x(inputs).map((v) => roundF32(attrs.factor as number) * v) });
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

const density = (v: number): number => Math.exp((-v * v) / 2) / Math.sqrt(2 * Math.PI);
const sigmoidSlope = (v: number): number => sigmoid(v) * sigmoid(-v);

/** Derivatives of `functions`. */
export const slopes: Record<string, (x: number) => number> = {
  relu: (v) => (v > 0 ? 1 : 0),
  gelu: (v) => 0.5 * erfc(-v / Math.SQRT2) + (Number.isFinite(v) ? v * density(v) : Number.isNaN(v) ? v : 0),
  gelu_tanh: (v) => {
    const c = 2 * Math.sqrt(2 / Math.PI);
    const u = c * (v + 0.044715 * v ** 3);
    const rest = sigmoidSlope(u);
    return sigmoid(u) + (rest === 0 ? 0 : v * rest * c * (1 + 3 * 0.044715 * v * v));
  },
  silu: (v) => sigmoid(v) + (Math.abs(v) === Infinity ? 0 : v * sigmoidSlope(v)),
  sigmoid: sigmoidSlope,
  tanh: (v) => 4 * sigmoidSlope(2 * v),
};

export const activateGrad: Reference = (inputs, attrs) => {
  const slope = slopes[attrs.function as string] as (v: number) => number;
  return { dx: x(inputs, 'dy').map((v, i) => v * slope(x(inputs)[i] as number)) };
};

export const gateGrad: Reference = (inputs, attrs) => {
  const [gated, up, dy] = [x(inputs, 'gate'), x(inputs, 'up'), x(inputs, 'dy')];
  const f = functions[attrs.function as string] as (v: number) => number;
  const slope = slopes[attrs.function as string] as (v: number) => number;
  return { dGate: dy.map((v, i) => v * (up[i] as number) * slope(gated[i] as number)), dUp: dy.map((v, i) => v * f(gated[i] as number)) };
};

export const softCapGrad: Reference = (inputs, attrs) => {
  const cap = Math.fround(attrs.cap as number);
  return { dx: x(inputs, 'dy').map((v, i) => v * 4 * sigmoidSlope((2 * (x(inputs)[i] as number)) / cap)) };
};

export const maps: Record<string, (x: number) => number> = {
  exp: Math.exp,
  log: Math.log,
  sqrt: Math.sqrt,
  rsqrt: (v) => 1 / Math.sqrt(v),
  reciprocal: (v) => 1 / v,
  square: (v) => v * v,
  sin: Math.sin,
  cos: Math.cos,
  neg: (v) => -v,
  abs: Math.abs,
  sign: Math.sign,
  step: (v) => (Number.isNaN(v) ? v : Number(v > 0)),
  complement: (v) => 1 - v,
  normal_cdf: (v) => 0.5 * erfc(-v / Math.SQRT2),
};

export const map: Reference = (inputs, attrs) => ({ y: x(inputs).map(maps[attrs.function as string] as (v: number) => number) });
export const divide = pairs((a, b) => a / b);
export const scaleColumns: Reference = (inputs) => {
  const factor = x(inputs, 'factor');
  return { y: x(inputs).map((v, i) => v * (factor[i % factor.length] as number)) };
};
export const scaleRows: Reference = (inputs) => {
  const factor = x(inputs, 'factor');
  const width = x(inputs).length / factor.length;
  return { y: x(inputs).map((v, i) => v * (factor[Math.floor(i / width)] as number)) };
};
export const zerosLike: Reference = (inputs) => ({ y: new Float64Array(x(inputs).length) });
export const accumulate: Reference = (inputs) => {
  const target = x(inputs, 'target');
  return { sum: x(inputs).map((v, i) => v + (target[i] as number)) };
};
