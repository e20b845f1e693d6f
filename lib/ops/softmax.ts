import type { Tensor } from '../graph/tensor.js';
import { mul, scaleRows } from './elementwise.js';
import { map } from './map.js';
import { apply, expectDType, expectRank, expectSameDimension, expectShape, type Rules } from './op_rule.js';

import { reduce } from './reduce.js';
import { spreadSum, subtract } from './row_statistics.js';

type GradientOp = 'softmax_grad' | 'log_softmax_grad';

function sameAsY(op: GradientOp, y: Tensor, dy: Tensor) {
  for (const [name, tensor] of Object.entries({ y, dy })) expectDType(op, name, tensor, 'f32');
  expectShape(op, 'dy', dy, y.shape, 'the shape of y');
  return { dx: { dtype: 'f32', shape: y.shape } } as const;
}

function expectTargets(op: 'token_logprob' | 'token_logprob_grad' | 'one_hot_like', name: string, rows: Tensor, target: Tensor): void {
  expectDType(op, name, rows, 'f32');
  expectDType(op, 'target', target, 'i32');
  expectRank(op, name, rows, 2);
  expectRank(op, 'target', target, 1);
  expectSameDimension(op, { name, tensor: rows, axis: 0 }, { name: 'target', tensor: target, axis: 0 });
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const softmaxRules: Rules<'softmax' | 'log_softmax' | 'token_logprob' | GradientOp | 'token_logprob_grad' | 'one_hot_like'> = {
  softmax: {
    infer: ({ x }) => {
      expectDType('softmax', 'x', x, 'f32');
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    gradient: ({ outputs: { y }, upstream: { y: dy }, differentiable }) => ({
      x: differentiable ? mul(y, subtract(dy, spreadSum(mul(y, dy)))) : softmaxGrad(y, dy),
    }),
  },
  log_softmax: {
    infer: ({ x }) => {
      expectDType('log_softmax', 'x', x, 'f32');
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    gradient: ({ outputs: { y }, upstream: { y: dy }, differentiable }) => ({
      x: differentiable ? subtract(dy, mul(map(y, 'exp'), spreadSum(dy))) : logSoftmaxGrad(y, dy),
    }),
  },
  token_logprob: {
    infer: ({ logits, target }) => {
      expectTargets('token_logprob', 'logits', logits, target);
      return { logprob: { dtype: 'f32', shape: target.shape } };
    },
    gradient: ({ inputs: { logits, target }, upstream: { logprob }, differentiable }) => {
      if (!differentiable) return { logits: tokenLogprobGrad(logits, target, logprob) };
      // Rows without a target have no 1: the sum of a row says which count.
      const hot = oneHotLike(logits, target);
      return { logits: scaleRows(subtract(hot, softmax(logits)), mul(logprob, reduce(hot, 'sum'))) };
    },
  },
  softmax_grad: { infer: ({ y, dy }) => sameAsY('softmax_grad', y, dy) },
  log_softmax_grad: { infer: ({ y, dy }) => sameAsY('log_softmax_grad', y, dy) },
  token_logprob_grad: {
    infer: ({ logits, target, dlogprob }) => {
      expectTargets('token_logprob_grad', 'logits', logits, target);
      expectDType('token_logprob_grad', 'dlogprob', dlogprob, 'f32');
      expectShape('token_logprob_grad', 'dlogprob', dlogprob, target.shape, 'the shape of target');
      return { dlogits: { dtype: 'f32', shape: logits.shape } };
    },
  },
  one_hot_like: {
    infer: ({ x, target }) => {
      expectTargets('one_hot_like', 'x', x, target);
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    gradient: () => ({}),
  },
};

/** Softmax over the last dimension. f32. */
export const softmax = (x: Tensor): Tensor => apply('softmax', softmaxRules.softmax, { x }, {}).y;

/** Logarithm of softmax over the last dimension. f32. */
export const logSoftmax = (x: Tensor): Tensor => apply('log_softmax', softmaxRules.log_softmax, { x }, {}).y;

/** log softmax(logits[r])[target[r]]. logits f32 [rows, vocabulary], target i32 [rows] (negative: 0). */
export const tokenLogprob = (logits: Tensor, target: Tensor): Tensor =>
  apply('token_logprob', softmaxRules.token_logprob, { logits, target }, {}).logprob;

/** Gradient of `softmax` with respect to x from its result y and the gradient dy of y. f32, equal shapes. */
export const softmaxGrad = (y: Tensor, dy: Tensor): Tensor => apply('softmax_grad', softmaxRules.softmax_grad, { y, dy }, {}).dx;

/** Gradient of `logSoftmax` with respect to x from its result y and the gradient dy of y. f32, equal shapes. */
export const logSoftmaxGrad = (y: Tensor, dy: Tensor): Tensor => apply('log_softmax_grad', softmaxRules.log_softmax_grad, { y, dy }, {}).dx;

/**
 * Gradient of `tokenLogprob` with respect to logits, in their memory: logits f32 [rows, vocabulary], target i32 [rows] (negative: zeros),
 * dlogprob f32 [rows].
 */
export const tokenLogprobGrad = (logits: Tensor, target: Tensor, dlogprob: Tensor): Tensor =>
  apply('token_logprob_grad', softmaxRules.token_logprob_grad, { logits, target, dlogprob }, {}).dlogits;

/** f32 in the shape of x [rows, columns]: 1 in column target[row], else 0; a negative target gives zeros. target i32 [rows]. */
export const oneHotLike = (x: Tensor, target: Tensor): Tensor => apply('one_hot_like', softmaxRules.one_hot_like, { x, target }, {}).y;
