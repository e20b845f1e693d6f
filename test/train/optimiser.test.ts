// The optimiser of an adapter against its formulas in float64: groups, clipping, decay, gradients that are not finite.
import { afterEach, describe, expect, it } from 'vitest';
import { InternalError } from '../../lib/errors.js';
import { emptyTensor } from '../../lib/runtime/device_tensor.js';
import { AdapterOptimiser } from '../../lib/train/optimiser.js';
import type { ParameterGroup, TrainedParameters } from '../../lib/train/step_runner.js';
import { randomNormal } from '../kernels/numbers.js';

const lengths = [48, 100];
const groups: ParameterGroup[] = [
  { name: 'A', offset: 0, length: 48, rateMultiplier: 1, decays: true },
  { name: 'B', offset: 48, length: 100, rateMultiplier: 16, decays: false },
];
const total = 160; // the last elements are padding: nothing may touch them
const made: (() => void)[] = [];
afterEach(() => {
  for (const undo of made.splice(0)) undo();
});

function parameters(own: readonly ParameterGroup[] = groups): TrainedParameters & { start: Float64Array } {
  const values = emptyTensor('f32', [total]);
  const gradients = emptyTensor('f32', [total]);
  for (const { buffer } of [values, gradients]) made.push(() => buffer.dispose());
  const start = Float32Array.from(randomNormal(total, 1));
  void values.buffer.write(0, start);
  return { name: 'poet', values, gradients, groups: own, tensors: [], start: Float64Array.from(start) };
}

async function read({ buffer }: TrainedParameters['values']): Promise<number[]> {
  return [...new Float32Array(await buffer.read(0, 4 * total))];
}

const gradientsOf = (step: number): Float32Array => {
  const all = Float32Array.from(randomNormal(total, 10 + step), (value) => value * 0.3);
  all.fill(0, (lengths[0] as number) + (lengths[1] as number));
  return all;
};

const settings = { optimiser: 'adamw', betas: [0.9, 0.95], epsilon: 1e-6, weightDecay: 0.1, momentum: 0.9, clipNorm: 1 } as const;

describe('AdapterOptimiser', () => {
  it('steps AdamW with a rate of its own per group, decay where it is wanted, and one norm for all', async () => {
    const adapter = parameters();
    using optimiser = new AdapterOptimiser(adapter, settings);
    const p = adapter.start;
    const first = new Float64Array(total);
    const second = new Float64Array(total);
    for (let step = 1; step <= 4; step++) {
      const gradients = gradientsOf(step);
      await adapter.gradients.buffer.write(0, gradients);
      const result = await optimiser.step(step, 0.01);
      const norm = Math.sqrt(gradients.reduce((sum, g) => sum + g * g, 0));
      const factor = Math.min(1, 1 / (norm + 1e-6));
      for (const { offset, length, rateMultiplier, decays } of groups)
        for (let i = offset; i < offset + length; i++) {
          const g = factor * (gradients[i] as number);
          first[i] = 0.9 * (first[i] as number) + 0.1 * g;
          second[i] = 0.95 * (second[i] as number) + 0.05 * g * g;
          const change = (first[i] as number) / (1 - 0.9 ** step) / (Math.sqrt((second[i] as number) / (1 - 0.95 ** step)) + 1e-6);
          p[i] = (p[i] as number) - 0.01 * rateMultiplier * ((decays ? 0.1 * (p[i] as number) : 0) + change);
        }
      expect(result.applied).toBe(true);
      expect(result.gradientNorm).toBeCloseTo(norm, 4);
      expect(norm).toBeGreaterThan(1);
    }
    (await read(adapter.values)).forEach((value, i) => {
      expect(Math.abs(value - (p[i] as number))).toBeLessThan(2e-6 * Math.max(1, Math.abs(p[i] as number)));
    });
    expect(await read(adapter.gradients)).toEqual(new Array(total).fill(0));
    expect(optimiser.bytes).toBeGreaterThanOrEqual(2 * 4 * total);
  });

  it('steps SGD with momentum, and clips nothing where clipNorm is 0', async () => {
    const adapter = parameters();
    using optimiser = new AdapterOptimiser(adapter, { ...settings, optimiser: 'sgd', clipNorm: 0, weightDecay: 0 });
    expect(optimiser.states.map(({ name }) => name)).toEqual(['velocity']);
    const p = adapter.start;
    const velocity = new Float64Array(total);
    for (let step = 1; step <= 3; step++) {
      const gradients = gradientsOf(step).map((g) => g * 5);
      await adapter.gradients.buffer.write(0, gradients);
      await optimiser.step(step, 0.01);
      for (const { offset, length, rateMultiplier } of groups)
        for (let i = offset; i < offset + length; i++) {
          velocity[i] = 0.9 * (velocity[i] as number) + (gradients[i] as number);
          p[i] = (p[i] as number) - 0.01 * rateMultiplier * (velocity[i] as number);
        }
    }
    (await read(adapter.values)).forEach((value, i) => {
      expect(Math.abs(value - (p[i] as number))).toBeLessThan(2e-6 * Math.max(1, Math.abs(p[i] as number)));
    });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('changes nothing at all where one gradient is %s', async (bad) => {
    const adapter = parameters();
    using optimiser = new AdapterOptimiser(adapter, { ...settings, clipNorm: 0 });
    const before = await read(adapter.values);
    const gradients = gradientsOf(1);
    gradients[3] = bad;
    await adapter.gradients.buffer.write(0, gradients);
    expect((await optimiser.step(1, 0.1)).applied).toBe(false);
    expect(await read(adapter.values)).toEqual(before);
    for (const { tensor } of optimiser.states) expect(await read(tensor)).toEqual(new Array(total).fill(0));
    expect(await read(adapter.gradients)).toEqual(new Array(total).fill(0));
  });

  it('refuses groups that overlap or lie outside', () => {
    const [a, b] = groups as [ParameterGroup, ParameterGroup];
    expect(() => new AdapterOptimiser(parameters([a, { ...b, offset: 32 }]), settings)).toThrow(InternalError);
    expect(() => new AdapterOptimiser(parameters([a, { ...b, length: 200 }]), settings)).toThrow(
      'the group B is [48, 248) of 160 elements',
    );
    expect(() => new AdapterOptimiser(parameters([{ ...a, offset: 4 }]), settings)).toThrow(InternalError);
  });
});
