import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Gemma 2: norms on both sides, alternating sliding windows, capped scores and logits. Gemma Team, https://arxiv.org/abs/2408.00118. */
export const gemma2: Architecture = {
  modelType: 'gemma2',
  build: (b, c) =>
    decoder(b, c, {
      sandwichNorms: true,
      normWeightOffset: 1,
      scaledEmbeddings: true,
      queryKeyValueBias: c.attentionBias,
      outputBias: c.attentionBias,
    }),
};
