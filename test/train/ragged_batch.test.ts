import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { BatchOrder, type MicroBatch } from '../../lib/train/data/batch_order.js';
import { type AdapterStep, type RaggedBatch, shareBatches } from '../../lib/train/data/ragged_batch.js';
import { examplesOf, randomLengths } from './examples.js';

function stepOf(slot: number, count: number, batchSize: number, tokensPerBatch: number, step: number): AdapterStep {
  const order = new BatchOrder(examplesOf(randomLengths(count, 20, slot + 50), slot + 9), {
    batchSize,
    tokensPerBatch,
    pack: slot % 2 === 1,
    shuffle: true,
    seed: slot + 3,
  });
  return { slot, microBatches: order.batchAt(step).microBatches };
}

// What the batches hold of one adapter, as the micro-batches that it must have come from.
function takeBack(batches: readonly RaggedBatch[], slot: number): MicroBatch[] {
  return batches.flatMap((batch) =>
    batch.parts
      .filter((part) => part.slot === slot)
      .map(({ fromToken, toToken, fromRow, toRow }) => {
        const labels = new Int32Array(toToken - fromToken).fill(-1);
        for (let r = fromRow; r < toRow; r++) labels[(batch.rows[r] as number) - fromToken] = batch.targets[r] as number;
        return {
          tokens: batch.tokens.slice(fromToken, toToken),
          positions: batch.positions.slice(fromToken, toToken),
          first: batch.first.slice(fromToken, toToken).map((i) => i - fromToken),
          labels,
          targets: toRow - fromRow,
        };
      }),
  );
}

describe('shareBatches', () => {
  const steps = [stepOf(0, 40, 9, 32, 4), stepOf(3, 17, 2, 64, 1), stepOf(1, 200, 30, 21, 0), stepOf(2, 5, 1, 20, 13)];

  it('gives each adapter what it has alone, in its order, whatever the company and the room', () => {
    for (const capacity of [64, 70, 100, 137, 100_000]) {
      for (const chosen of [steps, [...steps].reverse(), steps.slice(1), steps.slice(0, 2), steps.slice(2, 3)]) {
        const batches = shareBatches(chosen, capacity);
        for (const { slot, microBatches } of chosen) {
          expect(takeBack(batches, slot)).toEqual(microBatches);
          const numbers = batches.flatMap(({ parts }) => parts.filter((part) => part.slot === slot).map((part) => part.microBatch));
          expect(numbers).toEqual(microBatches.map((_, i) => i));
        }
        const total = chosen.reduce((sum, step) => sum + step.microBatches.length, 0);
        expect(batches.reduce((sum, { parts }) => sum + parts.length, 0)).toBe(total);
      }
    }
  });

  it('fills index, rows and targets, and has an adapter once in a batch', () => {
    for (const batch of shareBatches(steps, 100)) {
      expect(batch.tokens.length).toBeLessThanOrEqual(100);
      const slots = batch.parts.map(({ slot }) => slot);
      expect(slots).toEqual([...new Set(slots)].sort((a, b) => a - b));
      let token = 0;
      let row = 0;
      for (const part of batch.parts) {
        expect([part.fromToken, part.fromRow]).toEqual([token, row]);
        for (; token < part.toToken; token++) {
          expect(batch.index[token]).toBe(part.slot);
          expect(batch.first[token] as number).toBeGreaterThanOrEqual(part.fromToken);
        }
        for (; row < part.toRow; row++) {
          const at = batch.rows[row] as number;
          expect(at >= part.fromToken && at < part.toToken).toBe(true);
          expect(batch.rowAdapter[row]).toBe(part.slot);
          expect(batch.targets[row]).toBe(batch.tokens[at + 1]);
          if (row > 0) expect(at).toBeGreaterThan(batch.rows[row - 1] as number);
        }
      }
      expect([token, row]).toEqual([batch.tokens.length, batch.rows.length]);
      for (const [array, length] of [
        [batch.positions, token],
        [batch.first, token],
        [batch.index, token],
        [batch.targets, row],
        [batch.rowAdapter, row],
      ] as const)
        expect(array.length).toBe(length);
    }
  });

  it('needs no more batches than the adapter with most where all have room', () => {
    const most = Math.max(...steps.map(({ microBatches }) => microBatches.length));
    expect(shareBatches(steps, 100_000)).toHaveLength(most);
    expect(shareBatches([], 10)).toEqual([]);
    expect(shareBatches([{ slot: 4, microBatches: [] }], 10)).toEqual([]);
  });

  it('refuses a slot that comes twice and a micro-batch without room', () => {
    expect(() => shareBatches([steps[0] as AdapterStep, steps[0] as AdapterStep], 100)).toThrow(/slot 0 comes twice/);
    expect(() => shareBatches(steps, 20)).toThrow(OptionError);
    expect(() => shareBatches([{ slot: -2, microBatches: [] }], 20)).toThrow(/slot is -2/);
  });
});
