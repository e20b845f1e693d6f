// Parts of trainable methods beside the life cycle: where SHiRA's numbers stand, what is refused.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { AdapterBase, SiteShape } from '../../lib/adapters/method.js';
import { bottleneckTraining } from '../../lib/adapters/methods/bottleneck_training.js';
import { largestPlaces } from '../../lib/adapters/methods/largest_places.js';
import { shiraTraining } from '../../lib/adapters/methods/shira_training.js';
import { readPeftConfig } from '../../lib/adapters/peft_adapter.js';
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

describe('SHiRA', () => {
  it('reaches ranks that factors of as many numbers do not', async () => {
    const site = siteOf(40, 36);
    const rank = 3;
    const specs = await shiraTraining.parameters(settingsOf({ rank }), site, baseOf(new Float32Array(0), 36));
    const random = Float32Array.from(randomNormal(rank * 76, 8));
    const given = new Map(specs.map(({ part, initial }) => [part, initial.kind === 'given' ? initial.values : random]));
    const [weight, indices] = shiraTraining.exportSite(settingsOf({ rank }), site, (part) => given.get(part) as Float32Array);
    expect(weight?.data.length).toBe(rank * (site.inputs + site.outputs));
    const matrix = Array.from({ length: 40 }, () => new Float64Array(36));
    weight?.data.forEach((value, i) => {
      (matrix[indices?.data[i] as number] as Float64Array)[indices?.data[random.length + i] as number] = value;
    });
    expect(rankOf(matrix)).toBeGreaterThan(2 * rank);
  });
});

/** By elimination with the largest pivot. */
function rankOf(rows: Float64Array[]): number {
  let rank = 0;
  for (let column = 0; column < (rows[0] as Float64Array).length && rank < rows.length; column++) {
    const size = (row: Float64Array): number => Math.abs(row[column] as number);
    const best = rows.slice(rank).reduce((at, row, i) => (size(row) > size(rows[at] as Float64Array) ? rank + i : at), rank);
    const pivot = rows[best] as Float64Array;
    if (size(pivot) < 1e-9) continue;
    rows[best] = rows[rank] as Float64Array;
    rows[rank++] = pivot;
    for (const row of rows.slice(rank)) {
      const factor = (row[column] as number) / (pivot[column] as number);
      for (let i = column; i < row.length; i++) row[i] = (row[i] as number) - factor * (pivot[i] as number);
    }
  }
  return rank;
}

describe('bottlenecks', () => {
  const site = siteOf(10, 7);
  it.each([
    ['parallel', 5 * (7 + 10)],
    ['series', 5 * (10 + 10)],
  ])('in %s have %i parameters', async (mode, count) => {
    const settings = settingsOf({ rank: 2, methodOptions: { mode, size: 5 } });
    const specs = await bottleneckTraining.parameters(settings, site, baseOf(new Float32Array(70), 7));
    expect(specs.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)).toBe(count);
    const tensors = bottleneckTraining.exportSite(settings, site, (part) => {
      const { shape } = specs.find((spec) => spec.part === part) as (typeof specs)[number];
      return new Float32Array(shape.reduce((a, b) => a * b, 1));
    });
    expect(tensors.map(({ name, shape }) => [name, shape])).toEqual([
      ['adapter_down.weight', [5, mode === 'series' ? 10 : 7]],
      ['adapter_up.weight', [10, 5]],
    ]);
  });

  const written = { peft_type: 'BOTTLENECK', bottleneck_size: 4, non_linearity: 'tanh', use_parallel_adapter: true, scaling: '2.0' };
  it('are read as LLM-Adapters writes them', () => {
    expect(readPeftConfig(written, 'a').options).toEqual({ size: 4, activation: 'tanh', scale: 2, mode: 'parallel' });
    expect(readPeftConfig({ ...written, use_parallel_adapter: undefined }, 'a').options).toMatchObject({ mode: 'series' });
  });

  it.each([
    [{ non_linearity: 'softplus' }, /a: non_linearity is "softplus"/],
    [{ bias: 'all' }, /a: bias is "all": supported is 'none'/],
    [{ scaling: 'large' }, /a: scaling is "large"/],
    [{ bottleneck_size: 0 }, /a: bottleneck_size is 0/],
  ])('%j is refused', (change, message) => {
    expect(() => readPeftConfig({ ...written, ...change }, 'a')).toThrow(message);
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
    ['an unknown function', { method: 'bottleneck', methodOptions: { activation: 'softplus' } }, /methodOptions\.activation is "softplus"/],
    ['an unknown start', { method: 'prompt-tuning', init: 'text' }, /init is 'text': expected vocabulary, random/],
    [
      'more virtual tokens to begin with than the model has',
      { method: 'prompt-tuning', methodOptions: { virtualTokens: 60_000 } },
      /virtualTokens is 60000/,
    ],
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
