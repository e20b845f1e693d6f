import type { PrefixKeysValues } from '../adapters/method.js';
import { numberToBf16, numberToF16 } from '../adapters/narrow.js';
import type { CacheLayout } from '../models/serving_paths.js';
import { blockTokens } from '../ops/index.js';

/** Pages of a cache that hold given keys and values at positions 0.., zeros behind them. As in native/kernels/attention/attention_layout.h. */
export function prefixPages({ tokens, layers }: PrefixKeysValues, layout: CacheLayout): Uint8Array[] {
  const { keyHeads, width, layerOffsets, pageBytes, dtype } = layout;
  const elements = 2 * keyHeads * width * blockTokens;
  return Array.from({ length: Math.ceil(tokens / blockTokens) }, (_, block) => {
    const page = new Uint8Array(pageBytes);
    layers.forEach(({ keys, values }, layer) => {
      const part = new Float32Array(elements);
      for (let slot = 0; slot < Math.min(blockTokens, tokens - block * blockTokens); slot++)
        for (let head = 0; head < keyHeads; head++)
          for (let channel = 0; channel < width; channel++) {
            const from = ((block * blockTokens + slot) * keyHeads + head) * width + channel;
            part[(head * width + channel) * blockTokens + slot] = keys[from] as number;
            part[keyHeads * width * blockTokens + (head * blockTokens + slot) * width + channel] = values[from] as number;
          }
      const stored = dtype === 'f32' ? part : Uint16Array.from(part, dtype === 'f16' ? numberToF16 : numberToBf16);
      page.set(new Uint8Array(stored.buffer), layerOffsets[layer] as number);
    });
    return page;
  });
}
