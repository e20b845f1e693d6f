import type { Architecture } from './architecture.js';
import { decoder } from './parts/decoder.js';

/** Qwen2 and 2.5: Llama with biases on q, k and v. Yang et al., https://arxiv.org/abs/2407.10671. */
export const qwen2: Architecture = {
  modelType: 'qwen2',
  build: (b, c) => decoder(b, c, { queryKeyValueBias: true }),
};
