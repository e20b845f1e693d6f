import type { AdapterMethod } from '../method.js';

const name = /^(.+)\.ln_tuning_layers(?:\.([^.]+))?\.(weight|bias)$/;

/** Norms of its own. Zhao et al., https://arxiv.org/abs/2312.11420. */
export const lnTuning: AdapterMethod = {
  peftType: 'LN_TUNING',
  sites: ['norm'],
  readConfig: () => ({}),
  identity: () => undefined,

  split(tensor) {
    const found = name.exec(tensor);
    return found ? { module: found[1] as string, part: found[3] as string, adapterName: found[2] } : undefined;
  },

  describe: () => 'LN tuning',
  measure: () => undefined,
  read: (_, { site }, parts) => ({
    kind: 'norm',
    weight: parts.floats('weight', [site.outputs]),
    bias: parts.has('bias') ? parts.floats('bias', [site.outputs]) : undefined,
  }),
};
