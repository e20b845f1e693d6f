// Every trainable method from its beginning to the engine and back: attach, train, save, load, merge, unmerge.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { loadModel, type Model } from '../../lib/index.js';
import { loadTrainedAdapter, saveTrainedAdapter } from '../../lib/train/model_backend.js';
import { randomTokens, weightBytes } from '../engine/driving.js';
import { batchOfDocuments, meanLoss, type OneAdapter, steps, tinyLlama, trainOne } from './driving_training.js';
import { trainableCases } from './trainable_cases.js';

const documents = [randomTokens(23, 96, 1), randomTokens(17, 96, 2)];
const batch = batchOfDocuments(documents);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-life-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function scored(model: Model, adapter?: string): Promise<Float32Array> {
  const scores = await Promise.all(documents.map((tokens) => model.score({ tokens, adapter })));
  return Float32Array.from(scores.flatMap(({ logprobs }) => logprobs.slice(1) as number[]));
}

function expectNear(actual: Float32Array, wanted: Float32Array, tolerance: number, what: string): void {
  expect(actual.length).toBe(wanted.length);
  const worst = actual.reduce((most, value, i) => Math.max(most, Math.abs(value - (wanted[i] as number))), 0);
  expect(worst, what).toBeLessThanOrEqual(tolerance);
}

async function tensorsOf(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(join(path, 'adapter_model.safetensors'));
  const found = new Map<string, Float32Array>();
  for (const name of file.names()) found.set(name, new Float32Array(await file.read(name)));
  file.dispose();
  return found;
}

async function load(into: OneAdapter, path: string): Promise<void> {
  const file = await openSafetensors(join(path, 'adapter_model.safetensors'));
  await loadTrainedAdapter(into.runner, 'own', file, { adapter: 'own', base: 'base' });
  file.dispose();
}

describe.each(trainableCases)('$name', ({ name, options, rate, roundTrip = 0, startsWithin, refusesMerge, model: path = tinyLlama }) => {
  it('starts, learns, is saved, loaded and merged', { timeout: 120_000 }, async () => {
    const base = await loadModel(path);
    const bare = await scored(base);
    const saved = join(folder, name.replaceAll(/\W+/g, '-'));
    using own = await trainOne(options, [batch], path);
    const { method } = own.runner.adapterNamed('own').adapter;

    const before = (await own.runner.evaluate(batch)).logprobs;
    const within = method.startsAtBase(own.settings) ? 2e-5 : startsWithin;
    if (within !== undefined) expectNear(before, bare, within, 'log-probabilities at the beginning');
    else expect(before.some((v, i) => Math.abs(v - (bare[i] as number)) > 1e-4)).toBe(true);

    await steps(own, batch, 20, rate);
    const after = (await own.runner.evaluate(batch)).logprobs;
    expect(meanLoss(after)).toBeLessThan(meanLoss(before) - 0.05);

    await saveTrainedAdapter(own.runner, 'own', saved, { base: path });
    await base.adapters.load('own', saved);
    const loaded = await scored(base, 'own');
    expectNear(loaded, after, 2e-5, 'log-probabilities in the engine');

    using again = await trainOne({ ...options, seed: 5 }, [batch], path);
    await load(again, saved);
    expectNear((await again.runner.evaluate(batch)).logprobs, after, 2e-5, 'log-probabilities after reading');
    await saveTrainedAdapter(again.runner, 'own', `${saved}-again`, { base: path });
    if (roundTrip === 0)
      expect(await readFile(join(`${saved}-again`, 'adapter_model.safetensors'))).toEqual(
        await readFile(join(saved, 'adapter_model.safetensors')),
      );
    const wanted = await tensorsOf(saved);
    for (const [tensor, values] of await tensorsOf(`${saved}-again`)) {
      const from = wanted.get(tensor) as Float32Array;
      const largest = from.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expectNear(values, from, roundTrip * largest, tensor);
    }

    const bytes = await weightBytes(base);
    if (refusesMerge !== undefined) {
      await expect(base.adapters.merge('own')).rejects.toThrow(refusesMerge);
    } else {
      await base.adapters.merge('own');
      expectNear(await scored(base), loaded, 5e-5, 'log-probabilities when merged');
      await base.adapters.unmerge();
    }
    expect(await weightBytes(base)).toEqual(bytes);
    expect(await scored(base)).toEqual(bare);
    base.dispose();
  });
});
