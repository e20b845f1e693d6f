// Methods that make a whole weight, against their formulas in dense float64 matrices, and merging itself.
import { describe, expect, it } from 'vitest';
import { mergeAllRows, mergedWeight } from '../../lib/adapters/merged_weight.ts';
import type { MergedWeight, SiteShape } from '../../lib/adapters/method.ts';
import { road } from '../../lib/adapters/methods/road.ts';
import { randomNormal } from '../kernels/numbers.ts';
import {
  at,
  blockDiagonal,
  diagonal,
  elementwise,
  identity,
  inverseOfOnePlus,
  type Matrix,
  matrix,
  plus,
  times,
  transposed,
} from './dense_matrix.ts';
import { cache, checkFormulas, type Formula, normOf, of, path, rowsOf, type Values } from './formula_check.ts';

const skew = (entries: Matrix): Matrix => matrix(entries.length, entries.length, (r, c) => (at(entries, r, c) - at(entries, c, r)) / 2);
const cayley = (s: Matrix): Matrix => times(plus(identity(s.length), s, -1), inverseOfOnePlus(s));

function upper(values: readonly number[], size: number, block: number): Matrix {
  const found = matrix(size, size, () => 0);
  let next = (block * size * (size - 1)) / 2;
  for (let r = 0; r < size; r++)
    for (let c = r + 1; c < size; c++) {
      (found[r] as number[])[c] = values[next] as number;
      (found[c] as number[])[r] = -(values[next++] as number);
    }
  return found;
}

/** Ones where a butterfly level takes its inputs from: even half-blocks first. */
function butterfly(size: number, blockSize: number, level: number): Matrix {
  const half = blockSize / 2;
  const order: number[] = [];
  for (let first = 0; first < size; first += blockSize * 2 ** level) {
    const chunks = Array.from({ length: 2 ** (level + 1) }, (_, i) => Array.from({ length: half }, (_unused, j) => first + i * half + j));
    for (const odd of [0, 1]) order.push(...chunks.filter((_, i) => i % 2 === odd).flat());
  }
  return matrix(size, size, (r, c) => (order[r] === c ? 1 : 0));
}

const formulas: Formula[] = [
  ...[2, 3].map(
    (rank): Formula => ({
      name: `LoHa of rank ${rank}`,
      config: { peft_type: 'LOHA', r: rank, alpha: 5 },
      inputs: 23,
      outputs: 9,
      tensors: {
        hada_w1_a: { shape: [9, rank] },
        hada_w1_b: { shape: [rank, 23] },
        hada_w2_a: { shape: [9, rank] },
        hada_w2_b: { shape: [rank, 23] },
      },
      weight: (w, v) => {
        const product = (n: number): Matrix => times(rowsOf(v[`hada_w${n}_a`], 9, rank), rowsOf(v[`hada_w${n}_b`], rank, 23));
        return plus(w, elementwise(product(1), product(2)), 5 / rank);
      },
      kind: rank === 2 ? 'lowRank' : 'dense',
      rank: rank === 2 ? 4 : 9,
    }),
  ),
  {
    name: 'LoKr with both factors as products',
    config: { peft_type: 'LOKR', r: 2, alpha: 3 },
    inputs: 15,
    outputs: 14,
    tensors: {
      lokr_w1_a: { shape: [7, 2] },
      lokr_w1_b: { shape: [2, 3] },
      lokr_w2_a: { shape: [2, 2] },
      lokr_w2_b: { shape: [2, 5] },
    },
    weight: (w, v) => {
      const left = times(rowsOf(v.lokr_w1_a, 7, 2), rowsOf(v.lokr_w1_b, 2, 3));
      const right = times(rowsOf(v.lokr_w2_a, 2, 2), rowsOf(v.lokr_w2_b, 2, 5));
      return matrix(14, 15, (r, c) => at(w, r, c) + 1.5 * at(left, Math.floor(r / 2), Math.floor(c / 5)) * at(right, r % 2, c % 5));
    },
    kind: 'dense',
  },
  ...(
    [
      ['exact', {}, undefined],
      ['as a series', { use_cayley_neumann: true, num_cayley_neumann_terms: 4 }, 4],
    ] as const
  ).map(
    ([how, more, terms]): Formula => ({
      name: `OFT, ${how}`,
      config: { peft_type: 'OFT', use_cayley_neumann: false, ...more },
      inputs: 9,
      outputs: 5,
      tensors: { 'oft_R.weight': { shape: [3, 3], spread: 0.1 } },
      weight: (w, v) => {
        const turns = [0, 1, 2].map((block) => {
          const s = upper(of(v, 'oft_R.weight'), 3, block);
          if (terms === undefined) return cayley(s);
          const squared = times(s, s);
          return plus(plus(plus(identity(3), s, 2), squared, 2), times(squared, s));
        });
        return times(w, transposed(blockDiagonal(turns)));
      },
      kind: 'dense',
    }),
  ),
  {
    name: 'COFT with one shared block',
    config: { peft_type: 'OFT', use_cayley_neumann: false, coft: true, eps: 0.2, block_share: true },
    inputs: 8,
    outputs: 3,
    tensors: { oft_R: { shape: [1, 6], spread: 1 } },
    weight: (w, v) => {
      const s = upper(of(v, 'oft_R'), 4, 0);
      const length = normOf(s.flat());
      const turn = cayley(s.map((row) => row.map((x) => (x * 0.2) / length)));
      return times(w, transposed(blockDiagonal([turn, turn])));
    },
    kind: 'dense',
  },
  ...[1, 2, 3].map(
    (levels): Formula => ({
      name: `BOFT of ${levels} levels`,
      config: { peft_type: 'BOFT' },
      inputs: 16,
      outputs: 5,
      tensors: { boft_R: { shape: [levels, 8, 2, 2], spread: 0.2 }, boft_s: { shape: [5, 1], mean: 1 } },
      weight: (w, v) => {
        let turn = identity(16);
        for (let level = 0; level < levels; level++) {
          const blocks = Array.from({ length: 8 }, (_, i) => cayley(skew(rowsOf(v.boft_R, 2, 2, (level * 8 + i) * 4))));
          const order = levels === 1 ? identity(16) : butterfly(16, 2, level);
          turn = times(times(times(order, blockDiagonal(blocks)), transposed(order)), turn);
        }
        return times(diagonal(of(v, 'boft_s')), times(w, transposed(turn)));
      },
      kind: 'dense',
    }),
  ),
  {
    name: 'C3A',
    config: { peft_type: 'C3A', block_size: 3 },
    inputs: 9,
    outputs: 6,
    tensors: { c3a_kernel: { shape: [2, 3, 3], spread: 4 } },
    weight: (w, v) =>
      matrix(6, 9, (r, c) => {
        const kernel = (Math.floor(r / 3) * 3 + Math.floor(c / 3)) * 3;
        return at(w, r, c) + (of(v, 'c3a_kernel')[kernel + ((c - r + 9) % 3)] as number) / 9;
      }),
    kind: 'dense',
  },
  {
    name: 'FourierFT',
    config: { peft_type: 'FOURIERFT', scaling: 30, random_loc_seed: 777 },
    inputs: 24,
    outputs: 48,
    tensors: { fourierft_spectrum: { shape: [6], spread: 5 } },
    // Places that PyTorch's generator draws with this seed of 1,152.
    weight: (w, v) =>
      matrix(48, 24, (r, c) => {
        const places = [743, 377, 723, 746, 467, 586];
        const value = places.reduce((sum, place, i) => {
          const angle = 2 * Math.PI * ((Math.floor(place / 24) * r) / 48 + ((place % 24) * c) / 24);
          return sum + (of(v, 'fourierft_spectrum')[i] as number) * Math.cos(angle);
        }, 0);
        return at(w, r, c) + (30 * value) / (48 * 24);
      }),
    kind: 'dense',
  },
  {
    name: 'WaveFT without its transform',
    config: { peft_type: 'WAVEFT', scaling: 2, random_loc_seed: 0, use_idwt: false },
    inputs: 7,
    outputs: 1,
    tensors: { waveft_spectrum: { shape: [3] } },
    weight: (w, v) =>
      matrix(
        1,
        7,
        (r, c) =>
          at(w, r, c) +
          (c === 4
            ? 2 * at([of(v, 'waveft_spectrum') as number[]], 0, 0)
            : c === 0
              ? 2 * at([of(v, 'waveft_spectrum') as number[]], 0, 1)
              : c === 5
                ? 2 * at([of(v, 'waveft_spectrum') as number[]], 0, 2)
                : 0),
      ),
    kind: 'dense',
  },
  {
    name: 'WaveFT on odd sides',
    config: { peft_type: 'WAVEFT', scaling: 3, random_loc_seed: 0 },
    inputs: 7,
    outputs: 1,
    tensors: { waveft_spectrum: { shape: [2] } },
    // Of 1 · 7, transformed as 2 · 8: places 4 and 0; the first is what differs down, at columns 0 and 1.
    weight: (w, v) => {
      const [first, second] = of(v, 'waveft_spectrum') as [number, number];
      return matrix(1, 7, (r, c) => at(w, r, c) + (c < 2 ? (3 * (first + second)) / 2 : 0));
    },
    kind: 'dense',
  },
  ...(
    [
      [7, 5],
      [5, 7],
    ] as const
  ).map(
    ([inputs, outputs]): Formula => ({
      name: `RandLoRA on [${outputs}, ${inputs}]`,
      config: { peft_type: 'RANDLORA', r: 2, randlora_alpha: 6 },
      inputs,
      outputs,
      tensors: {
        randlora_lambda: { shape: [2, 3] },
        randlora_gamma: { shape: [3, 5] },
        'base_model.randlora_A': { shape: [2, 1, 6] },
        'base_model.randlora_B': { shape: [8, 4, 2] },
      },
      weight: (w, v) => {
        const a = rowsOf(v['base_model.randlora_A'], 2, 6);
        const b = rowsOf(v['base_model.randlora_B'], 8, 8);
        const along = [0, 1].flatMap((k) =>
          [0, 1, 2].map((n) =>
            Array.from(
              { length: 5 },
              (_, j) => (of(v, 'randlora_lambda')[k * 3 + n] as number) * at(a, k, j) * (of(v, 'randlora_gamma')[n * 5 + j] as number),
            ),
          ),
        );
        const across = matrix(7, 6, (r, c) => at(b, r, c));
        const product = times(across, along);
        return plus(w, inputs === 5 ? product : transposed(product), 3);
      },
      kind: 'dense',
    }),
  ),
  {
    name: 'MiSS, bat',
    config: { peft_type: 'MISS', r: 3, init_weights: 'bat' },
    inputs: 9,
    outputs: 6,
    tensors: { miss_block: { shape: [2, 3, 3] } },
    weight: (w, v) =>
      matrix(6, 9, (r, c) => {
        const block = rowsOf(v.miss_block, 3, 3, Math.floor(r / 3) * 9);
        const own = [0, 1, 2].reduce((sum, k) => sum + at(w, r, Math.floor(c / 3) * 3 + k) * at(block, k, c % 3), 0);
        return at(w, r, c) + own + at(block, r % 3, c % 3);
      }),
    kind: 'dense',
  },
  {
    name: 'HiRA',
    config: { peft_type: 'HIRA', r: 2 },
    inputs: 11,
    outputs: 7,
    tensors: { hira_A: { shape: [2, 11] }, hira_B: { shape: [7, 2] } },
    weight: (w, v) =>
      elementwise(
        w,
        plus(
          matrix(7, 11, () => 1),
          times(rowsOf(v.hira_B, 7, 2), rowsOf(v.hira_A, 2, 11)),
        ),
      ),
    kind: 'dense',
  },
  ...(['road_1', 'road_2', 'road_4'] as const).map((variant): Formula => {
    const count = { road_1: 4, road_2: 8, road_4: 16 }[variant];
    const turn = (v: Values): Matrix =>
      matrix(8, 8, (r, c) => {
        const [group, inside] = [Math.floor(r / 4), r % 4];
        const index = { road_1: group * 2 + (inside % 2), road_2: r, road_4: group * 8 + inside }[variant];
        const ofSine = variant === 'road_4' ? index + 4 : index;
        const [theta, alpha] = [of(v, 'road_theta'), of(v, 'road_alpha')];
        if (c === r) return (alpha[index] as number) * Math.cos(theta[index] as number);
        const sine = (alpha[ofSine] as number) * Math.sin(theta[ofSine] as number);
        return c === r + 2 && inside < 2 ? -sine : c === r - 2 && inside >= 2 ? sine : 0;
      });
    return {
      name: `RoAd, ${variant}`,
      config: { peft_type: 'ROAD', variant, group_size: 4 },
      inputs: 5,
      outputs: 8,
      tensors: { road_theta: { shape: [count], spread: 2 }, road_alpha: { shape: [count], mean: 1 } },
      weight: (w, v) => times(turn(v), w),
      bias: (b, v) => times(turn(v), transposed([[...b]])).flat(),
      kind: 'dense',
    };
  }),
  {
    name: 'SHiRA with two entries at one place',
    config: { peft_type: 'SHIRA', r: 1 },
    inputs: 5,
    outputs: 3,
    tensors: { shira_weight: { shape: [4] }, shira_indices: { shape: [2, 4], dtype: 'I32', values: [0, 2, 2, 1, 4, 0, 0, 3] } },
    weight: (w, v) => {
      const [one, two, three, four] = of(v, 'shira_weight') as [number, number, number, number];
      return matrix(
        3,
        5,
        (r, c) => at(w, r, c) + (r === 0 && c === 4 ? one : r === 2 && c === 0 ? two + three : r === 1 && c === 3 ? four : 0),
      );
    },
    kind: 'dense',
  },
  {
    name: 'IA3 on inputs',
    config: { peft_type: 'IA3', feedforward_modules: ['proj'] },
    inputs: 5,
    outputs: 3,
    tensors: { ia3_l: { shape: [1, 5], mean: 1 } },
    weight: (w, v) => times(w, diagonal(of(v, 'ia3_l'))),
    kind: 'dense',
  },
];

checkFormulas(formulas);

describe('slices', () => {
  const site: SiteShape = { path, kind: 'linear', inputs: 5, outputs: 12, number: 0, weight: '', transposed: false, bias: false };
  const weights = Float32Array.from(randomNormal(60, 1));
  const read = async (first: number, count: number): Promise<Float32Array> => weights.subarray(first * 5, (first + count) * 5);

  it('give what all rows at once give, and never cut what is mixed', async () => {
    const turn = randomNormal(12, 2);
    const parts = { values: () => turn } as unknown as Parameters<typeof road.read>[2];
    const config = road.readConfig({ variant: 'road_2', group_size: 4 }, 'mine');
    const change = road.read(config, { adapter: 'mine', base: 'odd', cache, site, module: path }, parts) as MergedWeight;
    const reads: number[] = [];
    const counted = async (first: number, count: number): Promise<Float32Array> => {
      reads.push(count);
      return read(first, count);
    };
    const slow = await mergeAllRows({ ...change, workPerRow: 1e9 }, counted, 12, 5);
    expect(reads).toEqual([4, 4, 4]);
    expect(slow.data).toEqual((await mergeAllRows(change, read, 12, 5)).data);
  });

  it('of new rows touch no other row', async () => {
    const rows = { dtype: 'f32', count: 2, width: 5, data: Float32Array.from({ length: 10 }, (_, i) => i) } as const;
    const merged = mergedWeight({ kind: 'rows', ids: Int32Array.of(11, 3), rows }, site);
    const made = await mergeAllRows({ ...merged, workPerRow: 1e9 }, read, 12, 5);
    const expected = weights.slice();
    expected.set([0, 1, 2, 3, 4], 55);
    expected.set([5, 6, 7, 8, 9], 15);
    expect(made.data).toEqual(expected);
  });
});
