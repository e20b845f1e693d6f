import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { apply, expectDType, type Rules } from './op_rule.js';

function lastDropped(op: 'reduce' | 'argmax', x: Tensor) {
  expectDType(op, 'x', x, 'f32');
  if (x.shape.length < 2) throw new ShapeError(`[${op}] x has ${x.shape.length} dimensions: expected at least two`, { op });
  return x.shape.slice(0, -1);
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const reduceRules: Rules<'reduce' | 'argmax'> = {
  reduce: { infer: ({ x }) => ({ y: { dtype: 'f32', shape: lastDropped('reduce', x) } }) },
  argmax: { infer: ({ x }) => ({ y: { dtype: 'i32', shape: lastDropped('argmax', x) } }) },
};

/** Sum, mean or maximum over the last dimension. f32 [.., n] → f32 [..]. */
export const reduce = (x: Tensor, kind: 'sum' | 'mean' | 'max'): Tensor => apply('reduce', reduceRules.reduce, { x }, { kind }).y;

/** Index of the first maximum over the last dimension. f32 [.., n] → i32 [..]. */
export const argmax = (x: Tensor): Tensor => apply('argmax', reduceRules.argmax, { x }, {}).y;
