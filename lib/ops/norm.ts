import type { Tensor } from '../graph/tensor.js';
import { add, mul, scale, scaleColumns } from './elementwise.js';
import { apply, expectDType, expectRank, expectSameDimension, expectShape, fixed, optionsOf, type Rules } from './op_rule.js';
import { repeatColumns, sumRows } from './reduce.js';
import { spread, spreadMean, subtract } from './row_statistics.js';

type NormOp = 'rms_norm' | 'add_rms_norm' | 'layer_norm' | 'rms_norm_grad' | 'layer_norm_grad';

function check(op: NormOp, x: Tensor, rows: Record<string, Tensor | undefined>) {
  expectDType(op, 'x', x, 'f32');
  for (const [name, row] of Object.entries(rows)) {
    if (row === undefined) continue;
    expectDType(op, name, row, 'f32');
    expectRank(op, name, row, 1);
    expectSameDimension(op, { name: 'x', tensor: x, axis: -1 }, { name, tensor: row, axis: 0 });
  }
  return { dtype: 'f32', shape: x.shape } as const;
}

function checkGradient(op: 'rms_norm_grad' | 'layer_norm_grad', x: Tensor, weight: Tensor | undefined, dy: Tensor) {
  expectDType(op, 'dy', dy, 'f32');
  expectShape(op, 'dy', dy, x.shape, 'the shape of x');
  return check(op, x, { weight });
}

// The gradient of what the norm multiplied by its weight.
function weighted(dy: Tensor, weight: Tensor | undefined, offset: number): Tensor {
  if (weight === undefined) return dy;
  const product = scaleColumns(dy, weight);
  return offset === 0 ? product : add(product, scale(dy, offset));
}

// The gradient of x / rms(x), of ops that have gradients themselves.
function throughRms(x: Tensor, dy: Tensor, eps: number): Tensor {
  const inverse = spread(x, (rows) => inverseRms(rows, { eps }));
  const normal = mul(x, inverse);
  return mul(inverse, subtract(dy, mul(normal, spreadMean(mul(dy, normal)))));
}

// A layer norm is an rms norm of what differs from the mean.
function throughLayer(x: Tensor, dy: Tensor, eps: number): Tensor {
  const dx = throughRms(subtract(x, spreadMean(x)), dy, eps);
  return subtract(dx, spreadMean(dx));
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const normRules: Rules<NormOp | 'inverse_rms'> = {
  rms_norm: {
    infer: ({ x, weight }) => ({ y: check('rms_norm', x, { weight }) }),
    gradient: ({ inputs: { x, weight }, attrs, upstream: { y }, wants, differentiable }) => ({
      x: wants('x')
        ? differentiable
          ? throughRms(x, weighted(y, weight, attrs.weightOffset), attrs.eps)
          : rmsNormGrad(x, weight, y, attrs)
        : undefined,
      weight: wants('weight') ? sumRows(mul(y, rmsNorm(x, undefined, attrs))) : undefined,
    }),
  },
  // Appears when a program is planned, never in a graph: it needs no gradient.
  add_rms_norm: {
    infer: ({ a, b, weight }) => {
      expectShape('add_rms_norm', 'b', b, a.shape, 'the shape of a');
      const y = check('add_rms_norm', a, { weight });
      return { sum: y, y };
    },
  },
  layer_norm: {
    infer: ({ x, weight, bias }) => ({ y: check('layer_norm', x, { weight, bias }) }),
    gradient: ({ inputs: { x, weight }, attrs, upstream: { y }, wants, differentiable }) => ({
      x: wants('x')
        ? differentiable
          ? throughLayer(x, weighted(y, weight, 0), attrs.eps)
          : layerNormGrad(x, weight, y, attrs)
        : undefined,
      weight: wants('weight') ? sumRows(mul(y, layerNorm(x, undefined, undefined, attrs))) : undefined,
      bias: wants('bias') ? sumRows(y) : undefined,
    }),
  },
  rms_norm_grad: { infer: ({ x, weight, dy }) => ({ dx: checkGradient('rms_norm_grad', x, weight, dy) }) },
  layer_norm_grad: { infer: ({ x, weight, dy }) => ({ dx: checkGradient('layer_norm_grad', x, weight, dy) }) },
  inverse_rms: {
    infer: ({ x }) => {
      expectDType('inverse_rms', 'x', x, 'f32');
      expectRank('inverse_rms', 'x', x, 2, 3, 4);
      return { y: { dtype: 'f32', shape: x.shape.slice(0, -1) } };
    },
    gradient: ({ inputs: { x }, outputs: { y: inverse }, upstream: { y } }) => {
      const slope = scale(mul(y, mul(inverse, mul(inverse, inverse))), -1 / Math.max(1, fixed('inverse_rms', 'x', x, -1)));
      return { x: mul(x, repeatColumns(slope, x)) };
    },
  },
};

/**
 * x / sqrt(mean(x²) + eps) * (weight + weightOffset) over the last dimension.
 * x f32 [.., n], weight f32 [n]. Zhang and Sennrich, https://arxiv.org/abs/1910.07467.
 */
export const rmsNorm = (x: Tensor, weight: Tensor | undefined, options: { eps: number; weightOffset?: number }): Tensor =>
  apply('rms_norm', normRules.rms_norm, { x, weight }, optionsOf('rms_norm', options, { eps: undefined, weightOffset: 0 })).y;

/** (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension. f32. Ba et al., https://arxiv.org/abs/1607.06450. */
export const layerNorm = (x: Tensor, weight: Tensor | undefined, bias: Tensor | undefined, options: { eps: number }): Tensor =>
  apply('layer_norm', normRules.layer_norm, { x, weight, bias }, optionsOf('layer_norm', options, { eps: undefined })).y;

/** Gradient of `rmsNorm` with respect to x from the gradient dy of its result. f32, shapes as there. */
export const rmsNormGrad = (x: Tensor, weight: Tensor | undefined, dy: Tensor, options: { eps: number; weightOffset?: number }): Tensor =>
  apply(
    'rms_norm_grad',
    normRules.rms_norm_grad,
    { x, weight, dy },
    optionsOf('rms_norm_grad', options, { eps: undefined, weightOffset: 0 }),
  ).dx;

/** Gradient of `layerNorm` with respect to x from the gradient dy of its result. f32, shapes as there. */
export const layerNormGrad = (x: Tensor, weight: Tensor | undefined, dy: Tensor, options: { eps: number }): Tensor =>
  apply('layer_norm_grad', normRules.layer_norm_grad, { x, weight, dy }, optionsOf('layer_norm_grad', options, { eps: undefined })).dx;

/** 1 / sqrt(mean(x²) + eps) over the last dimension. f32 [.., n] → f32 [..]. */
export const inverseRms = (x: Tensor, options: { eps: number }): Tensor =>
  apply('inverse_rms', normRules.inverse_rms, { x }, optionsOf('inverse_rms', options, { eps: undefined })).y;
