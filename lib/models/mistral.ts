import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Mistral: Llama with a sliding window. Jiang et al., https://arxiv.org/abs/2310.06825. */
export const mistral: Architecture = {
  modelType: 'mistral',
  build: (b, c) => decoder(b, c, {}),
};
