import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape } from '../runtime/shape.js';
import { apply, expectDType, expectRank, fixed, optionsOf, type Rules } from './op_rule.js';
import { sumRows } from './reduce.js';

/** How bf16 weights are multiplied where the processor has a bf16 dot product: inputs rounded to bf16, or split in two bf16 parts. */
export type LinearPrecision = 'fast' | 'precise';

/** @internal Outputs in a panel of a packed weight. */
export const linearPanel = 16;

/** Dimensions of a weight [outputs, inputs] packed for `linear`; u8: of bf16 panels that may be compact. */
export function packedDims(dtype: 'f32' | 'f16' | 'bf16' | 'u8', outputs: number, inputs: number): [number, number, number] {
  const panels = Math.ceil(outputs / linearPanel);
  const inner = inputs + (inputs % 2);
  if (dtype === 'u8') return [panels, 1 + inner / 2, 64];
  return dtype === 'bf16' ? [panels, inner / 2, 2 * linearPanel] : [panels, inner, linearPanel];
}

/** `outputs` is not in the packed weight, whose panels are padded. */
export function linearRule(outputs: number): Rules<'linear'>['linear'] {
  return {
    infer: ({ x, weight, bias }) => {
      expectDType('linear', 'x', x, 'f32');
      expectDType('linear', 'weight', weight, 'f32', 'f16', 'bf16', 'u8');
      expectDType('linear', 'bias', bias, 'f32');
      expectRank('linear', 'x', x, 2);
      expectRank('linear', 'weight', weight, 3);
      const expected = packedDims(weight.dtype as 'f32', outputs, fixed('linear', 'x', x, 1));
      if (expected.some((size, i) => size !== weight.shape[i]))
        throw new ShapeError(
          `[linear] x is ${formatShape(x.shape)} but the packed weight is ${formatShape(weight.shape)}: expected ${formatShape(expected)} for ${outputs} outputs`,
          {
            op: 'linear',
            actual: weight.shape,
            expected,
          },
        );
      if (bias !== undefined && fixed('linear', 'bias', bias, 0) !== outputs)
        throw new ShapeError(`[linear] bias is ${formatShape(bias.shape)}: expected [${outputs}], the outputs of the weight`, {
          op: 'linear',
        });
      return { y: { dtype: 'f32', shape: [x.shape[0] as Dimension, outputs] } };
    },
    // The weight is frozen: packed for reading, it has no gradient.
    gradient: ({ inputs: { x, weight }, attrs, upstream: { y }, wants }) => ({
      x: wants('x') ? linearGrad(y, weight, { inputs: fixed('linear', 'x', x, 1), precision: attrs.activation }) : undefined,
      bias: wants('bias') ? sumRows(y) : undefined,
    }),
  };
}

/** `inputs` is not in the packed weight, whose rows are filled up to an even number. */
export function linearGradRule(inputs: number): Rules<'linear_grad'>['linear_grad'] {
  return {
    infer: ({ dy, weight }) => {
      expectDType('linear_grad', 'dy', dy, 'f32');
      expectDType('linear_grad', 'weight', weight, 'f32', 'f16', 'bf16', 'u8');
      expectRank('linear_grad', 'dy', dy, 2);
      expectRank('linear_grad', 'weight', weight, 3);
      const expected = packedDims(weight.dtype as 'f32', fixed('linear_grad', 'dy', dy, 1), inputs);
      if (expected.some((size, i) => size !== weight.shape[i]))
        throw new ShapeError(
          `[linear_grad] dy is ${formatShape(dy.shape)} but the packed weight is ${formatShape(weight.shape)}: expected ${formatShape(expected)} for ${inputs} inputs`,
          {
            op: 'linear_grad',
            actual: weight.shape,
            expected,
          },
        );
      return { dx: { dtype: 'f32', shape: [dy.shape[0] as Dimension, inputs] } };
    },
    gradient: ({ inputs: { dy, weight }, attrs, upstream: { dx } }) => ({
      dy: linear(dx, weight, { outputs: fixed('linear_grad', 'dy', dy, 1), precision: attrs.activation }),
    }),
  };
}

/** x Wᵀ + bias. x f32 [rows, inputs]; weight packed for [outputs, inputs] in f32, f16 or bf16; bias f32 [outputs] → f32 [rows, outputs]. */
export const linear = (
  x: Tensor,
  weight: Tensor,
  options: { outputs: number; bias?: Tensor | undefined; precision?: LinearPrecision },
): Tensor => {
  const { outputs, bias, precision } = optionsOf('linear', options, { outputs: undefined, bias: undefined, precision: 'fast' });
  return apply('linear', linearRule(outputs), { x, weight, bias }, { activation: precision }).y;
};

/** dy W: what `linear` passes back to its x. dy f32 [rows, outputs]; weight as `linear` takes it → f32 [rows, inputs]. */
export const linearGrad = (dy: Tensor, weight: Tensor, options: { inputs: number; precision?: LinearPrecision }): Tensor => {
  const { inputs, precision } = optionsOf('linear_grad', options, { inputs: undefined, precision: 'fast' });
  return apply('linear_grad', linearGradRule(inputs), { dy, weight }, { activation: precision }).dx;
};
