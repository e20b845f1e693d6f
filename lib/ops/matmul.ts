import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape, product } from '../runtime/shape.js';
import { copy } from './elementwise.js';
import { apply, expectDType, expectRank, expectSameDimension, expectTensor, optionsOf, type Rules } from './op_rule.js';

/** Which operands of `matmul` are given transposed. */
export interface MatmulOptions {
  /** a is [.., k, m]. */
  readonly transposeA?: boolean;
  /** b is [.., n, k]. */
  readonly transposeB?: boolean;
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const matmulRules: Rules<'matmul'> = {
  matmul: {
    infer: ({ a, b }, { transposeA, transposeB }) => {
      expectDType('matmul', 'a', a, 'f32');
      expectDType('matmul', 'b', b, 'f32');
      expectRank('matmul', 'a', a, 2, 3);
      expectRank('matmul', 'b', b, a.shape.length);
      const batched = a.shape.length === 3;
      if (batched) expectSameDimension('matmul', { name: 'a', tensor: a, axis: 0 }, { name: 'b', tensor: b, axis: 0 });
      const first = batched ? 1 : 0;
      const along = (tensor: Tensor, axis: number): Dimension => tensor.shape[first + axis] as Dimension;
      const name = (letter: string, transposed: boolean): string => (transposed ? `transposed ${letter}` : letter);
      expectSameDimension(
        'matmul',
        { name: name('a', transposeA), tensor: a, axis: first + (transposeA ? 0 : 1) },
        { name: name('b', transposeB), tensor: b, axis: first + (transposeB ? 1 : 0) },
      );
      const shape = [...a.shape.slice(0, first), along(a, transposeA ? 1 : 0), along(b, transposeB ? 0 : 1)];
      return { y: { dtype: 'f32', shape } };
    },
    gradient: ({ inputs: { a, b }, attrs: { transposeA, transposeB }, upstream: { y }, wants }) => {
      const forA = (): Tensor =>
        transposeA ? matmul(b, y, { transposeA: transposeB, transposeB: true }) : matmul(y, b, { transposeB: !transposeB });
      const forB = (): Tensor =>
        transposeB ? matmul(y, a, { transposeA: true, transposeB: transposeA }) : matmul(a, y, { transposeA: !transposeA });
      return { a: wants('a') ? forA() : undefined, b: wants('b') ? forB() : undefined };
    },
  },
};

/**
 * The product of matrices, f32: a [m, k] x b [k, n] → [m, n], or with equal batches [batch, m, k] x [batch, k, n] → [batch, m, n].
 * b of rank 2 is shared by all of a batch. Sums run in rising order of k: a row's bits do not depend on other rows nor on threads.
 * Throws DTypeError or ShapeError where operands do not fit.
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  expectTensor('matmul', 'a', a);
  expectTensor('matmul', 'b', b);
  const { transposeA, transposeB } = optionsOf('matmul', options, { transposeA: false, transposeB: false });
  if (a.shape.length === 3 && b.shape.length === 2) {
    const [batch, rows, inner] = a.shape as [Dimension, Dimension, Dimension];
    const all = product([batch, rows]);
    if (transposeA || all === undefined)
      throw new ShapeError(
        `[matmul] a is ${formatShape(a.shape)}${transposeA ? ' transposed' : ''} but b is ${formatShape(b.shape)}: expected b of rank 3`,
        { op: 'matmul', actual: b.shape },
      );
    const y = matmul((a.strided ? copy(a) : a).reshape([all, inner]), b, { transposeB });
    return y.reshape([batch, rows, y.shape[1] as Dimension]);
  }
  return apply('matmul', matmulRules.matmul, { a, b }, { transposeA, transposeB }).y;
}
