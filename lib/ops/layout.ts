import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import type { Dimension } from '../runtime/shape.js';
import { apply, expectDType, expectRank, expectSameDimension, fixed, type Rules } from './op_rule.js';

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const layoutRules: Rules<'concat_columns'> = {
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
};

/** Tensors f32 [rows, columns] side by side. Throws ShapeError unless they have equally many rows. */
export function concatColumns(parts: readonly Tensor[]): Tensor {
  const [a, b, c, d] = parts;
  if (a === undefined) throw new ShapeError('[concat_columns] got no tensors: expected at least one');
  if (parts.length > 4) return concatColumns([concatColumns(parts.slice(0, 4)), ...parts.slice(4)]);
  return apply('concat_columns', layoutRules.concat_columns, { a, b, c, d }, {}).y;
}
