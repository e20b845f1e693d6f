import { z } from 'zod';
import { OptionError } from '../../errors.js';
import type { MethodSettings, TrainableMethod } from '../trainable_method.js';
import { checkStart, factorsFrom, factorTensors, initialA } from './factor_tensors.js';
import { loraConfigFile } from './lora_training.js';
import { methodOptionsOf } from './trained_options.js';

const count = z.number().int().min(1).max(65_536);
const known = { frozen: z.boolean().default(true), minRank: count.default(1), exportRank: count.optional() };

const optionsOf = (settings: MethodSettings): { frozen: boolean; minRank: number; exportRank: number } => {
  const { frozen, minRank, exportRank } = methodOptionsOf(settings, known);
  return { frozen, minRank, exportRank: exportRank ?? settings.rank };
};

/**
 * LoRA that works at every rank up to its own: each step draws b and uses the first b rows of the factors with scale alpha / b. With
 * `frozen` (the default, "FRZ" in the paper) only row b learns. Valipour et al., https://arxiv.org/abs/2210.07558. `exportRank` says how many
 * rows are saved: the file is plain LoRA of that rank.
 */
export const dyloraTraining: TrainableMethod = {
  name: 'dylora',
  sites: ['linear'],

  check(settings) {
    checkStart(settings, ['default', 'gaussian']);
    if (settings.rsLora)
      throw new OptionError('rsLora is true: dylora scales by alpha / b at every rank b', {
        option: 'rsLora',
        actual: true,
        expected: false,
      });
    for (const option of ['minRank', 'exportRank'] as const) {
      const value = optionsOf(settings)[option];
      if (value > settings.rank)
        throw new OptionError(`methodOptions.${option} is ${value}: expected at most the rank, ${settings.rank}`, {
          option: `methodOptions.${option}`,
          actual: value,
          expected: settings.rank,
        });
    }
  },

  parameters: async (settings, site) => [
    { part: 'A', shape: [settings.rank, site.inputs], initial: initialA(settings, site.inputs), trained: true },
    {
      part: 'bT',
      shape: [settings.rank, site.outputs],
      initial: { kind: 'constant', value: 0 },
      trained: true,
      rateMultiplier: settings.loraPlusRatio,
    },
  ],

  factors: ({ alpha, rank }) => ({ a: ['A'], bT: ['bT'], scale: alpha / rank }),

  perStep(settings, draw) {
    const { frozen, minRank } = optionsOf(settings);
    const rank = minRank + Math.floor(draw * (settings.rank - minRank + 1));
    return { rank, scale: settings.alpha / rank, trainedRows: [frozen ? rank - 1 : 0, rank] };
  },

  startsAtBase: () => true,
  config: (settings, sites) => loraConfigFile(settings, sites, { r: optionsOf(settings).exportRank }),

  exportSite(settings, site, values) {
    const { exportRank } = optionsOf(settings);
    return factorTensors(
      exportRank,
      site,
      values('A').slice(0, exportRank * site.inputs),
      values('bT').slice(0, exportRank * site.outputs),
    );
  },

  importSite({ rank }, site, tensors) {
    const { a, bT } = factorsFrom(tensors, site, rank);
    return new Map([
      ['A', a],
      ['bT', bT],
    ]);
  },
};
