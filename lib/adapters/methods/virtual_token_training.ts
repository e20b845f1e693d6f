// Trained positions in front of the text.
import { z } from 'zod';
import { OptionError } from '../../errors.js';
import { add, gatherRows } from '../../ops/index.js';
import type { AdapterBase } from '../method.js';
import { startOfPermutation } from '../seeded_permutation.js';
import type { ParameterSpec, TrainableMethod } from '../trainable_method.js';
import { checkStart } from './factor_tensors.js';
import { methodOptionsOf } from './trained_options.js';

const virtualTokens = z.number().int().min(1).max(65_536).default(20);
const seed = z.number().int().min(0).max(0xffffffff).default(0);
const promptOptions = { virtualTokens, seed };
const prefixOptions = { virtualTokens };

/** adapter_config.json of every method that brings positions; PEFT takes what is null from the model. */
const configOf = (peftType: string, count: number, more: Readonly<Record<string, unknown>>): Record<string, unknown> => ({
  peft_type: peftType,
  task_type: 'CAUSAL_LM',
  target_modules: undefined,
  num_virtual_tokens: count,
  num_transformer_submodules: 1,
  num_attention_heads: null,
  num_layers: null,
  inference_mode: true,
  modules_to_save: null,
  ...more,
});

// Embeddings of tokens of the vocabulary, which the seed draws.
async function vocabularyRows(base: AdapterBase, count: number, from: number): Promise<Float32Array> {
  const table = base.sites.find(({ kind }) => kind === 'embedding');
  if (table === undefined || table.inputs < count)
    throw new OptionError(
      `virtualTokens is ${count}: ${base.name} has ${table?.inputs ?? 0} tokens to begin with, expected at most as many`,
      {
        option: 'virtualTokens',
        actual: count,
        expected: table?.inputs ?? 0,
      },
    );
  const rows = new Float32Array(count * table.outputs);
  for (const [i, token] of startOfPermutation(from, table.inputs, count).entries())
    rows.set(await base.readRows(table, token, 1), i * table.outputs);
  return rows;
}

/**
 * Trained embeddings in front of every text: `methodOptions.virtualTokens` of them (default 20). They begin as embeddings of tokens that
 * `methodOptions.seed` draws (`init` 'vocabulary', the default) or as normal numbers of deviation 0.02 ('random'). Lester et al.,
 * https://arxiv.org/abs/2104.08691.
 */
export const promptTuningTraining: TrainableMethod = {
  name: 'prompt-tuning',
  sites: ['virtual'],

  check(settings) {
    checkStart(settings, ['vocabulary', 'random']);
    methodOptionsOf(settings, promptOptions);
  },

  virtualPositions: (settings) => ({ count: methodOptionsOf(settings, promptOptions).virtualTokens, as: 'tokens' }),

  async parameters(settings, site, base) {
    const { virtualTokens: count, seed: from } = methodOptionsOf(settings, promptOptions);
    const initial: ParameterSpec['initial'] =
      settings.init === 'random' ? { kind: 'normal', deviation: 0.02 } : { kind: 'given', values: await vocabularyRows(base, count, from) };
    return [{ part: 'rows', shape: [count, site.outputs], initial, trained: true }];
  },

  forward: (_, { x, base, parameter }) => add(base, gatherRows(parameter('rows'), x)),

  startsAtBase: () => false,

  config: (settings, sites) =>
    configOf('PROMPT_TUNING', methodOptionsOf(settings, promptOptions).virtualTokens, {
      token_dim: sites[0]?.outputs,
      prompt_tuning_init: 'RANDOM',
    }),

  exportSite: (settings, { outputs }, values) => [
    { name: 'prompt_embeddings', shape: [methodOptionsOf(settings, promptOptions).virtualTokens, outputs], data: values('rows') },
  ],

  importSite: (settings, { outputs }, tensors) =>
    new Map([['rows', tensors.floats32('prompt_embeddings', [methodOptionsOf(settings, promptOptions).virtualTokens, outputs])]]),
};

/**
 * Trained keys and values in front of every text, for every layer: `methodOptions.virtualTokens` positions (default 20). They begin as
 * normal numbers of deviation 0.02. Li and Liang, https://arxiv.org/abs/2101.00190, without the network that makes them.
 */
export const prefixTuningTraining: TrainableMethod = {
  name: 'prefix-tuning',
  sites: ['virtual'],

  check(settings) {
    methodOptionsOf(settings, prefixOptions);
  },

  virtualPositions: (settings) => ({ count: methodOptionsOf(settings, prefixOptions).virtualTokens, as: 'keys' }),

  // Each row: keys, then values of the first layer, the same of the second, …
  parameters: async (settings, _, { cache }) => [
    {
      part: 'rows',
      shape: [methodOptionsOf(settings, prefixOptions).virtualTokens, 2 * cache.layers * cache.keyHeads * cache.width],
      initial: { kind: 'normal', deviation: 0.02 },
      trained: true,
    },
  ],

  prefix(_, { layer, width, parameter }) {
    const columns = (number: number) => parameter('rows').columns(number * width, (number + 1) * width);
    return { keys: columns(2 * layer), values: columns(2 * layer + 1) };
  },

  startsAtBase: () => false,

  config: (settings) =>
    configOf('PREFIX_TUNING', methodOptionsOf(settings, prefixOptions).virtualTokens, { token_dim: null, prefix_projection: false }),

  exportSite(settings, _, values) {
    const count = methodOptionsOf(settings, prefixOptions).virtualTokens;
    const rows = values('rows');
    return [{ name: 'prompt_embeddings', shape: [count, rows.length / count], data: rows }];
  },

  // How wide a row is, the parameter knows: what does not fit is refused where it is written.
  importSite: (_, __, tensors) => new Map([['rows', tensors.floats32('prompt_embeddings')]]),
};
