import { AdapterError } from '../../errors.js';
import { addBias } from '../../ops/index.js';
import type { TrainableMethod } from '../trainable_method.js';
import { factorTensors } from './factor_tensors.js';
import { loraConfigFile } from './lora_training.js';
import { methodOptionsOf } from './trained_options.js';

/**
 * A trained bias for each linear module, beside the one that the base may have: W x + b + b'. Ben Zaken et al.,
 * https://arxiv.org/abs/2106.10199. Saved as LoRA with `lora_bias` and factors of rank 1 that are zero, which needs no bias in the base.
 */
export const bitfitTraining: TrainableMethod = {
  name: 'bitfit',
  sites: ['linear'],

  check(settings) {
    methodOptionsOf(settings, {});
  },

  parameters: async (_, { outputs }) => [
    { part: 'bias', shape: [outputs], initial: { kind: 'constant', value: 0 }, trained: true, decays: false },
  ],

  forward: (_, { base, parameter }) => addBias(base, parameter('bias')),

  startsAtBase: () => true,

  config: (settings, sites) => loraConfigFile({ ...settings, rank: 1, alpha: 1, rsLora: false }, sites, { lora_bias: true }),

  exportSite: (_, site, values) => [
    ...factorTensors(1, site, new Float32Array(site.inputs), new Float32Array(site.outputs)),
    { name: 'lora_B.bias', shape: [site.outputs], data: values('bias') },
  ],

  importSite(_, { path, outputs }, tensors) {
    if (tensors.has('lora_B.weight') && tensors.floats32('lora_B.weight').some((value) => value !== 0))
      throw new AdapterError(`${path}.lora_B.weight is not zero: bitfit trains the bias alone`, { module: path, tensor: 'lora_B.weight' });
    return new Map([['bias', tensors.floats32('lora_B.bias', [outputs])]]);
  },
};
