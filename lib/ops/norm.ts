import type { Tensor } from '../graph/tensor.js';
import { apply, expectDType, expectRank, expectSameDimension, expectShape, type Rules } from './op_rule.js';

type NormOp = 'rms_norm' | 'add_rms_norm' | 'layer_norm';

function check(op: NormOp, x: Tensor, rows: Record<string, Tensor | undefined>) {
  expectDType(op, 'x', x, 'f32');
  for (const [name, row] of Object.entries(rows)) {
    if (row === undefined) continue;
    expectDType(op, name, row, 'f32');
    expectRank(op, name, row, 1);
    expectSameDimension(op, { name: 'x', tensor: x, axis: -1 }, { name, tensor: row, axis: 0 });
  }
  return { dtype: 'f32', shape: x.shape } as const;
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const normRules: Rules<NormOp> = {
  rms_norm: { infer: ({ x, weight }) => ({ y: check('rms_norm', x, { weight }) }) },
  add_rms_norm: {
    infer: ({ a, b, weight }) => {
      expectShape('add_rms_norm', 'b', b, a.shape, 'the shape of a');
      const y = check('add_rms_norm', a, { weight });
      return { sum: y, y };
    },
  },
  layer_norm: { infer: ({ x, weight, bias }) => ({ y: check('layer_norm', x, { weight, bias }) }) },
};

/**
 * x / sqrt(mean(x²) + eps) * (weight + weightOffset) over the last dimension.
 * x f32 [.., n], weight f32 [n]. Zhang and Sennrich, https://arxiv.org/abs/1910.07467.
 */
export const rmsNorm = (x: Tensor, weight: Tensor | undefined, options: { eps: number; weightOffset?: number }): Tensor =>
  apply('rms_norm', normRules.rms_norm, { x, weight }, { eps: options.eps, weightOffset: options.weightOffset ?? 0 }).y;

/** (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension. f32. Ba et al., https://arxiv.org/abs/1607.06450. */
export const layerNorm = (x: Tensor, weight: Tensor | undefined, bias: Tensor | undefined, options: { eps: number }): Tensor =>
  apply('layer_norm', normRules.layer_norm, { x, weight, bias }, { eps: options.eps }).y;
