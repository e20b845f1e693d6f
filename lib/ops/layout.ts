import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape, type Shape } from '../runtime/shape.js';
import { zerosLike } from './elementwise.js';
import { gatherRows } from './embedding.js';
import { apply, expectDType, expectRank, expectSameDimension, expectTensor, fixed, type Rules } from './op_rule.js';

type RowOp = 'concat_rows' | 'slice_rows' | 'pad_rows' | 'scatter_add_rows' | 'replace_rows';

// Everything but the leading dimension.
function expectSameRows(op: RowOp, a: { name: string; tensor: Tensor }, b: { name: string; tensor: Tensor }): void {
  expectDType(op, a.name, a.tensor, 'f32');
  expectDType(op, b.name, b.tensor, 'f32');
  expectRank(op, b.name, b.tensor, a.tensor.shape.length);
  for (let axis = 1; axis < a.tensor.shape.length; axis++) expectSameDimension(op, { ...a, axis }, { ...b, axis });
}

function expectRowNumbers(op: RowOp, x: Tensor, rows: Tensor): void {
  expectDType(op, 'x', x, 'f32');
  expectDType(op, 'rows', rows, 'i32');
  expectRank(op, 'rows', rows, 1);
  expectSameDimension(op, { name: 'x', tensor: x, axis: 0 }, { name: 'rows', tensor: rows, axis: 0 });
}

function together(a: Tensor, b: Tensor): Dimension {
  const [left, right] = [a.shape[0], b.shape[0]] as [Dimension, Dimension];
  if (typeof left === 'number' && typeof right === 'number') return left + right;
  if (left === 0) return right;
  if (right === 0) return left;
  if (typeof left !== 'number' && typeof right !== 'number' && left.extent === right.extent)
    return { extent: left.extent, coefficient: left.coefficient + right.coefficient };
  throw new ShapeError(
    `[concat_rows] a is ${formatShape(a.shape)} and b is ${formatShape(b.shape)}: expected rows that add up to a number or a multiple of one extent`,
    { op: 'concat_rows' },
  );
}

const otherRows = (x: Tensor, rows: Dimension): Shape => [rows, ...x.shape.slice(1)];

function sliceRowsRule(rows: Dimension): Rules<'slice_rows'>['slice_rows'] {
  return {
    infer: ({ x }) => {
      expectDType('slice_rows', 'x', x, 'f32');
      expectRank('slice_rows', 'x', x, 1, 2, 3, 4);
      return { y: { dtype: 'f32', shape: otherRows(x, rows) } };
    },
    gradient: ({ inputs: { x }, attrs, upstream: { y } }) => ({ x: padTo(y, x.shape[0] as Dimension, attrs.from, attrs.atEnd) }),
  };
}

function padRowsRule(rows: Dimension): Rules<'pad_rows'>['pad_rows'] {
  return {
    infer: ({ x }) => {
      expectDType('pad_rows', 'x', x, 'f32');
      expectRank('pad_rows', 'x', x, 1, 2, 3, 4);
      return { y: { dtype: 'f32', shape: otherRows(x, rows) } };
    },
    gradient: ({ inputs: { x }, attrs, upstream: { y } }) => ({ x: sliceOf(y, x.shape[0] as Dimension, attrs.from, attrs.atEnd) }),
  };
}

function scatterAddRowsRule(count: Dimension): Rules<'scatter_add_rows'>['scatter_add_rows'] {
  return {
    infer: ({ x, rows }) => {
      expectRowNumbers('scatter_add_rows', x, rows);
      return { y: { dtype: 'f32', shape: otherRows(x, count) } };
    },
    gradient: ({ inputs: { rows }, upstream: { y } }) => ({ x: gatherRows(y, rows) }),
  };
}

const sliceOf = (x: Tensor, rows: Dimension, from: number, atEnd: boolean): Tensor =>
  apply('slice_rows', sliceRowsRule(rows), { x }, { from, atEnd }).y;
const padTo = (x: Tensor, rows: Dimension, from: number, atEnd: boolean): Tensor =>
  apply('pad_rows', padRowsRule(rows), { x }, { from, atEnd }).y;

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const layoutRules: Rules<'concat_columns' | 'swap_axes' | RowOp> = {
  concat_columns: {
    infer: ({ a, b, c, d }) => {
      let columns = 0;
      for (const [name, tensor] of Object.entries({ a, b, c, d })) {
        if (tensor === undefined) continue;
        expectDType('concat_columns', name, tensor, 'f32');
        expectRank('concat_columns', name, tensor, 2);
        expectSameDimension('concat_columns', { name: 'a', tensor: a, axis: 0 }, { name, tensor, axis: 0 });
        columns += fixed('concat_columns', name, tensor, 1);
      }
      return { y: { dtype: 'f32', shape: [a.shape[0] as Dimension, columns] } };
    },
    gradient: ({ inputs, upstream: { y } }) => {
      let first = 0;
      const part = (tensor: Tensor | undefined): Tensor | undefined => {
        if (tensor === undefined) return undefined;
        const from = first;
        first += tensor.shape[1] as number;
        return y.columns(from, first);
      };
      return { a: part(inputs.a), b: part(inputs.b), c: part(inputs.c), d: part(inputs.d) };
    },
  },
  concat_rows: {
    infer: ({ a, b }) => {
      expectRank('concat_rows', 'a', a, 1, 2, 3, 4);
      expectSameRows('concat_rows', { name: 'a', tensor: a }, { name: 'b', tensor: b });
      return { y: { dtype: 'f32', shape: otherRows(a, together(a, b)) } };
    },
    gradient: ({ inputs: { a, b }, upstream: { y }, wants }) => ({
      a: wants('a') ? sliceOf(y, a.shape[0] as Dimension, 0, false) : undefined,
      b: wants('b') ? sliceOf(y, b.shape[0] as Dimension, 0, true) : undefined,
    }),
  },
  slice_rows: sliceRowsRule(0),
  pad_rows: padRowsRule(0),
  swap_axes: {
    infer: ({ x }) => {
      expectDType('swap_axes', 'x', x, 'f32');
      expectRank('swap_axes', 'x', x, 2, 3);
      const [a, b, ...rest] = x.shape as [Dimension, Dimension, ...Dimension[]];
      return { y: { dtype: 'f32', shape: [b, a, ...rest] } };
    },
    gradient: ({ upstream: { y } }) => ({ x: swapAxes(y) }),
  },
  scatter_add_rows: scatterAddRowsRule(0),
  replace_rows: {
    infer: ({ base, x, rows }) => {
      expectRowNumbers('replace_rows', x, rows);
      expectSameRows('replace_rows', { name: 'base', tensor: base }, { name: 'x', tensor: x });
      return { y: { dtype: 'f32', shape: base.shape } };
    },
    gradient: ({ inputs: { x, rows }, upstream: { y }, wants }) => ({
      base: wants('base') ? replaceRows(y, zerosLike(x), rows) : undefined,
      x: wants('x') ? gatherRows(y, rows) : undefined,
    }),
  },
};

/** Tensors f32 [rows, columns] side by side. Throws ShapeError unless they have equally many rows. */
export function concatColumns(parts: readonly Tensor[]): Tensor {
  const [a, b, c, d] = parts;
  if (a === undefined) throw new ShapeError('[concat_columns] got no tensors: expected at least one');
  if (parts.length > 4) return concatColumns([concatColumns(parts.slice(0, 4)), ...parts.slice(4)]);
  return apply('concat_columns', layoutRules.concat_columns, { a, b, c, d }, {}).y;
}

/**
 * Tensors f32 [rows, ..] below each other. Throws ShapeError unless their inner dimensions agree and their rows add up to a number
 * or a multiple of one extent.
 */
export function concatRows(parts: readonly Tensor[]): Tensor {
  const [first, ...rest] = parts;
  if (first === undefined) throw new ShapeError('[concat_rows] got no tensors: expected at least one');
  return rest.reduce((a, b) => apply('concat_rows', layoutRules.concat_rows, { a, b }, {}).y, first);
}

/**
 * Rows `from` up to, not including, `to`. f32 [rows, ..] → [to - from, ..]. Throws ShapeError where the rows are not there; with
 * symbolic rows that is known when the program runs.
 */
export function sliceRows(x: Tensor, from: number, to: number): Tensor {
  expectTensor('slice_rows', 'x', x);
  const rows = x.shape[0];
  const whole = Number.isSafeInteger(from) && Number.isSafeInteger(to) && from >= 0 && from <= to;
  if (!whole || (typeof rows === 'number' && to > rows))
    throw new ShapeError(`[slice_rows] x is ${formatShape(x.shape)}: cannot take rows ${from} to ${to}`, {
      op: 'slice_rows',
      actual: x.shape,
    });
  return sliceOf(x, to - from, from, false);
}

/** x with its first two dimensions exchanged. f32 [a, b] → [b, a], or [a, b, c] → [b, a, c]. Throws ShapeError for other ranks. */
export const swapAxes = (x: Tensor): Tensor => apply('swap_axes', layoutRules.swap_axes, { x }, {}).y;

/**
 * Sums of rows by number: y[n] = Σ x[i] over all i with rows[i] = n, in rising order of i; negative numbers are skipped.
 * x f32 [m, ..], rows i32 [m] → f32 [n, ..]; n is `like`, or the leading dimension of that tensor, of which only the shape is used.
 * Throws ShapeError where m differs; a number of n or more is an error of the run.
 */
export function scatterAddRows(x: Tensor, rows: Tensor, like: Tensor | Dimension): Tensor {
  const count = typeof like === 'object' && 'shape' in like ? (like.shape[0] as Dimension) : like;
  return apply('scatter_add_rows', scatterAddRowsRule(count), { x, rows }, {}).y;
}

/**
 * base with rows replaced: y[rows[i]] = x[i]; negative numbers are skipped. base f32 [n, ..], x f32 [m, ..], rows i32 [m] → [n, ..].
 * Throws ShapeError where shapes differ; a row named twice, or one of n or more, is an error of the run. State as base is changed.
 */
export const replaceRows = (base: Tensor, x: Tensor, rows: Tensor): Tensor =>
  apply('replace_rows', layoutRules.replace_rows, { base, x, rows }, {}).y;
