import { describe, expect, it } from 'vitest';
import { MersenneTwister, startOfPermutation } from '../../lib/adapters/seeded_permutation.ts';

describe('MersenneTwister', () => {
  it("gives the published generator's numbers", () => {
    const random = new MersenneTwister(5489);
    const drawn = Array.from({ length: 10_000 }, () => random.next());
    expect(drawn[0]).toBe(3499211612);
    expect(drawn.at(-1)).toBe(4123659995);
  });
});

describe('startOfPermutation', () => {
  // What torch.randperm gave.
  it.each([
    [777, 1152, [743, 377, 723, 746, 467, 586, 1119, 549, 1047, 880]],
    [0, 7, [4, 0, 5, 3, 2, 6, 1]],
    [5, 1, [0]],
    [2 ** 40 + 3, 1_000_003, [651891, 760443, 468698, 553670, 427613]],
    [777, 4096 * 4096, [1374311, 8240085, 6766295, 6474818, 14786199]],
  ])('seed %i of %i', (seed, total, places) => {
    expect(startOfPermutation(seed, total, places.length)).toEqual(places);
  });

  it('is a permutation', () => {
    const all = startOfPermutation(3, 1000, 1000);
    expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  });
});
