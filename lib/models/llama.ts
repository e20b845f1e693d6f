import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Llama 2 and 3. Touvron et al., https://arxiv.org/abs/2307.09288; Grattafiori et al., https://arxiv.org/abs/2407.21783. */
export const llama: Architecture = {
  modelType: 'llama',
  build: (b, c) => decoder(b, c, { queryKeyValueBias: c.attentionBias, outputBias: c.attentionBias, feedForwardBias: c.mlpBias }),
};
