import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod, SiteRequest } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { blockOf } from '../rows.js';
import type { SiteTensorReader } from '../site_tensor_reader.js';

const schema = z.looseObject({ topk: z.number().int().min(1).max(65_536).nullish() });

/** Which vectors of the bank make one piece of a factor, and how much of each. */
interface Mixture {
  readonly vectors: readonly number[];
  readonly weights: readonly number[];
}

/** The k largest logits as weights that sum to one; the first of equal logits counts as larger. */
export function mixtureOf(logits: Float64Array, k: number): Mixture {
  const order = Array.from(logits, (_, i) => i).sort((i, j) => (logits[j] as number) - (logits[i] as number) || i - j);
  const vectors = order.slice(0, k);
  const top = logits[vectors[0] as number] as number;
  const shares = vectors.map((i) => Math.exp((logits[i] as number) - top));
  const total = shares.reduce((sum, x) => sum + x, 0);
  return { vectors, weights: shares.map((x) => x / total) };
}

/** Low-rank factors put together from one bank of short vectors that all modules share. Li et al., https://arxiv.org/abs/2405.15179. */
export const vblora: AdapterMethod<{ topk: number }> = {
  peftType: 'VBLORA',
  sites: ['linear'],
  integerParts: ['vblora_logits_A_topk_indices', 'vblora_logits_B_topk_indices'],
  readConfig: (raw, adapter) => ({ topk: readMethodOptions(schema, raw, adapter).topk ?? 2 }),
  identity: (config) => config,
  split: partNames(
    ['A', 'B'].flatMap((factor) => ['', '_topk_indices', '_topk_weights'].map((end) => `vblora_logits_${factor}${end}`)),
    ['vblora_vector_bank'],
  ),
  describe: () => 'VB-LoRA',

  measure(_config, _module, shapes) {
    const rank = (shapes.get('vblora_logits_A') ?? shapes.get('vblora_logits_A_topk_indices'))?.[0];
    return rank === undefined ? undefined : { rank, scale: 1 };
  },

  // A's pieces are [rank, pieces], B's [pieces, rank].
  read({ topk }, request, parts) {
    const { inputs, outputs } = request.site;
    const [count = 0, length = 0] = parts.shape('vblora_vector_bank');
    const bank = parts.values('vblora_vector_bank', [count, length]);
    const named = parts.has('vblora_logits_A') ? 'vblora_logits_A' : 'vblora_logits_A_topk_indices';
    const rank = parts.shape(named, 'vblora_logits_A')[0] ?? 0;
    const [across, down] = [inputs / length, outputs / length];
    const ofA = readMixtures(parts, 'vblora_logits_A', [rank, across], count, topk, request);
    const ofB = readMixtures(parts, 'vblora_logits_B', [down, rank], count, topk, request);
    const a = new Float64Array(rank * inputs);
    const bT = new Float64Array(rank * outputs);
    ofA.forEach((mixture, i) => {
      addMixture(a, i * length, mixture, bank, length);
    });
    ofB.forEach((mixture, i) => {
      addMixture(bT, (i % rank) * outputs + Math.floor(i / rank) * length, mixture, bank, length);
    });
    return { kind: 'lowRank', a: blockOf(a, rank, inputs), bT: blockOf(bT, rank, outputs), scale: 1 };
  },
};

// Logits over the whole bank, or only the chosen vectors with the weights of all but the last, which add up to one.
function readMixtures(
  parts: SiteTensorReader,
  name: string,
  shape: readonly [number, number],
  count: number,
  topk: number,
  { adapter, base, site }: SiteRequest,
): Mixture[] {
  const pieces = shape[0] * shape[1];
  if (parts.has(name)) {
    const logits = parts.values(name, [...shape, count]);
    return Array.from({ length: pieces }, (_, i) => mixtureOf(logits.subarray(i * count, (i + 1) * count), topk));
  }
  const indices = parts.integers(`${name}_topk_indices`, [...shape, topk], name);
  const weights = parts.values(`${name}_topk_weights`, [...shape, topk - 1]);
  return Array.from({ length: pieces }, (_, i) => {
    const vectors = Array.from(indices.data.subarray(i * topk, (i + 1) * topk));
    const wrong = vectors.find((vector) => vector < 0 || vector >= count);
    if (wrong !== undefined)
      throw new AdapterError(
        `${adapter} does not fit ${base}: ${indices.name} names vector ${wrong} of a bank of ${count} for ${site.path}`,
        {
          tensor: indices.name,
          actual: wrong,
          expected: count - 1,
        },
      );
    const known = Array.from(weights.subarray(i * (topk - 1), (i + 1) * (topk - 1)));
    return { vectors, weights: [...known, 1 - known.reduce((sum, x) => sum + x, 0)] };
  });
}

function addMixture(into: Float64Array, at: number, { vectors, weights }: Mixture, bank: Float64Array, length: number): void {
  vectors.forEach((vector, j) => {
    for (let i = 0; i < length; i++)
      into[at + i] = (into[at + i] as number) + (weights[j] as number) * (bank[vector * length + i] as number);
  });
}
