import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape, type Shape } from '../runtime/shape.js';
import { add, divide, mul, scale } from './elementwise.js';
import { map } from './map.js';
import { apply, expectDType, expectRank, expectSameDimension, expectTensor, fixed, type Rules } from './op_rule.js';

function lastDropped(op: 'reduce' | 'argmax', x: Tensor) {
  expectDType(op, 'x', x, 'f32');
  if (x.shape.length < 2) throw new ShapeError(`[${op}] x has ${x.shape.length} dimensions: expected at least two`, { op });
  return x.shape.slice(0, -1);
}

// The gradient of a maximum goes to every element that equals it, in equal parts.
function maximumGradient(x: Tensor, maximum: Tensor, dy: Tensor): Tensor {
  const columns = x.shape.at(-1) as Dimension;
  const below = map(add(repeatColumns(maximum, columns), map(x, 'neg')), 'step');
  const mask = map(below, 'complement').detach();
  return mul(mask, repeatColumns(divide(dy, reduce(mask, 'sum')), columns));
}

/** @internal The shape of a repeated row is said by the caller. */
export function repeatRowsRule(shape: Shape): Rules<'repeat_rows'>['repeat_rows'] {
  return {
    infer: ({ x }) => {
      expectDType('repeat_rows', 'x', x, 'f32');
      expectRank('repeat_rows', 'x', x, 1);
      return { y: { dtype: 'f32', shape } };
    },
    gradient: ({ upstream: { y } }) => ({ x: sumRows(y) }),
  };
}

/** @internal How often each element is repeated is said by the caller. */
export function repeatColumnsRule(columns: Dimension): Rules<'repeat_columns'>['repeat_columns'] {
  return {
    infer: ({ x }) => {
      expectDType('repeat_columns', 'x', x, 'f32');
      expectRank('repeat_columns', 'x', x, 1, 2, 3);
      return { y: { dtype: 'f32', shape: [...x.shape, columns] } };
    },
    gradient: ({ upstream: { y } }) => ({ x: reduce(y, 'sum') }),
  };
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const reduceRules: Rules<'reduce' | 'argmax' | 'sum_rows' | 'repeat_rows' | 'repeat_columns'> = {
  reduce: {
    infer: ({ x }) => ({ y: { dtype: 'f32', shape: lastDropped('reduce', x) } }),
    gradient: ({ inputs: { x }, outputs, attrs, upstream: { y } }) => {
      if (attrs.kind === 'max') return { x: maximumGradient(x, outputs.y, y) };
      const share = attrs.kind === 'mean' ? scale(y, 1 / Math.max(1, fixed('reduce', 'x', x, -1))) : y;
      return { x: repeatColumns(share, x.shape.at(-1) as Dimension) };
    },
  },
  argmax: { infer: ({ x }) => ({ y: { dtype: 'i32', shape: lastDropped('argmax', x) } }) },
  sum_rows: {
    infer: ({ x }) => {
      expectDType('sum_rows', 'x', x, 'f32');
      expectRank('sum_rows', 'x', x, 1, 2, 3, 4);
      return { y: { dtype: 'f32', shape: [x.shape.at(-1) as Dimension] } };
    },
    gradient: ({ inputs: { x }, upstream: { y } }) => ({ x: repeatRows(y, x) }),
  },
  repeat_rows: repeatRowsRule([]),
  repeat_columns: repeatColumnsRule(0),
};

/** Sum, mean or maximum over the last dimension. f32 [.., n] → f32 [..]. */
export const reduce = (x: Tensor, kind: 'sum' | 'mean' | 'max'): Tensor => apply('reduce', reduceRules.reduce, { x }, { kind }).y;

/** Index of the first maximum over the last dimension. f32 [.., n] → i32 [..]. */
export const argmax = (x: Tensor): Tensor => apply('argmax', reduceRules.argmax, { x }, {}).y;

/** Sum over all leading dimensions, in rising order of rows whatever the threads. f32 [.., n] → f32 [n]. */
export const sumRows = (x: Tensor): Tensor => apply('sum_rows', reduceRules.sum_rows, { x }, {}).y;

/**
 * x in every row. f32 [n] → f32 of the shape of `like`, [.., n]; a dimension instead gives [like, n]. Only the shape of `like` is used.
 * Throws ShapeError where n differs.
 */
export function repeatRows(x: Tensor, like: Tensor | Dimension): Tensor {
  expectTensor('repeat_rows', 'x', x);
  const named = typeof like === 'object' && 'shape' in like;
  if (named) expectSameDimension('repeat_rows', { name: 'x', tensor: x, axis: 0 }, { name: 'like', tensor: like, axis: -1 });
  const shape = named ? like.shape : [like, x.shape[0] as Dimension];
  return apply('repeat_rows', repeatRowsRule(shape), { x }, {}).y;
}

/**
 * Each element of x as a row of `like` columns. f32 [..] → f32 [.., columns]; a tensor instead gives its last dimension, and its
 * others must be those of x (ShapeError). Only the shape of `like` is used.
 */
export function repeatColumns(x: Tensor, like: Tensor | Dimension): Tensor {
  expectTensor('repeat_columns', 'x', x);
  const named = typeof like === 'object' && 'shape' in like;
  if (named && like.shape.length !== x.shape.length + 1)
    throw new ShapeError(
      `[repeat_columns] x is ${formatShape(x.shape)} but like is ${formatShape(like.shape)}: expected one dimension more`,
      {
        op: 'repeat_columns',
        actual: like.shape,
      },
    );
  if (named)
    x.shape.forEach((_, axis) => {
      expectSameDimension('repeat_columns', { name: 'x', tensor: x, axis }, { name: 'like', tensor: like, axis });
    });
  const columns = named ? (like.shape.at(-1) as Dimension) : like;
  return apply('repeat_columns', repeatColumnsRule(columns), { x }, {}).y;
}
