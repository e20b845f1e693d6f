import type { AdapterMethod } from '../method.js';
import { partNames } from '../part_names.js';
import { blockOf } from '../rows.js';

const shortest = 1e-4;

/** Low rank whose terms all have the same bounded length: W + λ / r · Σ b aᵀ diag(‖W columns‖) / (‖b‖ ‖a‖). Bini et al., https://arxiv.org/abs/2503.18225. */
export const delora: AdapterMethod = {
  peftType: 'DELORA',
  sites: ['linear'],
  readConfig: () => ({}),
  identity: () => undefined,
  split: partNames(['delora_A', 'delora_B', 'delora_lambda', 'delora_w_norm']),
  describe: () => 'DeLoRA',

  measure(_config, _module, shapes) {
    const rank = shapes.get('delora_A')?.[0];
    return rank === undefined ? undefined : { rank, scale: 1 };
  },

  read(_, { site }, parts) {
    const { inputs, outputs } = site;
    const rank = parts.shape('delora_A')[0] ?? 0;
    const a = parts.values('delora_A', [rank, inputs]);
    const b = parts.values('delora_B', [outputs, rank]);
    const lambda = parts.values('delora_lambda', [1])[0] as number;
    const norms = parts.values('delora_w_norm', [inputs]);
    const bT = new Float64Array(rank * outputs);
    for (let j = 0; j < rank; j++) {
      const row = a.subarray(j * inputs, (j + 1) * inputs);
      let square = 0;
      for (let n = 0; n < outputs; n++) square += (b[n * rank + j] as number) ** 2;
      const lengths = Math.max(Math.sqrt(row.reduce((sum, x) => sum + x * x, 0)), shortest) * Math.max(Math.sqrt(square), shortest);
      for (let n = 0; n < outputs; n++) bT[j * outputs + n] = ((b[n * rank + j] as number) * lambda) / (rank * lengths);
    }
    const scaled = a.map((x, i) => x * (norms[i % inputs] as number));
    return { kind: 'lowRank', a: blockOf(scaled, rank, inputs), bT: blockOf(bT, rank, outputs), scale: 1 };
  },
};
