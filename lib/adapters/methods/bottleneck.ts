import { z } from 'zod';
import type { Activation } from '../../ops/index.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import { partNames } from '../part_names.js';
import { sameDType, tensorRows, transpose } from '../rows.js';

/** Functions between the two layers as configurations name them. */
export const bottleneckActivations = { relu: 'relu', gelu: 'gelu', tanh: 'tanh', silu: 'silu' } as const satisfies Record<
  string,
  Activation
>;

const schema = z.looseObject({
  bottleneck_size: z.number().int().min(1).max(65_536),
  non_linearity: z.enum(['relu', 'gelu', 'tanh', 'silu']),
  // LLM-Adapters writes numbers as strings.
  scaling: z
    .union([
      z.number(),
      z
        .string()
        .regex(/^-?\d+(\.\d+)?$/, 'expected a number')
        .transform(Number),
    ])
    .default(1),
  use_parallel_adapter: z.boolean().default(false),
  bias: z.string().nullish(),
});

/** The options that change results. */
export interface BottleneckConfig {
  readonly size: number;
  readonly activation: keyof typeof bottleneckActivations;
  readonly scale: number;
  readonly mode: 'series' | 'parallel';
}

/** Small networks of two layers beside modules or behind them. Hu et al. (LLM-Adapters), https://arxiv.org/abs/2304.01933. */
export const bottleneck: AdapterMethod<BottleneckConfig> = {
  peftType: 'BOTTLENECK',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const options = readMethodOptions(schema, raw, adapter);
    if (options.bias !== undefined && options.bias !== null && options.bias !== 'none')
      refuseOption(adapter, 'bias', options.bias, "supported is 'none'");
    return {
      size: options.bottleneck_size,
      activation: options.non_linearity,
      scale: options.scaling,
      mode: options.use_parallel_adapter ? 'parallel' : 'series',
    };
  },

  identity: (config) => config,
  split: partNames(['adapter_down', 'adapter_up']),
  describe: ({ mode }) => `${mode} bottleneck`,
  measure: ({ scale }, _, parts) => {
    const size = parts.get('adapter_down')?.[0];
    return size === undefined ? undefined : { rank: size, scale };
  },

  read({ size, activation, scale, mode }, { site }, parts) {
    const down = parts.floats('adapter_down', [size, mode === 'series' ? site.outputs : site.inputs]);
    const up = parts.floats('adapter_up', [site.outputs, size]);
    return {
      kind: 'bottleneck',
      mode,
      activation: bottleneckActivations[activation],
      scale,
      ...sameDType(tensorRows(down), transpose(tensorRows(up))),
    };
  },
};
