// Parts of trainable methods beside the life cycle: where SHiRA's numbers stand, what is refused.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdapterBase, SiteShape } from '../../lib/adapters/method.js';
import { largestPlaces } from '../../lib/adapters/methods/largest_places.js';
import { shiraTraining } from '../../lib/adapters/methods/shira_training.js';
import type { MethodSettings } from '../../lib/adapters/trainable_method.js';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { OptionError } from '../../lib/errors.js';
import { randomNormal } from '../kernels/numbers.ts';
import { batchOfDocuments, trainOne } from './driving_training.ts';

const settingsOf = (more: Partial<MethodSettings>): MethodSettings => ({
  ...{ rank: 4, alpha: 4, rsLora: false, loraPlusRatio: 1, init: undefined, targetModules: 'all-linear', methodOptions: {} },
  ...more,
});
const siteOf = (outputs: number, inputs: number): SiteShape => ({
  ...{ path: 'a.b', kind: 'linear', inputs, outputs, number: 0, weight: 'a.b.weight', transposed: false, bias: false },
});
const baseOf = (values: Float32Array, width: number) =>
  ({
    name: 'base',
    readRows: async (_: SiteShape, first: number, count: number) => values.subarray(first * width, (first + count) * width),
  }) as unknown as AdapterBase;

describe('places of SHiRA', () => {
  it('are those that PEFT draws with the same seed', async () => {
    const file = await openSafetensors(join(import.meta.dirname, '../fixtures/adapters/shira/adapter_model.safetensors'));
    for (const [module, outputs] of [
      ['q_proj', 48],
      ['v_proj', 24],
    ] as const) {
      const indices = new Int32Array(await file.read(`base_model.model.model.layers.0.self_attn.${module}.shira_indices`));
      const count = indices.length / 2;
      const settings = settingsOf({ rank: 4, methodOptions: { seed: 5 } });
      const specs = await shiraTraining.parameters(settings, siteOf(outputs, 48), baseOf(new Float32Array(0), 48));
      const given = new Map(specs.map(({ part, initial }) => [part, initial.kind === 'given' ? initial.values : new Float32Array(count)]));
      const [, drawn] = shiraTraining.exportSite(settings, siteOf(outputs, 48), (part) => given.get(part) as Float32Array);
      const pairs = (list: ArrayLike<number>): string[] => Array.from({ length: count }, (_, i) => `${list[i]},${list[count + i]}`).sort();
      expect(drawn?.shape).toEqual([2, count]);
      expect(pairs(drawn?.data as Int32Array)).toEqual(pairs(indices));
    }
    file.dispose();
  });

  it.each([1, 2, 40, 77, 17 * 9])('of the %i largest entries', async (count) => {
    const values = Float32Array.from(randomNormal(17 * 9, 4), (v, i) => (i % 5 === 0 ? -0.5 : v * 10 ** ((i % 7) - 3)));
    const order = Array.from(values.keys()).sort((a, b) => Math.abs(values[b] as number) - Math.abs(values[a] as number) || a - b);
    expect([...(await largestPlaces(baseOf(values, 9), siteOf(17, 9), count))]).toEqual(order.slice(0, count).sort((a, b) => a - b));
  });

  it('are at most as many as the weight has entries', async () => {
    await expect(shiraTraining.parameters(settingsOf({ rank: 4 }), siteOf(5, 7), baseOf(new Float32Array(35), 7))).rejects.toThrow(
      /rank is 4: a\.b is 5 x 7 and has no 48 entries: expected at most 2/,
    );
  });
});

describe('options that do not fit', () => {
  const batch = batchOfDocuments([[3, 4, 5]]);
  it.each([
    [
      'a token that the model lacks',
      { method: 'trainable-tokens', methodOptions: { tokens: [3, 100_000] } },
      /has 100000: model\.embed_tokens/,
    ],
    ['a token that is named twice', { method: 'trainable-tokens', methodOptions: { tokens: [3, 3] } }, /has 3 more than once/],
    ['no tokens', { method: 'trainable-tokens' }, /methodOptions\.tokens/],
    ['an unknown mask', { method: 'shira', methodOptions: { mask: 'snip' } }, /methodOptions\.mask is "snip"/],
    ['an option that is none', { method: 'bitfit', methodOptions: { size: 3 } }, /methodOptions has no option 'size'/],
    [
      'linear modules for a method of norms',
      { method: 'ln-tuning', targetModules: ['q_proj'] },
      /names no module of .* that ln-tuning can change/,
    ],
  ])('%s', async (_, options, message) => {
    const made = trainOne(options, [batch]);
    await expect(made).rejects.toThrow(message);
    await expect(made).rejects.toBeInstanceOf(OptionError);
  });
});
