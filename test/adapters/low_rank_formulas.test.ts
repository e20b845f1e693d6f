// Methods that amount to factors, against their formulas in dense float64 matrices.
import { at, diagonal, identity, type Matrix, matrix, plus, times, transposed } from './dense_matrix.ts';
import { checkFormulas, type Formula, normOf, of, rowsOf } from './formula_check.ts';

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

checkFormulas(formulas);
