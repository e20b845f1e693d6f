// Definitions of optimiser steps in float64.
import type { Operand, Reference } from './check_op.ts';

type Inputs = Record<string, Operand | undefined>;
const at = (inputs: Inputs, name: string): Float64Array => (inputs[name] as Operand).values;
const number = (attrs: Record<string, number | boolean | string>, name: string): number => Math.fround(attrs[name] as number);

export const sumSquares: Reference = (inputs) => ({ y: [Math.fround(at(inputs, 'x').reduce((sum, v) => sum + v * v, 0))] });

export const clipFactor: Reference = (inputs, attrs) => {
  const norm = Math.sqrt(at(inputs, 'squareSum')[0] as number);
  return { factor: [Number.isFinite(norm) ? Math.min(1, number(attrs, 'maxNorm') / (norm + 1e-6)) : Number.NaN] };
};

// Gradients as the step sees them, or undefined where it must leave everything as it was.
function usable(inputs: Inputs): Float64Array | undefined {
  const factor = inputs.factor?.values[0] ?? 1;
  const gradients = at(inputs, 'gradients').map((g) => factor * g);
  return Number.isFinite(factor) && gradients.every((g) => Math.abs(g) <= Math.fround(1e19)) ? gradients : undefined;
}

export const adamw: Reference = (inputs, attrs) => {
  const gradients = usable(inputs);
  const [parameters, first, second] = [at(inputs, 'parameters'), at(inputs, 'first'), at(inputs, 'second')];
  if (gradients === undefined) return { newParameters: parameters, newFirst: first, newSecond: second, applied: [0] };
  const [rate, correction1, correction2] = at(inputs, 'schedule') as unknown as [number, number, number];
  const [beta1, beta2] = [1 - number(attrs, 'firstShare'), 1 - number(attrs, 'secondShare')];
  const newFirst = first.map((m, i) => beta1 * m + (1 - beta1) * (gradients[i] as number));
  const newSecond = second.map((v, i) => beta2 * v + (1 - beta2) * (gradients[i] as number) ** 2);
  const scaled = rate * number(attrs, 'rateScale');
  const newParameters = parameters.map(
    (p, i) =>
      p -
      scaled * number(attrs, 'weightDecay') * p -
      (scaled * ((newFirst[i] as number) / correction1)) / (Math.sqrt((newSecond[i] as number) / correction2) + number(attrs, 'eps')),
  );
  return { newParameters, newFirst, newSecond, applied: [1] };
};

export const sgd: Reference = (inputs, attrs) => {
  const gradients = usable(inputs);
  const [parameters, velocity] = [at(inputs, 'parameters'), at(inputs, 'velocity')];
  if (gradients === undefined) return { newParameters: parameters, newVelocity: velocity, applied: [0] };
  const decayed = gradients.map((g, i) => g + number(attrs, 'weightDecay') * (parameters[i] as number));
  const newVelocity = velocity.map((v, i) => number(attrs, 'momentum') * v + (decayed[i] as number));
  const rate = (at(inputs, 'schedule')[0] as number) * number(attrs, 'rateScale');
  const newParameters = parameters.map(
    (p, i) =>
      p -
      rate *
        (attrs.nesterov ? (decayed[i] as number) + number(attrs, 'momentum') * (newVelocity[i] as number) : (newVelocity[i] as number)),
  );
  return { newParameters, newVelocity, applied: [1] };
};
