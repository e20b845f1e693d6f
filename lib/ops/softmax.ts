import type { Tensor } from '../graph/tensor.js';
import { apply, expectDType, expectRank, expectSameDimension, type Rules } from './op_rule.js';

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const softmaxRules: Rules<'softmax' | 'log_softmax' | 'token_logprob'> = {
  softmax: {
    infer: ({ x }) => {
      expectDType('softmax', 'x', x, 'f32');
      return { y: { dtype: 'f32', shape: x.shape } };
    },
  },
  log_softmax: {
    infer: ({ x }) => {
      expectDType('log_softmax', 'x', x, 'f32');
      return { y: { dtype: 'f32', shape: x.shape } };
    },
  },
  token_logprob: {
    infer: ({ logits, target }) => {
      expectDType('token_logprob', 'logits', logits, 'f32');
      expectDType('token_logprob', 'target', target, 'i32');
      expectRank('token_logprob', 'logits', logits, 2);
      expectRank('token_logprob', 'target', target, 1);
      expectSameDimension('token_logprob', { name: 'logits', tensor: logits, axis: 0 }, { name: 'target', tensor: target, axis: 0 });
      return { logprob: { dtype: 'f32', shape: target.shape } };
    },
  },
};

/** Softmax over the last dimension. f32. */
export const softmax = (x: Tensor): Tensor => apply('softmax', softmaxRules.softmax, { x }, {}).y;

/** Logarithm of softmax over the last dimension. f32. */
export const logSoftmax = (x: Tensor): Tensor => apply('log_softmax', softmaxRules.log_softmax, { x }, {}).y;

/** log softmax(logits[r])[target[r]]. logits f32 [rows, vocabulary], target i32 [rows] (negative: 0). */
export const tokenLogprob = (logits: Tensor, target: Tensor): Tensor =>
  apply('token_logprob', softmaxRules.token_logprob, { logits, target }, {}).logprob;
