import { z } from 'zod';
import { addBias, scaleColumns } from '../../ops/index.js';
import type { SiteShape } from '../method.js';
import { endsIn } from '../module_pattern.js';
import { type MethodSettings, moduleNames, type TrainableMethod } from '../trainable_method.js';
import { methodOptionsOf } from './trained_options.js';

const options = { feedforwardModules: z.array(z.string().min(1)).default(['down_proj', 'mlp.c_proj']) };

/** Whether the factors belong to the inputs. */
function scalesInputs(settings: MethodSettings, { path }: SiteShape): boolean {
  return methodOptionsOf(settings, options).feedforwardModules.some((end) => endsIn(path, end));
}

// As PEFT shapes them.
const factorsShape = (settings: MethodSettings, site: SiteShape): number[] =>
  scalesInputs(settings, site) ? [1, site.inputs] : [site.outputs, 1];

/**
 * One factor per output, beginning at one: diag(l) (W x + b); or per input where the module is the last of a feed-forward network
 * (`methodOptions.feedforwardModules`): W (l · x) + b. Liu et al., https://arxiv.org/abs/2205.05638.
 */
export const ia3Training: TrainableMethod = {
  name: 'ia3',
  sites: ['linear'],

  check(settings) {
    methodOptionsOf(settings, options);
  },

  parameters: async (settings, site) => [
    {
      part: 'factors',
      shape: [scalesInputs(settings, site) ? site.inputs : site.outputs],
      initial: { kind: 'constant', value: 1 },
      trained: true,
      decays: false,
    },
  ],

  forward(settings, { site, x, base, bias, frozen, parameter }) {
    const factors = parameter('factors');
    if (!scalesInputs(settings, site)) return scaleColumns(base, factors);
    const product = frozen(scaleColumns(x, factors));
    return bias === undefined ? product : addBias(product, bias);
  },

  startsAtBase: () => true,

  config(settings, sites, all) {
    const feedforward = sites.filter((site) => scalesInputs(settings, site));
    const others = sites.filter((site) => !scalesInputs(settings, site));
    const feedforwardNames = feedforward.length === 0 ? [] : moduleNames(feedforward, all);
    return {
      peft_type: 'IA3',
      task_type: 'CAUSAL_LM',
      target_modules: [...moduleNames(others, all), ...feedforwardNames],
      feedforward_modules: feedforwardNames,
      fan_in_fan_out: sites.some(({ transposed }) => transposed),
      inference_mode: true,
      init_ia3_weights: true,
      modules_to_save: null,
    };
  },

  exportSite: (settings, site, values) => [{ name: 'ia3_l', shape: factorsShape(settings, site), data: values('factors') }],

  importSite: (settings, site, tensors) => new Map([['factors', tensors.floats32('ia3_l', factorsShape(settings, site))]]),
};
