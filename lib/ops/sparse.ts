import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape } from '../runtime/shape.js';
import { zerosLike } from './elementwise.js';
import { apply, expectDType, expectRank, expectSameDimension, expectShape, fixed, type Rules } from './op_rule.js';

type SparseOp = 'sparse_linear' | 'sparse_linear_grad_x' | 'sparse_linear_grad_values';

/** Where the numbers of a sparse matrix [outputs, inputs] stand, row after row. */
export interface SparsePlaces {
  /** i32 [outputs + 1]: numbers before each row, and all of them. */
  readonly starts: Tensor;
  /** u8 [2 · numbers]: the column of each number as 16 bits without sign, low byte first. */
  readonly columns: Tensor;
}

/** Checks the places against the outputs; gives the count of numbers. */
function countOf(op: SparseOp, { starts, columns }: SparsePlaces, outputs: number): number {
  expectDType(op, 'starts', starts, 'i32');
  expectShape(op, 'starts', starts, [outputs + 1], 'one more than the outputs');
  expectDType(op, 'columns', columns, 'u8');
  expectRank(op, 'columns', columns, 1);
  const bytes = fixed(op, 'columns', columns, 0);
  if (bytes % 2 !== 0)
    throw new ShapeError(`[${op}] columns is ${formatShape(columns.shape)}: expected two bytes for each number`, {
      op,
      actual: columns.shape,
    });
  return bytes / 2;
}

function expectMatrix(op: SparseOp, name: string, tensor: Tensor): number {
  expectDType(op, name, tensor, 'f32');
  expectRank(op, name, tensor, 2);
  return fixed(op, name, tensor, 1);
}

function expectValues(op: SparseOp, values: Tensor, count: number): void {
  expectDType(op, 'values', values, 'f32');
  expectShape(op, 'values', values, [count], 'one for each column');
}

/** `inputs` is in none of the operands. */
export function sparseLinearGradXRule(inputs: number): Rules<'sparse_linear_grad_x'>['sparse_linear_grad_x'] {
  return {
    infer: ({ dy, values, ...places }) => {
      const op = 'sparse_linear_grad_x';
      expectValues(op, values, countOf(op, places, expectMatrix(op, 'dy', dy)));
      return { dx: { dtype: 'f32', shape: [dy.shape[0] as Dimension, inputs] } };
    },
    gradient: ({ inputs: { dy, values, ...places }, upstream: { dx }, wants }) => ({
      dy: wants('dy') ? sparseLinear(dx, zerosLike(dy), values, places) : undefined,
      values: wants('values') ? sparseLinearGradValues(dx, dy, places) : undefined,
    }),
  };
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const sparseRules: Rules<'sparse_linear' | 'sparse_linear_grad_values'> = {
  sparse_linear: {
    infer: ({ x, base, values, ...places }) => {
      const op = 'sparse_linear';
      expectMatrix(op, 'x', x);
      expectValues(op, values, countOf(op, places, expectMatrix(op, 'base', base)));
      expectSameDimension(op, { name: 'x', tensor: x, axis: 0 }, { name: 'base', tensor: base, axis: 0 });
      return { y: { dtype: 'f32', shape: base.shape } };
    },
    gradient: ({ inputs: { x, values, ...places }, upstream: { y }, wants }) => ({
      x: wants('x') ? sparseLinearGradX(y, values, places, x.shape[1] as number) : undefined,
      base: y,
      values: wants('values') ? sparseLinearGradValues(x, y, places) : undefined,
    }),
  },
  sparse_linear_grad_values: {
    infer: ({ x, dy, ...places }) => {
      const op = 'sparse_linear_grad_values';
      expectMatrix(op, 'x', x);
      const count = countOf(op, places, expectMatrix(op, 'dy', dy));
      expectSameDimension(op, { name: 'x', tensor: x, axis: 0 }, { name: 'dy', tensor: dy, axis: 0 });
      return { dvalues: { dtype: 'f32', shape: [count] } };
    },
    gradient: ({ inputs: { x, dy, ...places }, upstream: { dvalues }, wants }) => ({
      x: wants('x') ? sparseLinearGradX(dy, dvalues, places, x.shape[1] as number) : undefined,
      dy: wants('dy') ? sparseLinear(x, zerosLike(dy), dvalues, places) : undefined,
    }),
  },
};

/**
 * base + S x for a sparse matrix S [outputs, inputs]: x f32 [tokens, inputs], base f32 [tokens, outputs], values f32 [numbers] → like base.
 * Inputs: 65,536 at most. Throws ShapeError where shapes do not fit; a column of `inputs` or more is an error of the run. State as base is changed.
 */
export const sparseLinear = (x: Tensor, base: Tensor, values: Tensor, { starts, columns }: SparsePlaces): Tensor =>
  apply('sparse_linear', sparseRules.sparse_linear, { x, base, values, starts, columns }, {}).y;

/** Sᵀ dy: what `sparseLinear` passes back to x. dy f32 [tokens, outputs] → f32 [tokens, inputs]. */
export const sparseLinearGradX = (dy: Tensor, values: Tensor, { starts, columns }: SparsePlaces, inputs: number): Tensor =>
  apply('sparse_linear_grad_x', sparseLinearGradXRule(inputs), { dy, values, starts, columns }, {}).dx;

/** dyᵀ x at the places of S alone (a sampled product of dense matrices): what `sparseLinear` passes back to values → f32 [numbers]. */
export const sparseLinearGradValues = (x: Tensor, dy: Tensor, { starts, columns }: SparsePlaces): Tensor =>
  apply('sparse_linear_grad_values', sparseRules.sparse_linear_grad_values, { x, dy, starts, columns }, {}).dvalues;
