import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { fillInOrder, type Groups, groupAt, groupCount, pack } from '../../lib/train/data/packing.js';
import { randomLengths } from './examples.js';

const lists = (groups: Groups): number[][] => Array.from({ length: groupCount(groups) }, (_, g) => [...groupAt(groups, g)]);
const identity = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const sizeOf = (group: readonly number[], sizes: readonly number[]): number => group.reduce((sum, i) => sum + (sizes[i] as number), 0);

describe('pack', () => {
  it('puts each into one group, fills none beyond the capacity, and is deterministic', () => {
    for (const [seed, count, most, capacity, window] of [
      [1, 0, 5, 10, 8],
      [2, 1, 7, 7, 8],
      [3, 500, 100, 100, 1024],
      [4, 1000, 64, 257, 100],
      [5, 777, 10, 1000, 50],
    ] as const) {
      const sizes = randomLengths(count, most, seed);
      const order = identity(count).reverse();
      const groups = pack(order, sizes, capacity, window);
      expect(
        lists(groups)
          .flat()
          .sort((a, b) => a - b),
      ).toEqual(identity(count));
      for (const group of lists(groups)) {
        expect(group.length).toBeGreaterThan(0);
        expect(sizeOf(group, sizes)).toBeLessThanOrEqual(capacity);
        // Members keep the order given, here descending.
        expect(group).toEqual([...group].sort((a, b) => b - a));
      }
      expect(pack(order, sizes, capacity, window)).toEqual(groups);
    }
  });

  it('fills better than one after the other, within the bound of first-fit-decreasing', () => {
    const sizes = randomLengths(2000, 100, 6);
    const order = identity(2000);
    const least = Math.ceil(sizeOf(order, sizes) / 128);
    const packed = groupCount(pack(order, sizes, 128, 2000));
    expect(packed).toBeLessThan(groupCount(fillInOrder(order, sizes, 128)));
    expect(packed).toBeLessThanOrEqual(least * (11 / 9) + 6 / 9);
    expect(packed).toBeLessThan(least * 1.05);
  });

  it('looks no further than its window', () => {
    // Each window has one large and one small; only across windows could two large ones be filled up.
    const groups = pack(identity(6), [9, 1, 5, 5, 8, 2], 10, 2);
    expect(lists(groups)).toEqual([
      [0, 1],
      [2, 3],
      [4, 5],
    ]);
    expect(lists(pack(identity(4), [6, 6, 4, 4], 10, 2))).toEqual([[0], [1], [2, 3]]);
    expect(lists(pack(identity(4), [6, 6, 4, 4], 10, 4))).toEqual([
      [0, 2],
      [1, 3],
    ]);
  });

  it('refuses what is larger than the capacity', () => {
    expect(() => pack([0, 1], [3, 11], 10)).toThrow(OptionError);
    expect(() => fillInOrder([0, 1], [3, 11], 10)).toThrow(/an example has 11 tokens: expected at most 10/);
  });
});

describe('fillInOrder', () => {
  it('keeps the order and begins a group only where the next does not fit', () => {
    expect(lists(fillInOrder([2, 0, 1, 3], [5, 5, 4, 1], 10))).toEqual([
      [2, 0],
      [1, 3],
    ]);
    expect(lists(fillInOrder([], [], 10))).toEqual([]);
    const sizes = randomLengths(300, 20, 8);
    const groups = lists(fillInOrder(identity(300), sizes, 20));
    expect(groups.flat()).toEqual(identity(300));
    groups.forEach((group, g) => {
      expect(sizeOf(group, sizes)).toBeLessThanOrEqual(20);
      const next = groups[g + 1]?.[0];
      if (next !== undefined) expect(sizeOf(group, sizes) + (sizes[next] as number)).toBeGreaterThan(20);
    });
  });
});
