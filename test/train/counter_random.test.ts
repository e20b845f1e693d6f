import { describe, expect, it } from 'vitest';
import { type Counter, permutation, philox, uniform } from '../../lib/train/counter_random.js';
import { random } from '../text/random.js';

describe('philox', () => {
  it('gives the known answers of its authors', () => {
    const all = 0xffffffff;
    expect(philox([0, 0, 0, 0], 0, 0)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([all, all, all, all], all, all)).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], 0xa4093822, 0x299f31d0)).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  it('agrees with the same rounds in 64-bit integers', () => {
    const next = random(5);
    const word = (): number => (next() * 2 + (next() & 1)) >>> 0;
    for (let n = 0; n < 200; n++) {
      const counter: Counter = [word(), word(), word(), word()];
      const [low, high] = [word(), word()];
      expect(philox(counter, low, high)).toEqual(reference(counter, low, high));
    }
  });
});

function reference(counter: Counter, low: number, high: number): number[] {
  const word = 0xffffffffn;
  let c = counter.map(BigInt);
  let keys = [BigInt(low), BigInt(high)] as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const first = 0xd2511f53n * (c[0] as bigint);
    const second = 0xcd9e8d57n * (c[2] as bigint);
    c = [(second >> 32n) ^ (c[1] as bigint) ^ keys[0], second & word, (first >> 32n) ^ (c[3] as bigint) ^ keys[1], first & word];
    keys = [(keys[0] + 0x9e3779b9n) & word, (keys[1] + 0xbb67ae85n) & word];
  }
  return c.map(Number);
}

describe('uniform', () => {
  it('lies in [0, 1), differs in every word of the counter and half of the seed, and is even', () => {
    const base: Counter = [3, 1, 4, 1];
    const values = new Set([uniform(7, base), uniform(7 + 2 ** 32, base), uniform(8, base)]);
    for (let w = 0; w < 4; w++) values.add(uniform(7, base.map((x, i) => (i === w ? x + 1 : x)) as unknown as Counter));
    expect(values.size).toBe(7);
    let sum = 0;
    for (let i = 0; i < 10_000; i++) {
      const value = uniform(1, [i, 0, 0, 0]);
      expect(value >= 0 && value < 1).toBe(true);
      sum += value;
    }
    expect(Math.abs(sum / 10_000 - 0.5)).toBeLessThan(0.01);
  });
});

describe('permutation', () => {
  it('is an order of all, the same for the same seed, another for another seed, purpose and round', () => {
    for (const count of [0, 1, 2, 3, 17, 1000]) {
      const order = permutation(count, 42, 1, 3);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      expect(permutation(count, 42, 1, 3)).toEqual(order);
    }
    const others = [
      permutation(100, 43, 1, 3),
      permutation(100, 42, 2, 3),
      permutation(100, 42, 1, 4),
      permutation(100, 42 + 2 ** 40, 1, 3),
    ];
    const orders = new Set([permutation(100, 42, 1, 3), ...others].map((order) => order.join()));
    expect(orders.size).toBe(5);
  });

  it('takes every order of four about equally often', () => {
    const seen = new Map<string, number>();
    for (let round = 0; round < 4800; round++) {
      const key = permutation(4, 9, 1, round).join();
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen.size).toBe(24);
    // 200 expected, standard deviation 14.
    for (const times of seen.values()) expect(Math.abs(times - 200)).toBeLessThan(70);
  });
});
