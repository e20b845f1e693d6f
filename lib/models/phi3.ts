import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Phi-3: Llama with fused projections. Abdin et al., https://arxiv.org/abs/2404.14219. */
export const phi3: Architecture = {
  modelType: 'phi3',
  build: (b, c) => decoder(b, c, { fusedProjections: true }),
};
