import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { BatchOrder, type BatchOrderOptions, inOrder, layOut, type MicroBatch } from '../../lib/train/data/batch_order.js';
import { labelCount, tokenCount } from '../../lib/train/data/example_set.js';
import { examplesOf, randomLengths } from './examples.js';

const settings: BatchOrderOptions = { batchSize: 5, tokensPerBatch: 40, pack: false, shuffle: true, seed: 11 };
const variants: Partial<BatchOrderOptions>[] = [
  {},
  { batchSize: 1 },
  { batchSize: 1000 },
  { pack: true },
  { pack: true, packTokens: 33, batchSize: 3 },
  { shuffle: false },
  { shuffle: false, pack: true },
  { tokensPerBatch: 100_000 },
];

// Every rule of a micro-batch, from the batch alone.
function check(batch: MicroBatch, most: number): void {
  const { tokens, positions, first, labels } = batch;
  expect(tokens.length).toBeGreaterThan(0);
  expect(tokens.length).toBeLessThanOrEqual(most);
  let targets = 0;
  for (let i = 0; i < tokens.length; i++) {
    const begin = first[i] as number;
    expect(positions[i]).toBe(i - begin);
    expect(first[begin]).toBe(begin);
    const ends = i + 1 === tokens.length || first[i + 1] === i + 1;
    if (!ends) expect(first[i + 1]).toBe(begin);
    if (labels[i] === -1) continue;
    targets++;
    expect(ends).toBe(false);
    expect(labels[i]).toBe(tokens[i + 1]);
  }
  expect(batch.targets).toBe(targets);
}

describe('BatchOrder', () => {
  const examples = examplesOf(randomLengths(93, 33, 3));

  it.each(variants)('takes every example once in every epoch: %o', (variant) => {
    const options = { ...settings, ...variant };
    const order = new BatchOrder(examples, options);
    for (const epoch of [0, 1, 5]) {
      const steps = Array.from({ length: order.stepsPerEpoch }, (_, s) => epoch * order.stepsPerEpoch + s);
      const seen = steps.flatMap((step) => [...order.examplesAt(step)]);
      expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 93 }, (_, i) => i));
      let tokens: number[] = [];
      let targets = 0;
      for (const step of steps) {
        const batch = order.batchAt(step);
        expect([batch.step, batch.epoch, batch.stepOfEpoch]).toEqual([step, epoch, step % order.stepsPerEpoch]);
        for (const part of batch.microBatches) check(part, options.tokensPerBatch);
        const laid = batch.microBatches.flatMap((part) => [...part.tokens]);
        expect(batch.tokens).toBe(laid.length);
        expect(batch.examples).toBe(order.examplesAt(step).length);
        tokens = tokens.concat(laid);
        targets += batch.targets;
      }
      expect(Int32Array.from(tokens).sort()).toEqual(examples.ids);
      expect(targets).toBe(labelCount(examples));
    }
  });

  it.each(variants)('is a function of seed and step alone: %o', (variant) => {
    const options = { ...settings, ...variant };
    const through = new BatchOrder(examples, options);
    const steps = through.stepsPerEpoch * 3 + 2;
    const all = Array.from({ length: steps }, (_, step) => through.batchAt(step));
    // Backwards, and each in an object of its own, as after a restart.
    for (let step = steps - 1; step >= 0; step--) expect(through.batchAt(step)).toEqual(all[step]);
    for (let step = 0; step < steps; step += 3) expect(new BatchOrder(examples, options).batchAt(step)).toEqual(all[step]);
  });

  it('has another order in every epoch and for every seed, or always that of the files', () => {
    const epochOf = (options: BatchOrderOptions, epoch: number): string => {
      const order = new BatchOrder(examples, options);
      return Array.from({ length: order.stepsPerEpoch }, (_, s) => order.examplesAt(epoch * order.stepsPerEpoch + s).join()).join(';');
    };
    expect(new Set([epochOf(settings, 0), epochOf(settings, 1), epochOf(settings, 2), epochOf({ ...settings, seed: 12 }, 0)]).size).toBe(4);
    const fixed = { ...settings, shuffle: false };
    expect(epochOf(fixed, 0)).toBe(epochOf(fixed, 7));
    expect(epochOf(fixed, 0).replaceAll(';', ',')).toBe(Array.from({ length: 93 }, (_, i) => i).join());
  });

  it('counts steps; the last of an epoch takes what is left', () => {
    const order = new BatchOrder(examples, settings);
    expect([order.unitsPerEpoch, order.stepsPerEpoch, order.stepsOf(3), order.stepsOf(0.5), order.stepsOf(1.01)]).toEqual([
      93, 19, 57, 10, 20,
    ]);
    expect(order.batchAt(18).examples).toBe(3);
    expect(order.batchAt(19).examples).toBe(5);
    const packed = new BatchOrder(examples, { ...settings, pack: true });
    expect(packed.unitsPerEpoch).toBeLessThan(60);
    expect(packed.unitsPerEpoch).toBeGreaterThanOrEqual(Math.ceil(tokenCount(examples) / 40));
  });

  it('takes one example of one token', () => {
    const order = new BatchOrder(examplesOf([1]), { ...settings, tokensPerBatch: 1 });
    const [batch] = order.batchAt(12).microBatches;
    expect(batch).toEqual({
      tokens: Int32Array.of(1000),
      positions: Int32Array.of(0),
      first: Int32Array.of(0),
      labels: Int32Array.of(-1),
      targets: 0,
    });
    expect(order.batchAt(12).epoch).toBe(12);
  });

  it('refuses what cannot be ordered', () => {
    expect(() => new BatchOrder(examplesOf([]), settings)).toThrow(/no example/);
    expect(() => new BatchOrder(examplesOf([3, 41]), settings)).toThrow(/tokensPerBatch is 40: expected at least 41/);
    expect(() => new BatchOrder(examplesOf([3, 41]), { ...settings, pack: true })).toThrow(OptionError);
    expect(() => new BatchOrder(examples, { ...settings, batchSize: 0 })).toThrow(/batchSize is 0/);
    expect(() => new BatchOrder(examples, { ...settings, seed: -1 })).toThrow(/seed is -1/);
    expect(() => new BatchOrder(examples, { ...settings, packTokens: 50 })).toThrow(
      /packTokens is 50: expected at most tokensPerBatch, 40/,
    );
    const order = new BatchOrder(examples, settings);
    expect(() => order.batchAt(-1)).toThrow(/step is -1/);
    expect(() => order.batchAt(1.5)).toThrow(/step is 1.5/);
  });
});

describe('inOrder', () => {
  it('goes over all examples in their order', () => {
    const examples = examplesOf(randomLengths(40, 20, 9));
    const batches = [...inOrder(examples, 25)];
    for (const batch of batches) check(batch, 25);
    expect(batches.flatMap(({ tokens }) => [...tokens])).toEqual([...examples.ids]);
    expect([...inOrder(examplesOf([]), 25)]).toEqual([]);
  });
});

describe('layOut', () => {
  it('keeps the label of a cut document’s last token', () => {
    const set = { ...examplesOf([6]), starts: Int32Array.of(0, 3), lengths: Int32Array.of(3, 3) };
    set.labels[2] = 1003;
    expect([...layOut(set, [0]).labels].at(-1)).toBe(1003);
    expect(layOut(set, [1, 0]).first).toEqual(Int32Array.of(0, 0, 0, 3, 3, 3));
    expect(layOut(set, [1, 0]).positions).toEqual(Int32Array.of(0, 1, 2, 0, 1, 2));
  });
});
