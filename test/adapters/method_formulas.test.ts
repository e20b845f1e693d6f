// Every method that changes a weight, on a layer of odd sizes, against its formula in dense float64 matrices.
import { describe, expect, it } from 'vitest';
import { CheckpointBase } from '../../lib/adapters/checkpoint_base.ts';
import { mergeAllRows, mergedWeight } from '../../lib/adapters/merged_weight.ts';
import type { MergedWeight, SiteParts, SiteShape } from '../../lib/adapters/method.ts';
import { road } from '../../lib/adapters/methods/road.ts';
import { loadPeftAdapter, readPeftConfig } from '../../lib/adapters/peft_adapter.ts';
import { toFloat32 } from '../../lib/adapters/rows.ts';
import { randomNormal } from '../kernels/numbers.ts';
import {
  at,
  blockDiagonal,
  columnsOf,
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
import { MemoryTensors } from './memory_tensors.ts';

const path = 'model.proj';
const cache = { layers: 1, keyHeads: 1, width: 1 };
type Values = Readonly<Record<string, readonly number[]>>;

interface Formula {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly inputs: number;
  readonly outputs: number;
  /** Shapes by part; a number is the standard deviation, 0.3 unless given. */
  readonly tensors: Readonly<
    Record<string, { shape: readonly number[]; spread?: number; mean?: number; values?: readonly number[]; dtype?: 'I32' | 'U8' }>
  >;
  readonly weight: (w: Matrix, values: Values) => Matrix;
  readonly bias?: (b: readonly number[], values: Values) => readonly number[];
  /** What it is placed as. */
  readonly kind: 'lowRank' | 'dense';
  readonly rank?: number;
}

const rowsOf = (values: readonly number[] | undefined, rows: number, columns: number, from = 0): Matrix =>
  matrix(rows, columns, (r, c) => values?.[from + r * columns + c] as number);
const of = (values: Values, part: string): readonly number[] => values[part] as readonly number[];
const skew = (entries: Matrix): Matrix => matrix(entries.length, entries.length, (r, c) => (at(entries, r, c) - at(entries, c, r)) / 2);
const cayley = (s: Matrix): Matrix => times(plus(identity(s.length), s, -1), inverseOfOnePlus(s));
const normOf = (values: readonly number[]): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

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
  {
    name: 'AdaLoRA',
    config: { peft_type: 'ADALORA', lora_alpha: 6 },
    inputs: 11,
    outputs: 7,
    tensors: { lora_A: { shape: [3, 11] }, lora_B: { shape: [7, 3] }, lora_E: { shape: [3, 1] } },
    weight: (w, v) => plus(w, times(times(rowsOf(v.lora_B, 7, 3), diagonal(of(v, 'lora_E'))), rowsOf(v.lora_A, 3, 11)), 6 / (3 + 1e-5)),
    kind: 'lowRank',
    rank: 3,
  },
  {
    name: 'VeRA with matrices larger than the layer',
    config: { peft_type: 'VERA' },
    inputs: 11,
    outputs: 7,
    tensors: {
      vera_lambda_b: { shape: [7] },
      vera_lambda_d: { shape: [5] },
      'base_model.vera_A': { shape: [5, 13] },
      'base_model.vera_B': { shape: [9, 5] },
    },
    weight: (w, v) => {
      const a = rowsOf(v['base_model.vera_A'], 5, 13).map((row) => row.slice(0, 11));
      const b = rowsOf(v['base_model.vera_B'], 9, 5).slice(0, 7);
      return plus(w, times(times(diagonal(of(v, 'vera_lambda_b')), b), times(diagonal(of(v, 'vera_lambda_d')), a)));
    },
    kind: 'lowRank',
    rank: 5,
  },
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
  ...[false, true].map(
    (orthogonal): Formula => ({
      name: `HRA${orthogonal ? ' after Gram and Schmidt' : ''}`,
      config: { peft_type: 'HRA', apply_GS: orthogonal },
      inputs: 13,
      outputs: 6,
      tensors: { hra_u: { shape: [13, 3], spread: 1 } },
      weight: (w, v) => {
        const unit = (values: number[]): number[] => values.map((x) => x / normOf(values));
        const columns = transposed(rowsOf(v.hra_u, 13, 3));
        const directions: Matrix = [];
        for (const column of columns) {
          let left = column;
          if (orthogonal)
            for (const known of directions) {
              const along = known.reduce((sum, x, i) => sum + x * (left[i] as number), 0);
              left = left.map((x, i) => x - along * (known[i] as number));
            }
          directions.push(unit(left));
        }
        return directions.reduce((all, u) => times(all, plus(identity(13), times(transposed([u]), [u]), -2)), w);
      },
      kind: 'lowRank',
      rank: 3,
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
  ...(['plain', 'topk'] as const).map(
    (how): Formula => ({
      name: `VB-LoRA${how === 'topk' ? ' with the chosen weights only' : ''}`,
      config: { peft_type: 'VBLORA', topk: 2 },
      inputs: 9,
      outputs: 6,
      tensors: {
        'base_model.vblora_vector_bank': { shape: [5, 3] },
        ...(how === 'plain'
          ? { vblora_logits_A: { shape: [2, 3, 5], spread: 2 }, vblora_logits_B: { shape: [2, 2, 5], spread: 2 } }
          : {
              vblora_logits_A_topk_indices: { shape: [2, 3, 2], dtype: 'U8' as const, values: [0, 4, 1, 2, 3, 0, 4, 1, 2, 0, 1, 3] },
              vblora_logits_A_topk_weights: { shape: [2, 3, 1], values: [0.9, 0.8, 0.7, 0.6, 0.5, 0.95] },
              vblora_logits_B_topk_indices: { shape: [2, 2, 2], dtype: 'U8' as const, values: [4, 3, 2, 1, 0, 4, 3, 2] },
              vblora_logits_B_topk_weights: { shape: [2, 2, 1], values: [0.9, 0.6, 0.7, 0.55] },
            }),
      },
      weight: (w, v) => {
        const bank = rowsOf(v['base_model.vblora_vector_bank'], 5, 3);
        const piece = (factor: 'A' | 'B', index: number): number[] => {
          const shares = new Array<number>(5).fill(0);
          if (how === 'plain') {
            const logits = of(v, `vblora_logits_${factor}`).slice(index * 5, index * 5 + 5);
            const chosen = logits.map((x, i) => [x, i] as const).sort(([x], [y]) => y - x);
            const two = chosen.slice(0, 2).map(([x]) => Math.exp(x));
            chosen.slice(0, 2).forEach(([, i], j) => {
              shares[i] = (two[j] as number) / ((two[0] as number) + (two[1] as number));
            });
          } else {
            const share = of(v, `vblora_logits_${factor}_topk_weights`)[index] as number;
            const [i, j] = of(v, `vblora_logits_${factor}_topk_indices`).slice(2 * index, 2 * index + 2) as [number, number];
            shares[i] = share;
            shares[j] = 1 - share;
          }
          return times([shares], bank)[0] as number[];
        };
        const a = [0, 1].map((r) => [0, 1, 2].flatMap((p) => piece('A', r * 3 + p)));
        const b = matrix(6, 2, (r, c) => piece('B', Math.floor(r / 3) * 2 + c)[r % 3] as number);
        return plus(w, times(b, a));
      },
      kind: 'lowRank',
      rank: 2,
    }),
  ),
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
    name: 'DeLoRA',
    config: { peft_type: 'DELORA', r: 2 },
    inputs: 11,
    outputs: 7,
    tensors: {
      delora_A: { shape: [2, 11] },
      delora_B: { shape: [7, 2] },
      delora_lambda: { shape: [1], mean: 5 },
      delora_w_norm: { shape: [11], mean: 2 },
    },
    weight: (w, v) => {
      const [a, b] = [rowsOf(v.delora_A, 2, 11), rowsOf(v.delora_B, 7, 2)];
      const scales = [0, 1].map(
        (j) => (of(v, 'delora_lambda')[0] as number) / 2 / normOf(a[j] as number[]) / normOf(b.map((row) => row[j] as number)),
      );
      return plus(w, times(times(times(b, diagonal(scales)), a), diagonal(of(v, 'delora_w_norm'))));
    },
    kind: 'lowRank',
    rank: 2,
  },
  {
    name: 'GraLoRA with ranks for the whole',
    config: { peft_type: 'GRALORA', r: 4, alpha: 3, hybrid_r: 1, gralora_k: 2 },
    inputs: 10,
    outputs: 6,
    tensors: {
      gralora_A: { shape: [2, 5, 4] },
      gralora_B: { shape: [2, 4, 3] },
      'gralora_A_general.weight': { shape: [1, 10] },
      'gralora_B_general.weight': { shape: [6, 1] },
    },
    weight: (w, v) => {
      const delta = times(rowsOf(v['gralora_B_general.weight'], 6, 1), rowsOf(v['gralora_A_general.weight'], 1, 10));
      const [a, b] = [of(v, 'gralora_A'), of(v, 'gralora_B')];
      const blocks = matrix(6, 10, (r, c) => {
        const [j, n] = [Math.floor(r / 3), Math.floor(c / 5)];
        return [0, 1].reduce(
          (sum, q) => sum + (a[(n * 5 + (c % 5)) * 4 + j * 2 + q] as number) * (b[(j * 4 + n * 2 + q) * 3 + (r % 3)] as number),
          0,
        );
      });
      return plus(w, plus(delta, blocks), 3 / 5);
    },
    kind: 'lowRank',
    rank: 9,
  },
  {
    name: 'MiSS on inputs that its rank does not divide',
    config: { peft_type: 'MISS', r: 4, init_weights: true },
    inputs: 11,
    outputs: 5,
    tensors: { miss_block: { shape: [4, 5] } },
    weight: (w, v) => matrix(5, 11, (r, c) => at(w, r, c) + (of(v, 'miss_block')[(c % 4) * 5 + r] as number)),
    kind: 'lowRank',
    rank: 4,
  },
  {
    name: 'MiSS, mini',
    config: { peft_type: 'MISS', r: 3, mini_r: 2, init_weights: 'mini' },
    inputs: 9,
    outputs: 6,
    tensors: { miss_block: { shape: [3, 2] } },
    weight: (w, v) => matrix(6, 9, (r, c) => at(w, r, c) + (of(v, 'miss_block')[(c % 3) * 2 + (r % 2)] as number)),
    kind: 'lowRank',
    rank: 3,
  },
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
    name: 'IA3 on outputs',
    config: { peft_type: 'IA3' },
    inputs: 5,
    outputs: 3,
    tensors: { ia3_l: { shape: [3, 1], mean: 1 } },
    weight: (w, v) => times(diagonal(of(v, 'ia3_l')), w),
    bias: (b, v) => b.map((x, n) => x * (of(v, 'ia3_l')[n] as number)),
    kind: 'lowRank',
    rank: 0,
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
  {
    name: 'trainable tokens of an output layer',
    config: { peft_type: 'TRAINABLE_TOKENS', token_indices: [6, 1, 6] },
    inputs: 5,
    outputs: 7,
    tensors: { trainable_tokens_delta: { shape: [3, 5] } },
    weight: (w, v) =>
      w.map((row, r) =>
        r === 6 ? [...of(v, 'trainable_tokens_delta').slice(10)] : r === 1 ? [...of(v, 'trainable_tokens_delta').slice(5, 10)] : row,
      ),
    kind: 'lowRank',
    rank: 2,
  },
];

let seed = 100;

function draw(formula: Formula): { tensors: MemoryTensors; values: Values } {
  const tensors = new MemoryTensors();
  const values: Record<string, number[]> = {};
  for (const [part, { shape, spread = 0.3, mean = 0, values: given, dtype }] of Object.entries(formula.tensors)) {
    const count = shape.reduce((all, size) => all * size, 1);
    const drawn = given ?? Array.from(randomNormal(count, seed++), (x) => mean + spread * x);
    const name = part.startsWith('base_model.') ? part : `base_model.model.${path}.${part}`;
    values[part] = Array.from(dtype === undefined ? Float32Array.from(drawn) : drawn);
    if (dtype === undefined) tensors.set(name, shape, drawn);
    else
      tensors.tensors.set(name, {
        dtype,
        shape,
        bytes: new Uint8Array((dtype === 'I32' ? Int32Array.from(drawn) : Uint8Array.from(drawn)).buffer),
      });
  }
  return { tensors, values };
}

function baseOf({ inputs, outputs }: { inputs: number; outputs: number }, bias: boolean): { base: CheckpointBase; w: Matrix; b: number[] } {
  const stored = new MemoryTensors();
  const w = Float32Array.from(randomNormal(inputs * outputs, seed++));
  const b = Float32Array.from(randomNormal(outputs, seed++));
  stored.set(`${path}.weight`, [outputs, inputs], w).set(`${path}.bias`, [outputs], b);
  const site: SiteShape = { path, kind: 'linear', inputs, outputs, number: 0, weight: `${path}.weight`, transposed: false, bias };
  return { base: new CheckpointBase('odd', [site], stored, cache), w: rowsOf(Array.from(w), outputs, inputs), b: Array.from(b) };
}

/** The weight that a layer amounts to with what was placed. */
function effective(parts: SiteParts, w: Matrix): Matrix {
  const block = (rows: SiteParts['a']): Matrix => rowsOf(Array.from(toFloat32(rows.dtype, rows.data)), rows.count, rows.width);
  if (parts.kind === 'dense') return block(parts.a);
  const changed = parts.rank === 0 ? w : plus(w, times(transposed(block(parts.bT as SiteParts['a'])), block(parts.a)), parts.scale);
  return parts.gain ? times(diagonal(Array.from(parts.gain)), changed) : changed;
}

const largest = (a: Matrix, b: Matrix): number => Math.max(...a.flatMap((row, r) => row.map((x, c) => Math.abs(x - at(b, r, c)))));

describe.each(formulas)('$name', (formula) => {
  it('amounts to its formula', async () => {
    const { tensors, values } = draw(formula);
    const { base, w } = baseOf(formula, false);
    const { sites } = await loadPeftAdapter(readPeftConfig(formula.config, 'mine'), tensors, base);
    const parts = sites.get(path) as SiteParts;
    expect(parts.kind).toBe(formula.kind);
    if (formula.rank !== undefined) expect(parts.rank).toBe(formula.rank);
    expect(parts.shift).toBeUndefined();
    const expected = formula.weight(w, values);
    expect([expected.length, columnsOf(expected)]).toEqual([formula.outputs, formula.inputs]);
    const size = Math.max(1, ...expected.flat().map(Math.abs));
    expect(largest(effective(parts, w), expected)).toBeLessThan(4e-7 * size);
  });

  it('changes the bias only where the formula does', async () => {
    const { tensors, values } = draw(formula);
    const { base, b } = baseOf(formula, true);
    const { sites } = await loadPeftAdapter(readPeftConfig(formula.config, 'mine'), tensors, base);
    const expected = formula.bias?.(b, values) ?? b;
    const shift = sites.get(path)?.shift ?? new Float32Array(b.length);
    expect(Math.max(...expected.map((x, n) => Math.abs(x - (b[n] as number) - (shift[n] as number))))).toBeLessThan(1e-6);
  });

  it('merges into whole weights that the adapter brings too', async () => {
    const { tensors, values } = draw(formula);
    const { base } = baseOf(formula, false);
    const own = Float32Array.from(randomNormal(formula.inputs * formula.outputs, seed++));
    tensors.set(`base_model.model.${path}.base_layer.weight`, [formula.outputs, formula.inputs], own);
    const { sites } = await loadPeftAdapter(readPeftConfig(formula.config, 'mine'), tensors, base);
    const expected = formula.weight(rowsOf(Array.from(own), formula.outputs, formula.inputs), values);
    const size = Math.max(1, ...expected.flat().map(Math.abs));
    expect(sites.get(path)?.kind).toBe('dense');
    expect(largest(effective(sites.get(path) as SiteParts, []), expected)).toBeLessThan(4e-7 * size);
  });
});

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
