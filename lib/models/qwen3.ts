import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Qwen3: Llama with norms over each head of q and k. Yang et al., https://arxiv.org/abs/2505.09388. */
export const qwen3: Architecture = {
  modelType: 'qwen3',
  build: (b, c) => decoder(b, c, { headNorms: true, queryKeyValueBias: c.attentionBias, outputBias: c.attentionBias }),
};
