import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Gemma 3, text only: Gemma 2 with head norms instead of capped scores, and a rotary base of its own for sliding layers. Gemma Team, https://arxiv.org/abs/2503.19786. */
export const gemma3: Architecture = {
  modelType: 'gemma3_text',
  build: (b, c) =>
    decoder(b, c, {
      headNorms: true,
      sandwichNorms: true,
      normWeightOffset: 1,
      scaledEmbeddings: true,
      queryKeyValueBias: c.attentionBias,
      outputBias: c.attentionBias,
    }),
};
