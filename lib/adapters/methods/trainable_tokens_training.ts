import { z } from 'zod';
import { OptionError } from '../../errors.js';
import type { Tensor } from '../../graph/tensor.js';
import { add, gatherRows, matmul, scale, scaleRows, scatterAddRows, swapAxes } from '../../ops/index.js';
import { type MethodSettings, moduleNames, type SiteGraph, type TrainableMethod } from '../trainable_method.js';
import { methodOptionsOf } from './trained_options.js';

const options = { tokens: z.array(z.number().int().min(0)).min(1) };

const tokensOf = (settings: MethodSettings): readonly number[] => methodOptionsOf(settings, options).tokens;

// The rows of chosen tokens instead of the base's.
function embedded(tokens: readonly number[], { site, x, base, table, parameter }: SiteGraph): Tensor {
  const key = `${site.inputs}: ${tokens.join(' ')}`;
  const index = table(`index of tokens ${key}`, 'i32', () => {
    const places = new Int32Array(site.inputs).fill(-1);
    tokens.forEach((token, i) => {
      places[token] = i;
    });
    return places;
  });
  const kept = table(`kept tokens ${key}`, 'f32', () => {
    const factors = new Float32Array(site.inputs).fill(1);
    for (const token of tokens) factors[token] = 0;
    return factors;
  });
  return add(scaleRows(base, gatherRows(kept, x)), gatherRows(parameter('rows'), gatherRows(index, x)));
}

// What the new rows add to the logits of their tokens.
function headed(tokens: readonly number[], { site, x, base, table, parameter }: SiteGraph): Tensor {
  const change = add(parameter('rows'), scale(parameter('before'), -1));
  const ids = table(`tokens ${tokens.join(' ')}`, 'i32', () => Int32Array.from(tokens));
  const added = scatterAddRows(matmul(change, x, { transposeB: true }), ids, site.outputs);
  return add(base, swapAxes(added));
}

/**
 * Trained rows of the embedding for the tokens `methodOptions.tokens`, which begin as the base's. An output layer that is tied to the
 * embedding has them too. Loads in PEFT as TRAINABLE_TOKENS.
 */
export const trainableTokensTraining: TrainableMethod = {
  name: 'trainable-tokens',
  sites: ['embedding'],
  sharesTiedWeights: true,

  check(settings) {
    const tokens = tokensOf(settings);
    const twice = tokens.find((token, i) => tokens.indexOf(token) !== i);
    if (twice !== undefined)
      throw new OptionError(`methodOptions.tokens has ${twice} more than once: expected each token once`, {
        option: 'tokens',
        actual: twice,
      });
  },

  async parameters(settings, site, base) {
    const tokens = tokensOf(settings);
    const beyond = tokens.find((token) => token >= site.inputs);
    if (beyond !== undefined)
      throw new OptionError(`methodOptions.tokens has ${beyond}: ${site.path} of ${base.name} has the tokens 0 to ${site.inputs - 1}`, {
        option: 'tokens',
        actual: beyond,
        expected: site.inputs - 1,
      });
    const values = new Float32Array(tokens.length * site.outputs);
    for (const [i, token] of tokens.entries()) values.set(await base.readRows(site, token, 1), i * site.outputs);
    const rows = { shape: [tokens.length, site.outputs], initial: { kind: 'given', values }, decays: false } as const;
    return [
      { ...rows, part: 'rows', trained: true },
      { ...rows, part: 'before', trained: false },
    ];
  },

  forward: (settings, at) => (at.site.kind === 'embedding' ? embedded : headed)(tokensOf(settings), at),

  startsAtBase: () => true,

  config: (settings, sites, all) => ({
    peft_type: 'TRAINABLE_TOKENS',
    task_type: 'CAUSAL_LM',
    target_modules: moduleNames(
      sites.filter(({ kind }) => kind === 'embedding'),
      all,
    ),
    token_indices: [...tokensOf(settings)],
    init_weights: true,
    inference_mode: true,
  }),

  exportSite: (settings, { outputs }, values) => [
    { name: 'trainable_tokens_delta', shape: [tokensOf(settings).length, outputs], data: values('rows') },
  ],

  importSite: (settings, { outputs }, tensors) =>
    new Map([['rows', tensors.floats32('trainable_tokens_delta', [tokensOf(settings).length, outputs])]]),
};
