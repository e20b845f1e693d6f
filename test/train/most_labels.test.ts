import { describe, expect, it } from 'vitest';
import { mostLabels } from '../../lib/train/adapter_data.js';
import { BatchOrder } from '../../lib/train/data/batch_order.js';
import type { ExampleSet } from '../../lib/train/data/example_set.js';
import { examplesOf, randomLengths } from './examples.ts';

describe('mostLabels', () => {
  it.each([1, 2, 3, 4, 5])('is reached by no batch of any step (data %i)', (seed) => {
    const examples = examplesOf(randomLengths(80, 40, seed), seed);
    const bound = mostLabels([examples], 64);
    for (const pack of [false, true]) {
      const order = new BatchOrder(examples, { batchSize: 9, tokensPerBatch: 64, pack, shuffle: true, seed });
      for (let step = 0; step < 3 * order.stepsPerEpoch; step++)
        for (const { targets } of order.batchAt(step).microBatches) expect(targets).toBeLessThanOrEqual(bound);
    }
    // And is not much more than the best of all: an example's labels at most.
    expect(bound).toBeLessThanOrEqual(64);
  });

  const set = (...examples: [length: number, labels: number][]): ExampleSet => {
    const lengths = Int32Array.from(examples, ([length]) => length);
    const starts = lengths.map((_, e) => lengths.slice(0, e).reduce((a, b) => a + b, 0));
    const labels = examples.flatMap(([length, count]) => Array.from({ length }, (_, i) => (i >= length - count ? 7 : -1)));
    return { ids: new Int32Array(labels.length), labels: Int32Array.from(labels), starts, lengths };
  };

  it('takes the most learned examples first, the last in part', () => {
    expect(mostLabels([set([10, 1], [4, 4], [10, 5])], 14)).toBe(9);
    expect(mostLabels([set([10, 1], [4, 4], [10, 5])], 9)).toBe(7);
    expect(mostLabels([set([10, 1]), set([4, 4])], 1000)).toBe(5);
    expect(mostLabels([set([100, 2], [100, 2])], 150)).toBe(3);
  });
});
