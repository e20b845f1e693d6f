import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { tensorRows } from '../rows.js';

const schema = z.looseObject({ token_indices: z.array(z.number().int().min(0)) });

/** Rows of its own for some tokens of the embedding, and of an output layer that is tied to it. */
export const trainableTokens: AdapterMethod<{ tokens: readonly number[] }> = {
  peftType: 'TRAINABLE_TOKENS',
  sites: ['embedding', 'linear'],
  sharesTiedWeights: true,
  readConfig: (raw, adapter) => ({ tokens: readMethodOptions(schema, raw, adapter).token_indices }),
  identity: (config) => config,
  split: partNames(['trainable_tokens_delta']),
  describe: () => 'trainable tokens',
  measure: () => undefined,

  read({ tokens }, { adapter, base, site }, parts) {
    const [count, width] = site.kind === 'embedding' ? [site.inputs, site.outputs] : [site.outputs, site.inputs];
    const beyond = tokens.find((token) => token >= count);
    if (beyond !== undefined)
      throw new AdapterError(`${adapter} does not fit ${base}: token_indices has ${beyond}, but ${site.path} has ${count} tokens`, {
        option: 'token_indices',
        actual: beyond,
        expected: count - 1,
        base,
      });
    // Of a token that is named twice the last row counts.
    const last = [...new Map(tokens.map((token, i) => [token, i]))];
    const { dtype, data } = tensorRows(parts.floats('trainable_tokens_delta', [tokens.length, width]));
    const chosen = new (data.constructor as new (length: number) => typeof data)(last.length * width);
    last.forEach(([, i], at) => {
      chosen.set(data.subarray(i * width, (i + 1) * width), at * width);
    });
    return {
      kind: 'rows',
      ids: Int32Array.from(last, ([token]) => token),
      rows: { dtype, count: last.length, width, data: chosen },
    };
  },
};
