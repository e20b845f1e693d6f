import type { AdapterMethod, PrefixKeysValues } from '../method.js';
import { toFloat32 } from '../rows.js';
import { promptEmbeddings } from './prompt_tuning.js';

/** Trained keys and values in front of the text, for every layer. Li and Liang, https://arxiv.org/abs/2101.00190. */
export const prefixTuning: AdapterMethod<{ tokens: number }> = {
  ...promptEmbeddings,
  peftType: 'PREFIX_TUNING',
  describe: () => 'prefix tuning',

  // Each row: keys, then values of the first layer, the same of the second, …
  read({ tokens }, { cache }, parts): PrefixKeysValues {
    const width = cache.keyHeads * cache.width;
    const { dtype, data } = parts.floats('prompt_embeddings', [tokens, 2 * cache.layers * width]);
    const all = toFloat32(dtype, data);
    const columns = (number: number): Float32Array => {
      const part = new Float32Array(tokens * width);
      for (let t = 0; t < tokens; t++) part.set(all.subarray((t * 2 * cache.layers + number) * width).subarray(0, width), t * width);
      return part;
    };
    const layers = Array.from({ length: cache.layers }, (_, layer) => ({ keys: columns(2 * layer), values: columns(2 * layer + 1) }));
    return { kind: 'prefix', tokens, layers };
  },
};
