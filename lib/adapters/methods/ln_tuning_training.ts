import { add, addBias, scale, scaleColumns } from '../../ops/index.js';
import type { SiteGraph, TrainableMethod } from '../trainable_method.js';
import { methodOptionsOf } from './trained_options.js';

/** Trained weights of norms, and their biases where they have them; they begin as the base's. Zhao et al., https://arxiv.org/abs/2312.11420. */
export const lnTuningTraining: TrainableMethod = {
  name: 'ln-tuning',
  sites: ['norm'],

  check(settings) {
    methodOptionsOf(settings, {});
  },

  async parameters(_, site, base) {
    const spec = (part: string, values: Float32Array) =>
      ({ part, shape: [site.outputs], initial: { kind: 'given', values }, trained: true, decays: false }) as const;
    const weight = spec('weight', await base.readRows(site, 0, 1));
    return site.bias ? [weight, spec('bias', await base.readBias(site))] : [weight];
  },

  // Some models store their weights as the difference from one.
  forward(_, { site, norm, parameter }) {
    const { plain, weightOffset } = norm as NonNullable<SiteGraph['norm']>;
    const scaled = scaleColumns(plain, parameter('weight'));
    const y = weightOffset === 0 ? scaled : add(scaled, scale(plain, weightOffset));
    return site.bias ? addBias(y, parameter('bias')) : y;
  },

  startsAtBase: () => true,

  config: () => ({ peft_type: 'LN_TUNING', task_type: 'CAUSAL_LM', inference_mode: true, modules_to_save: null }),

  exportSite: (_, { outputs, bias }, values) =>
    ['weight', ...(bias ? ['bias'] : [])].map((part) => ({ name: `ln_tuning_layers.${part}`, shape: [outputs], data: values(part) })),

  importSite: (_, { outputs, bias }, tensors) =>
    new Map(['weight', ...(bias ? ['bias'] : [])].map((part) => [part, tensors.floats32(`ln_tuning_layers.${part}`, [outputs])])),
};
