import { OptionError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { apply, expectDType, expectShape, optionsOf, type Rules } from './op_rule.js';

type StepOp = 'adamw' | 'sgd';

// A step on anything but memory that lives on would change a copy and be lost.
function expectState(op: StepOp, name: string, tensor: Tensor): void {
  let root = tensor;
  while (root.source.kind === 'view') root = root.source.base;
  if (root.source.kind === 'state' || root.source.kind === 'parameter') return;
  const what = root.source.kind === 'op' ? 'the result of an op' : `the ${root.source.kind} '${root.source.name}'`;
  throw new OptionError(`[${op}] ${name} is ${what}: expected a parameter or state, which a step can change`, { op, operand: name });
}

function checkStep(
  op: StepOp,
  held: Readonly<Record<string, Tensor>>,
  given: { gradients: Tensor; schedule: Tensor; factor?: Tensor | undefined },
  numbers: number,
) {
  const { shape } = held.parameters as Tensor;
  for (const [name, tensor] of Object.entries(held)) {
    expectState(op, name, tensor);
    expectDType(op, name, tensor, 'f32');
    expectShape(op, name, tensor, shape, 'the shape of parameters');
  }
  for (const [name, tensor] of Object.entries(given)) expectDType(op, name, tensor, 'f32');
  expectShape(op, 'gradients', given.gradients, shape, 'the shape of parameters');
  expectShape(op, 'schedule', given.schedule, [numbers], `${numbers} number${numbers === 1 ? '' : 's'} for each step`);
  expectShape(op, 'factor', given.factor, [1], 'one number');
  return { changed: { dtype: 'f32', shape }, applied: { dtype: 'i32', shape: [1] } } as const;
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. Steps have no gradient. */
export const optimiserRules: Rules<'sum_squares' | 'clip_factor' | StepOp> = {
  sum_squares: {
    infer: ({ x }) => {
      expectDType('sum_squares', 'x', x, 'f32');
      return { y: { dtype: 'f32', shape: [1] } };
    },
  },
  clip_factor: {
    infer: ({ squareSum }) => {
      expectDType('clip_factor', 'squareSum', squareSum, 'f32');
      expectShape('clip_factor', 'squareSum', squareSum, [1], 'one number');
      return { factor: { dtype: 'f32', shape: [1] } };
    },
  },
  adamw: {
    infer: ({ parameters, first, second, ...given }) => {
      const { changed, applied } = checkStep('adamw', { parameters, first, second }, given, 3);
      return { newParameters: changed, newFirst: changed, newSecond: changed, applied };
    },
  },
  sgd: {
    infer: ({ parameters, velocity, ...given }) => {
      const { changed, applied } = checkStep('sgd', { parameters, velocity }, given, 1);
      return { newParameters: changed, newVelocity: changed, applied };
    },
  },
};

/** Sum of all squares of x, in one order of additions. f32, any shape without gaps → f32 [1]. */
export const sumSquares = (x: Tensor): Tensor => apply('sum_squares', optimiserRules.sum_squares, { x }, {}).y;

/**
 * Factor that brings gradients to a norm of at most `maxNorm`: min(1, maxNorm / (sqrt(squareSum) + 1e-6)), f32 [1] → f32 [1].
 * NaN where squareSum is not finite, so that the step is skipped. Throws OptionError unless maxNorm is above 0.
 */
export function clipFactor(squareSum: Tensor, maxNorm: number): Tensor {
  if (!(maxNorm > 0)) throw new OptionError(`[clip_factor] maxNorm is ${maxNorm}: expected a number above 0`, { actual: maxNorm });
  return apply('clip_factor', optimiserRules.clip_factor, { squareSum }, { maxNorm }).factor;
}

/** What is the same in every step of AdamW. */
export interface AdamwOptions {
  /** Decay of the mean of gradients and of the mean of their squares. Default 0.9 and 0.999. */
  readonly betas?: readonly [number, number];
  /** Default 1e-8. */
  readonly eps?: number;
  /** Decoupled: each step takes rate * weightDecay of a parameter away. Default 0. */
  readonly weightDecay?: number;
  /** Multiplies the rate of these parameters, as LoRA+ does for one factor. Default 1. */
  readonly rateScale?: number;
}

function expectNumber(op: StepOp, name: string, value: number, fits: boolean, expected: string): void {
  if (fits) return;
  throw new OptionError(`[${op}] ${name} is ${value}: expected ${expected}`, { op, actual: value });
}

function checkRates(op: StepOp, weightDecay: number, rateScale: number): void {
  expectNumber(op, 'weightDecay', weightDecay, weightDecay >= 0 && Number.isFinite(weightDecay), 'a number from 0 on');
  expectNumber(op, 'rateScale', rateScale, rateScale >= 0 && Number.isFinite(rateScale), 'a number from 0 on');
}

function checkBetas(betas: readonly [number, number]): void {
  betas.forEach((beta, i) => {
    expectNumber('adamw', `betas[${i}]`, beta, beta >= 0 && beta < 1, 'a number from 0 to less than 1');
  });
}

/**
 * One step of AdamW in place over parameters and the two moments: f32 state or parameters of one shape, whole tensors or
 * slices of longer ones (`tensorSlice`). gradients f32 of that shape; schedule f32 [3] from `adamwSchedule`; factor f32 [1] multiplies the
 * gradients. Gives what was changed, and applied i32 [1]: 0 where a scaled gradient is not finite or above 1e19 and nothing changed.
 * Throws OptionError for operands that are no state, ShapeError and DTypeError. Loshchilov and Hutter, https://arxiv.org/abs/1711.05101.
 */
export function adamw(
  operands: { parameters: Tensor; gradients: Tensor; first: Tensor; second: Tensor; schedule: Tensor; factor?: Tensor | undefined },
  options: AdamwOptions = {},
): { newParameters: Tensor; newFirst: Tensor; newSecond: Tensor; applied: Tensor } {
  const defaults = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, rateScale: 1 } as const;
  const { betas, eps, weightDecay, rateScale } = optionsOf('adamw', options, defaults);
  checkBetas(betas);
  expectNumber('adamw', 'eps', eps, eps >= 0 && Number.isFinite(eps), 'a number from 0 on');
  checkRates('adamw', weightDecay, rateScale);
  const attrs = { firstShare: 1 - betas[0], secondShare: 1 - betas[1], eps, weightDecay, rateScale };
  return apply('adamw', optimiserRules.adamw, operands, attrs);
}

/** The numbers that `adamw` needs for step number `step`, the first being 1: the rate and both bias corrections. Throws OptionError. */
export function adamwSchedule(step: number, rate: number, betas: readonly [number, number] = [0.9, 0.999]): Float32Array {
  expectNumber('adamw', 'step', step, Number.isSafeInteger(step) && step >= 1, 'a whole number from 1 on');
  expectNumber('adamw', 'rate', rate, Number.isFinite(rate), 'a finite number');
  checkBetas(betas);
  return Float32Array.of(rate, ...betas.map((beta) => -Math.expm1(step * Math.log(beta))));
}

/** What is the same in every step of gradient descent. */
export interface SgdOptions {
  /** How much of the velocity is kept. Default 0. */
  readonly momentum?: number;
  /** Looks ahead along the new velocity. Default false. */
  readonly nesterov?: boolean;
  /** Added to gradients as weightDecay * parameter. Default 0. */
  readonly weightDecay?: number;
  /** Multiplies the rate of these parameters. Default 1. */
  readonly rateScale?: number;
}

/**
 * One step of gradient descent with momentum in place: velocity = momentum * velocity + gradient, parameters -= rate * velocity, with velocity
 * zero before the first step. parameters and velocity f32 state of one shape, schedule f32 [1] the rate; the rest as in `adamw`.
 * Sutskever et al., https://proceedings.mlr.press/v28/sutskever13.html.
 */
export function sgd(
  operands: { parameters: Tensor; gradients: Tensor; velocity: Tensor; schedule: Tensor; factor?: Tensor | undefined },
  options: SgdOptions = {},
): { newParameters: Tensor; newVelocity: Tensor; applied: Tensor } {
  const { momentum, nesterov, weightDecay, rateScale } = optionsOf('sgd', options, {
    momentum: 0,
    nesterov: false,
    weightDecay: 0,
    rateScale: 1,
  });
  expectNumber('sgd', 'momentum', momentum, momentum >= 0 && momentum < 1, 'a number from 0 to less than 1');
  checkRates('sgd', weightDecay, rateScale);
  return apply('sgd', optimiserRules.sgd, operands, { momentum, nesterov, weightDecay, rateScale });
}
