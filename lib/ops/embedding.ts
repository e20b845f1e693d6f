import { OptionError, ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape } from '../runtime/shape.js';
import { scatterAddRows } from './layout.js';
import { apply, expectDType, expectRank, expectTensor, optionsOf, type Rules } from './op_rule.js';

/** Width is known from plain rows; packed panels may be padded, so there the caller says it. */
export function embeddingRule(width?: number): Rules<'embedding'>['embedding'] {
  return {
    infer: ({ ids, weight }) => {
      expectDType('embedding', 'ids', ids, 'i32');
      expectDType('embedding', 'weight', weight, 'f32', 'f16', 'bf16', 'u8');
      expectRank('embedding', 'ids', ids, 1);
      expectRank('embedding', 'weight', weight, ...(weight.dtype === 'u8' ? [3] : [2, 3]));
      const columns = weight.shape.length === 2 ? weight.shape[1] : width;
      if (typeof columns !== 'number')
        throw new ShapeError(`[embedding] weight is ${formatShape(weight.shape)}: the width of packed rows must be given`);
      return { y: { dtype: 'f32', shape: [ids.shape[0] as Dimension, columns] } };
    },
    gradient: ({ inputs: { ids, weight }, upstream: { y } }) => {
      if (weight.dtype !== 'f32' || weight.shape.length !== 2)
        throw new OptionError(
          `[embedding] weight is ${weight.dtype} ${formatShape(weight.shape)}: only a table f32 [vocabulary, width] can be trained`,
          { op: 'embedding', operand: 'weight' },
        );
      return { weight: scatterAddRows(y, ids, weight) };
    },
  };
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const embeddingRules: Rules<'embedding' | 'gather_rows'> = {
  embedding: embeddingRule(),
  gather_rows: {
    infer: ({ x, rows }) => {
      expectDType('gather_rows', 'rows', rows, 'i32');
      expectRank('gather_rows', 'rows', rows, 1);
      return { y: { dtype: x.dtype, shape: [rows.shape[0] as Dimension, ...x.shape.slice(1)] } };
    },
    gradient: ({ inputs: { x, rows }, upstream: { y } }) => ({ x: scatterAddRows(y, rows, x) }),
  },
};

/** Rows ids of weight as f32. ids i32 [tokens]; weight [vocabulary, width], or packed for `linear` with `vocabulary` rows of `width`. */
export const embedding = (ids: Tensor, weight: Tensor, options: { vocabulary?: number; width?: number } = {}): Tensor => {
  expectTensor('embedding', 'weight', weight);
  const { vocabulary, width } = optionsOf('embedding', options, { vocabulary: weight.shape[0] as number, width: undefined });
  return apply('embedding', embeddingRule(width), { ids, weight }, { vocabulary }).y;
};

/** Rows of x by number. x [n, ..], rows i32 [m] (negative: zeros) → [m, ..]. */
export const gatherRows = (x: Tensor, rows: Tensor): Tensor => apply('gather_rows', embeddingRules.gather_rows, { x, rows }, {}).y;
