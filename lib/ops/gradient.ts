import { OptionError } from '../errors.js';
import type { OpName } from '../generated/op_table.js';
import { buildGradients, type GradientOps, type GradientOptions, type UntypedRule } from '../graph/gradient.js';
import type { Tensor } from '../graph/tensor.js';
import { expectKnownKeys } from '../runtime/option_errors.js';
import { formatShape } from '../runtime/shape.js';
import { accumulate, add, zerosLike } from './elementwise.js';
import { opRules } from './index.js';
import { concatColumns } from './layout.js';
import { map } from './map.js';

const gradientOps: GradientOps = {
  rule: (op: OpName) => opRules[op] as UntypedRule,
  add,
  zerosLike,
  concatColumns,
  accumulate,
};

const gradientOptionNames: readonly (keyof GradientOptions)[] = ['upstream', 'into', 'differentiable', 'recompute'];

/**
 * Gradients of `loss` with respect to `parameters` (parameters, inputs or results of ops), as nodes of the same graph.
 * Frozen weights never get one. Throws OptionError for an unknown option, a frozen weight, an op without a gradient, or a loss of more
 * than one element without `upstream`; ShapeError where `upstream` does not fit or a parameter belongs to another graph.
 */
export function gradient(loss: Tensor, parameters: readonly Tensor[], options: GradientOptions = {}): Tensor[] {
  expectKnownKeys(options, gradientOptionNames, 'gradient');
  return buildGradients(loss, parameters, gradientOps, { ...options, upstream: options.upstream ?? one(loss) });
}

function one(loss: Tensor): Tensor {
  if (loss.shape.some((size) => size !== 1))
    throw new OptionError(`gradient: loss is ${formatShape(loss.shape)}: expected one element, or an upstream gradient`, {
      actual: loss.shape,
    });
  return map(zerosLike(loss), 'complement');
}
