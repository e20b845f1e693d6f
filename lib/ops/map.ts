import type { Tensor } from '../graph/tensor.js';
import { mul, scale } from './elementwise.js';
import { type Attrs, apply, expectDType, type Rules } from './op_rule.js';

/** Functions of one variable that `map` can apply. Their derivatives are written with them again. */
export type MapFunction = Attrs<'map'>['function'];

const density = 1 / Math.sqrt(2 * Math.PI);

// Derivatives at x, where y = f(x); undefined: zero everywhere that it exists.
const slopes: { readonly [F in MapFunction]: (x: Tensor, y: Tensor) => Tensor | undefined } = {
  exp: (_x, y) => y,
  log: (x) => map(x, 'reciprocal'),
  sqrt: (x) => scale(map(x, 'rsqrt'), 0.5),
  rsqrt: (_x, y) => scale(mul(y, map(y, 'square')), -0.5),
  reciprocal: (_x, y) => map(map(y, 'square'), 'neg'),
  square: (x) => scale(x, 2),
  sin: (x) => map(x, 'cos'),
  cos: (x) => map(map(x, 'sin'), 'neg'),
  neg: () => undefined,
  abs: (x) => map(x, 'sign'),
  sign: () => undefined,
  step: () => undefined,
  complement: () => undefined,
  normal_cdf: (x) => scale(map(scale(map(x, 'square'), -0.5), 'exp'), density),
};

/** @internal Rule of `map`. */
export const mapRules: Rules<'map'> = {
  map: {
    infer: ({ x }) => {
      expectDType('map', 'x', x, 'f32');
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    gradient: ({ inputs: { x }, outputs, attrs, upstream: { y } }) => {
      if (attrs.function === 'neg' || attrs.function === 'complement') return { x: map(y, 'neg') };
      const slope = slopes[attrs.function](x, outputs.y);
      return { x: slope === undefined ? undefined : mul(y, slope) };
    },
  },
};

/**
 * f(x) element by element, f32. `complement` is 1 - x, `step` 1 above 0 and 0 elsewhere, `sign` -1, 0 or 1, `normal_cdf` the
 * distribution function of the standard normal. Throws DTypeError unless x is f32.
 */
export const map = (x: Tensor, f: MapFunction): Tensor => apply('map', mapRules.map, { x }, { function: f }).y;
