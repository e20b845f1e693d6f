// Decode steps in a few sizes: what is drawn does not change.
import { afterEach, describe, expect, it } from 'vitest';
import { bucketOf } from '../../lib/engine/decode_buckets.js';
import { type Completion, type GenerateRequest, loadModel } from '../../lib/index.js';
import { adapterFolder, modelFolder } from '../models/fixture_files.js';
import { randomTokens } from './driving.js';

describe('bucketOf', () => {
  it('is the next size of a short list, never below the count and never beyond the limit', () => {
    const sizes = [1, 2, 3, 4, 5, 8, 9, 16, 17, 24, 25, 33, 49, 65, 97, 129, 200];
    expect(sizes.map((count) => bucketOf(count, 1000))).toEqual([1, 2, 4, 4, 8, 8, 16, 16, 24, 24, 32, 48, 64, 96, 128, 192, 256]);
    expect(bucketOf(5, 6)).toBe(6);
    for (let count = 1; count <= 300; count++) expect(bucketOf(count, 300)).toBeGreaterThanOrEqual(count);
  });

  it('has few sizes', () => {
    expect(new Set(Array.from({ length: 512 }, (_, i) => bucketOf(i + 1, 512))).size).toBe(15);
  });
});

describe('padded decode steps', () => {
  const before = process.env.HEDDLE_DECODE_PADDING;
  afterEach(() => {
    if (before === undefined) delete process.env.HEDDLE_DECODE_PADDING;
    else process.env.HEDDLE_DECODE_PADDING = before;
  });

  const adapters = { plain: adapterFolder('lora'), dora: adapterFolder('lora-dora'), prefix: adapterFolder('prefix-tuning') };
  const requests: GenerateRequest[] = [
    { tokens: randomTokens(3, 256, 1), maxTokens: 30, temperature: 0, ignoreEos: true },
    { tokens: randomTokens(17, 256, 2), maxTokens: 21, seed: 7, adapter: 'plain', topLogprobs: 3 },
    { tokens: randomTokens(40, 256, 3), maxTokens: 9, seed: 8, adapter: ['plain', { name: 'dora', scale: 0.5 }], stopTokens: [4, 5, 6] },
    { tokens: randomTokens(5, 256, 4), maxTokens: 40, seed: 9, adapter: 'prefix', logitBias: { 7: 2, 8: -1, 9: 1.5 }, topLogprobs: 5 },
    { tokens: randomTokens(9, 256, 5), maxTokens: 33, seed: 10, repetitionPenalty: 1.2, presencePenalty: 0.3, adapter: 'dora' },
  ];

  async function answers(padding: '0' | '1', maxRequests?: number): Promise<Completion[]> {
    process.env.HEDDLE_DECODE_PADDING = padding;
    using model = await loadModel(modelFolder('llama'), { adapters, device: 'cpu', ...(maxRequests && { maxRequests }) });
    return await model.generateBatch(requests);
  }

  it('give the same tokens and the same bits of their log-probabilities', async () => {
    expect(await answers('1')).toEqual(await answers('0'));
  });

  it('stay within maxRequests', async () => {
    expect(await answers('1', 3)).toEqual(await answers('0', 3));
  });
});
