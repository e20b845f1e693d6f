import { z } from 'zod';
import { activate, add, matmul, scale } from '../../ops/index.js';
import { turned } from '../rows.js';
import type { MethodSettings, TrainableMethod } from '../trainable_method.js';
import { bottleneckActivations } from './bottleneck.js';
import { checkStart } from './factor_tensors.js';
import { methodOptionsOf } from './trained_options.js';

const options = {
  mode: z.enum(['series', 'parallel']).default('parallel'),
  activation: z.enum(['relu', 'gelu', 'tanh', 'silu']).default('tanh'),
  size: z.number().int().min(1).max(65_536).optional(),
  scaling: z.number().gt(0).max(1e6).default(1),
};

/** Everything that the method can be told, `size` by the general rank where it is not. */
function optionsOf(settings: MethodSettings) {
  const { size = settings.rank, ...others } = methodOptionsOf(settings, options);
  return { size, ...others };
}

/**
 * Small networks of two layers without biases: beside a module, W x + s · U f(D x) (`methodOptions.mode` 'parallel'), or behind it,
 * h + s · U f(D h) with h its output ('series'). `init` 'mam' (default) begins with U = 0, 'bert' with normal numbers of deviation 0.02 for
 * both. Hu et al. (LLM-Adapters), https://arxiv.org/abs/2304.01933; Houlsby et al., https://arxiv.org/abs/1902.00751.
 */
export const bottleneckTraining: TrainableMethod = {
  name: 'bottleneck',
  sites: ['linear'],

  check(settings) {
    checkStart(settings, ['mam', 'bert']);
    optionsOf(settings);
  },

  async parameters(settings, { inputs, outputs }) {
    const { size, mode } = optionsOf(settings);
    const width = mode === 'series' ? outputs : inputs;
    const normal = { kind: 'normal', deviation: 0.02 } as const;
    const bert = settings.init === 'bert';
    return [
      { part: 'down', shape: [size, width], initial: bert ? normal : { kind: 'uniform', bound: 1 / Math.sqrt(width) }, trained: true },
      { part: 'upT', shape: [size, outputs], initial: bert ? normal : { kind: 'constant', value: 0 }, trained: true },
    ];
  },

  forward(settings, { x, base, parameter }) {
    const { mode, activation, scaling } = optionsOf(settings);
    const inner = activate(
      matmul(mode === 'series' ? base : x, parameter('down'), { transposeB: true }),
      bottleneckActivations[activation],
    );
    return add(base, scale(matmul(inner, parameter('upT')), scaling));
  },

  startsAtBase: ({ init }) => init !== 'bert',

  config(settings) {
    const { size, mode, activation, scaling } = optionsOf(settings);
    return {
      peft_type: 'BOTTLENECK',
      task_type: 'CAUSAL_LM',
      bottleneck_size: size,
      non_linearity: activation,
      scaling,
      use_parallel_adapter: mode === 'parallel',
      use_adapterp: false,
      adapter_dropout: 0,
      bias: 'none',
      init_weights: settings.init === 'bert' ? 'bert' : 'mam_adapter',
      inference_mode: true,
      modules_to_save: null,
    };
  },

  exportSite(settings, { inputs, outputs }, values) {
    const { size, mode } = optionsOf(settings);
    return [
      { name: 'adapter_down.weight', shape: [size, mode === 'series' ? outputs : inputs], data: values('down') },
      { name: 'adapter_up.weight', shape: [outputs, size], data: turned(values('upT'), size, outputs) },
    ];
  },

  importSite(settings, { inputs, outputs }, tensors) {
    const { size, mode } = optionsOf(settings);
    return new Map([
      ['down', tensors.floats32('adapter_down.weight', [size, mode === 'series' ? outputs : inputs])],
      ['upT', turned(tensors.floats32('adapter_up.weight', [outputs, size]), outputs, size)],
    ]);
  },
};
