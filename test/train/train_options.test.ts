import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import { train } from '../../lib/train/train.js';
import { trainJsonSchema } from '../../lib/train/train_schema.js';

const least = { model: 'm', output: 'out', data: 'a.txt' };

describe('parseTrainOptions', () => {
  it('fills in defaults', () => {
    const { adapters, many, ...settings } = parseTrainOptions(least);
    expect(many).toBe(false);
    expect(settings).toMatchObject({ batchTokens: 1024, saveEvery: 100, seed: 0, recompute: 'cheap' });
    expect([...adapters.keys()]).toEqual(['adapter']);
    expect(adapters.get('adapter')).toMatchObject({
      method: 'lora',
      rank: 16,
      alpha: 32,
      optimiser: 'adamw',
      learningRate: 2e-4,
      schedule: { kind: 'cosine', warmup: 0.03, floor: 0 },
      epochs: 1,
    });
  });

  it('gives each adapter what it says itself, and else what is said for all', () => {
    const { adapters, many } = parseTrainOptions({
      ...least,
      rank: 8,
      seed: 3,
      schedule: 'linear',
      adapters: { a: {}, b: { data: { files: ['b.jsonl'], seed: 9 }, rank: 2, alpha: 5, schedule: { floor: 0.1 }, warmup: 7 } },
    });
    expect(many).toBe(true);
    expect(adapters.get('a')).toMatchObject({
      rank: 8,
      alpha: 16,
      data: { files: ['a.txt'], seed: 3 },
      schedule: { kind: 'linear', warmup: 0.03 },
    });
    expect(adapters.get('b')).toMatchObject({
      rank: 2,
      alpha: 5,
      data: { files: ['b.jsonl'], seed: 9 },
      schedule: { kind: 'cosine', warmup: 7, floor: 0.1 },
    });
  });

  const refusals: [name: string, options: Record<string, unknown>, message: RegExp][] = [
    ['a typing mistake', { ...least, learnignRate: 1 }, /^train has no option 'learnignRate': did you mean 'learningRate'\?$/],
    [
      'one in the data',
      { ...least, data: { files: 'x', batchsize: 1 } },
      /^train\.data has no option 'batchsize': did you mean 'batchSize'\?$/,
    ],
    ['one in an adapter', { ...least, adapters: { a: { rnk: 1 } } }, /^train\.adapters\.a has no option 'rnk': did you mean 'rank'\?$/],
    ['one in the samples', { ...least, samples: { promts: ['x'] } }, /^train\.samples has no option 'promts': did you mean 'prompts'\?$/],
    ['no data', { model: 'm', output: 'o' }, /^train\.data is missing/],
    ['no data of an adapter', { model: 'm', output: 'o', adapters: { a: {} } }, /^train\.adapters\.a\.data is missing/],
    ['no adapter', { ...least, adapters: {} }, /^train\.adapters is empty/],
    ['a name beside adapters', { ...least, name: 'x', adapters: { a: {} } }, /^train\.name is 'x'/],
    ['a name with a path', { ...least, adapters: { '../a': {} } }, /^train\.adapters has the key '\.\.\/a': expected 1 to 128 letters/],
    ['a name that begins with a dash', { ...least, adapters: { '-x': {} } }, /with a letter, a digit or '_' at the beginning$/],
    ['a rank of nothing', { ...least, rank: 0 }, /^train\.rank is 0: /],
    ['a rate below 0', { ...least, learningRate: -1 }, /^train\.learningRate is -1: /],
    ['a schedule that does not exist', { ...least, schedule: 'cosin' }, /^train\.schedule is "cosin"/],
    ['no model', { output: 'o', data: 'x' }, /^train\.model is undefined/],
  ];
  it.each(refusals)('refuses %s', (_, options, message) => {
    expect(() => parseTrainOptions(options)).toThrow(OptionError);
    expect(() => parseTrainOptions(options)).toThrow(message);
  });
});

describe('the published schema', () => {
  const published = JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/train.schema.json'), 'utf8')) as Record<string, unknown>;

  it('is that of the options: heddle train --print-schema > docs/train.schema.json', () => {
    expect(published).toEqual(JSON.parse(JSON.stringify(trainJsonSchema())));
  });

  it('says what each option is', () => {
    const properties = published.properties as Record<string, { description?: string; additionalProperties?: { properties?: object } }>;
    for (const name of ['model', 'output', 'data', 'method', 'rank', 'learningRate', 'adapters', 'steps'])
      expect(properties[name]?.description, name).toMatch(/\w/);
    expect(published.required).toEqual(['model', 'output']);
    expect(published.additionalProperties).toBe(false);
    expect(Object.keys(properties.adapters?.additionalProperties?.properties ?? {})).toContain('rank');
  });
});

describe('train', () => {
  it.each([
    [undefined, /^train is undefined: /],
    [5, /^train is 5: /],
    [{ ...least, signal: {} }, /^train\.signal is \{\}: expected an AbortSignal$/],
    [{ ...least, onEvent: 'loud' }, /^train\.onEvent is "loud": expected a function$/],
  ])('refuses %j', async (options, message) => {
    const refused = train(options as never);
    await expect(refused).rejects.toBeInstanceOf(OptionError);
    await expect(refused).rejects.toThrow(message);
  });
});
