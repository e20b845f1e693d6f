import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { blockOf } from '../rows.js';

const schema = z.looseObject({
  r: z.number().int().min(1).max(65_536),
  alpha: z.number().finite(),
  hybrid_r: z.number().int().min(0).max(65_536).nullish(),
});

interface GraloraConfig {
  readonly rank: number;
  readonly alpha: number;
  /** Ranks of an ordinary low-rank product beside the blocks. */
  readonly general: number;
}

const scaleOf = ({ alpha, rank, general }: GraloraConfig): number => alpha / (rank + general);

/** The weight cut into k · k blocks with a low-rank product each. Jung et al., https://arxiv.org/abs/2505.20355. */
export const gralora: AdapterMethod<GraloraConfig> = {
  peftType: 'GRALORA',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const { r, alpha, hybrid_r: general } = readMethodOptions(schema, raw, adapter);
    return { rank: r, alpha, general: general ?? 0 };
  },

  identity: (config) => config,
  split: partNames(['gralora_A', 'gralora_B', 'gralora_A_general', 'gralora_B_general']),
  describe: ({ general }) => (general > 0 ? 'GraLoRA (hybrid)' : 'GraLoRA'),
  measure: (config) => ({ rank: config.rank + config.general, scale: scaleOf(config) }),

  // The terms of block (j, n) of outputs and inputs are j · rank / k.. of A's block n, and n · rank / k.. of B's block j.
  read(config, { adapter, base, site }, parts) {
    const { inputs, outputs } = site;
    const { rank, general } = config;
    const k = parts.shape('gralora_A')[0] ?? 0;
    if (k === 0 || inputs % k !== 0 || outputs % k !== 0 || rank % k !== 0)
      throw new AdapterError(
        `${adapter} does not fit ${base}: ${k} blocks of gralora_A do not divide ${site.path}, [${outputs}, ${inputs}], and rank ${rank}`,
        { module: site.path, actual: k, base },
      );
    const [wide, tall, share] = [inputs / k, outputs / k, rank / k];
    const a = parts.values('gralora_A', [k, wide, rank]);
    const b = parts.values('gralora_B', [k, rank, tall]);
    const terms = k * rank + general;
    const rowsOfA = new Float64Array(terms * inputs);
    const rowsOfB = new Float64Array(terms * outputs);
    let term = 0;
    for (let n = 0; n < k; n++)
      for (let j = 0; j < k; j++)
        for (let q = 0; q < share; q++, term++) {
          for (let i = 0; i < wide; i++) rowsOfA[term * inputs + n * wide + i] = a[(n * wide + i) * rank + j * share + q] as number;
          for (let o = 0; o < tall; o++) rowsOfB[term * outputs + j * tall + o] = b[(j * rank + n * share + q) * tall + o] as number;
        }
    if (general > 0) {
      rowsOfA.set(parts.values('gralora_A_general', [general, inputs]), term * inputs);
      const free = parts.values('gralora_B_general', [outputs, general]);
      for (let j = 0; j < general; j++)
        for (let o = 0; o < outputs; o++) rowsOfB[(term + j) * outputs + o] = free[o * general + j] as number;
    }
    return { kind: 'lowRank', a: blockOf(rowsOfA, terms, inputs), bT: blockOf(rowsOfB, terms, outputs), scale: scaleOf(config) };
  },
};
