import { z } from 'zod';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { blockOf, sameDType, tensorRows, transpose } from '../rows.js';

const schema = z.looseObject({ lora_alpha: z.number().finite().nullish() });

/** alpha over the rank, as PEFT has it; its guard against a rank of 0 stays in the number. */
const scaleOf = (alpha: number, rank: number): number => (alpha > 0 ? alpha : rank) / (rank + 1e-5);

/** Low rank as a product P diag(λ) Q, pruned in training: W + scale · B (diag(E) A). Zhang et al., https://arxiv.org/abs/2303.10512. */
export const adalora: AdapterMethod<{ alpha: number }> = {
  peftType: 'ADALORA',
  sites: ['linear'],
  readConfig: (raw, adapter) => ({ alpha: readMethodOptions(schema, raw, adapter).lora_alpha ?? 8 }),
  identity: (config) => config,
  split: partNames(['lora_A', 'lora_B', 'lora_E']),
  describe: () => 'AdaLoRA',

  measure({ alpha }, _, shapes) {
    const rank = shapes.get('lora_A')?.[0];
    return rank === undefined ? undefined : { rank, scale: scaleOf(alpha, rank) };
  },

  // Each module keeps the ranks that training left it.
  read({ alpha }, { site }, parts) {
    const rank = parts.shape('lora_A')[0] ?? 0;
    const a = parts.values('lora_A', [rank, site.inputs]);
    const singular = parts.values('lora_E', [rank, 1]);
    const bT = transpose(tensorRows(parts.floats('lora_B', [site.outputs, rank])));
    const scaled = a.map((x, i) => x * (singular[Math.floor(i / site.inputs)] as number));
    return { kind: 'lowRank', ...sameDType(blockOf(scaled, rank, site.inputs), bT), scale: scaleOf(alpha, rank) };
  },
};
