import { add } from '../../ops/index.js';
import type { TrainableMethod } from '../trainable_method.js';
import { checkStart, factorsFrom, factorTensors, initialA } from './factor_tensors.js';
import { loraConfigFile, loraScale, lowRankProduct } from './lora_training.js';
import { methodOptionsOf } from './trained_options.js';

/**
 * LoRA with A frozen as it begins. Zhang et al., https://arxiv.org/abs/2308.03303. Ordinary ops, so that backward keeps A x, `rank` wide,
 * and not x.
 */
export const loraFaTraining: TrainableMethod = {
  name: 'lora-fa',
  sites: ['linear'],

  check(settings) {
    checkStart(settings, ['default', 'gaussian']);
    methodOptionsOf(settings, {});
  },

  parameters: async (settings, site) => [
    { part: 'A', shape: [settings.rank, site.inputs], initial: initialA(settings, site.inputs), trained: false },
    { part: 'bT', shape: [settings.rank, site.outputs], initial: { kind: 'constant', value: 0 }, trained: true },
  ],

  forward: (settings, at) => add(at.base, lowRankProduct(at.x, at.parameter('A'), at.parameter('bT'), loraScale(settings))),

  startsAtBase: () => true,
  config: (settings, sites) => loraConfigFile(settings, sites),
  exportSite: ({ rank }, site, values) => factorTensors(rank, site, values('A'), values('bT')),
  importSite: ({ rank }, site, tensors) => new Map(Object.entries(withParts(factorsFrom(tensors, site, rank)))),
};

const withParts = ({ a, bT }: { a: Float32Array; bT: Float32Array }): { A: Float32Array; bT: Float32Array } => ({ A: a, bT });
