// A model whose bf16 weights lie in 12 bits each: the same model in less memory.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { binding } from '../../lib/runtime/binding.js';
import { bitsOf, largestError } from '../models/fixture_files.js';
import { weightBytes } from './driving.js';

const story = join(import.meta.dirname, '../../examples/storyteller');
const text = 'It was a dark night, and the old house at the end of the road was not as empty as they had been told.';

describe.skipIf(!binding().compactPays())('compact weights', () => {
  let compact: Model, plain: Model;

  beforeAll(async () => {
    const options = { adapters: { poet: join(story, 'adapters/poet') }, precision: 'precise' as const, cacheDtype: 'f32' as const };
    [compact, plain] = await Promise.all([
      loadModel(join(story, 'base'), options),
      loadModel(join(story, 'base'), { ...options, compactWeights: false }),
    ]);
  });
  afterAll(() => {
    compact.dispose();
    plain.dispose();
  });

  const scores = async (model: Model, adapter?: string): Promise<readonly (number | null)[]> =>
    (await model.score({ text, adapter })).logprobs;

  it('takes less memory', () => {
    expect(compact.memory().weights).toBeLessThan(0.85 * plain.memory().weights);
  });

  it.each([undefined, 'poet'])('gives the same scores, adapter %s', async (adapter) => {
    expect(largestError(await scores(compact, adapter), (await scores(plain, adapter)).slice(1) as number[])).toBeLessThan(1e-4);
  });

  it('takes an adapter in, and lets go of it without a trace', async () => {
    const [bytes, bare, held] = [await weightBytes(compact), bitsOf(await scores(compact)), compact.memory().weights];
    await compact.adapters.merge('poet');
    await plain.adapters.merge('poet');
    expect(await weightBytes(compact)).not.toEqual(bytes);
    expect(compact.memory().weights).toBeLessThan(1.02 * held);
    expect(largestError(await scores(compact), (await scores(plain)).slice(1) as number[])).toBeLessThan(1e-4);
    await compact.adapters.unmerge();
    await plain.adapters.unmerge();
    expect(await weightBytes(compact)).toEqual(bytes);
    expect(compact.memory().weights).toBe(held);
    expect(bitsOf(await scores(compact))).toBe(bare);
  });
});
