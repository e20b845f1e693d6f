import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { formatShape, sameDimension } from '../runtime/shape.js';
import { type Attrs, apply, expectDType, expectRank, expectSameDimension, expectShape, fixed, optionsOf, type Rules } from './op_rule.js';

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const ropeRules: Rules<'rope_table' | 'rope'> = {
  rope_table: {
    infer: ({ positions, frequencies, longFrequencies, lengths }) => {
      expectDType('rope_table', 'positions', positions, 'i32');
      expectDType('rope_table', 'lengths', lengths, 'i32');
      expectRank('rope_table', 'positions', positions, 1);
      expectShape('rope_table', 'lengths', lengths, positions.shape, 'the shape of positions');
      for (const [name, tensor] of Object.entries({ frequencies, longFrequencies })) expectDType('rope_table', name, tensor, 'f32');
      expectShape('rope_table', 'longFrequencies', longFrequencies, frequencies.shape, 'the shape of frequencies');
      const [tokens] = positions.shape;
      return {
        table: { dtype: 'f32', shape: [tokens as NonNullable<typeof tokens>, 2 * fixed('rope_table', 'frequencies', frequencies, 0)] },
      };
    },
  },
  rope: {
    infer: ({ x, table }) => {
      expectDType('rope', 'x', x, 'f32');
      expectRank('rope', 'x', x, 3);
      expectSameDimension('rope', { name: 'x', tensor: x, axis: 0 }, { name: 'table', tensor: table, axis: 0 });
      if (fixed('rope', 'table', table, 1) > fixed('rope', 'x', x, 2) || !sameDimension(x.shape[0] as number, table.shape[0] as number))
        throw new ShapeError(
          `[rope] x is ${formatShape(x.shape)} but table is ${formatShape(table.shape)}: it rotates more channels than x has`,
        );
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    // A rotation's transpose turns back. Tables are made from positions: they get no gradient.
    gradient: ({ inputs: { table }, attrs, upstream: { y } }) => ({
      x: rope(y, table, { interleaved: attrs.interleaved, inverse: !attrs.inverse }),
    }),
  },
};

/** Cosines and sines of rotary position embedding for each token; scaling rules in `options`. → f32 [tokens, rotary]. */
export const ropeTable = (
  inputs: { positions: Tensor; frequencies: Tensor; longFrequencies?: Tensor; lengths?: Tensor },
  options: Partial<Attrs<'rope_table'>> = {},
): Tensor =>
  apply(
    'rope_table',
    ropeRules.rope_table,
    inputs,
    optionsOf('rope_table', options, { scale: 1, longScale: 1, dynamicFactor: 0, base: 10000, originalLength: 0 }),
  ).table;

/** Rotates x f32 [tokens, heads, width] by `table`, or with `inverse` by the negative angles. Su et al., https://arxiv.org/abs/2104.09864. */
export const rope = (x: Tensor, table: Tensor, options: { interleaved?: boolean; inverse?: boolean } = {}): Tensor =>
  apply('rope', ropeRules.rope, { x, table }, optionsOf('rope', options, { interleaved: false, inverse: false })).y;
