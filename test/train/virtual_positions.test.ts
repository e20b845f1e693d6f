// Positions in front of documents: where they stand in a batch, beside other adapters, and in parts.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { placeBatch } from '../../lib/train/model/virtual_positions.js';
import { createStepRunner } from '../../lib/train/model_backend.js';
import { parseTrainOptions, type TrainOptions } from '../../lib/train/options.js';
import type { TrainingMicroBatch } from '../../lib/train/step_runner.js';
import { randomTokens } from '../engine/driving.ts';
import { batchOfDocuments, fixtureModel, tinyLlama } from './driving_training.ts';

describe('placeBatch', () => {
  const batch = {
    ...batchOfDocuments([
      [3, 4, 5],
      [6, 7],
      [8, 9, 10, 11],
    ]),
    index: Int32Array.of(0, 0, 0, 1, 1, 2, 2, 2, 2),
  };
  const positions = new Map([
    [0, { count: 2, as: 'tokens' }],
    [2, { count: 5, as: 'keys' }],
  ] as const);

  it('puts virtual tokens in front and moves what follows', () => {
    const [part, ...others] = placeBatch(batch, positions, 100);
    expect(others).toEqual([]);
    expect([...(part?.tokens ?? [])]).toEqual([-1, -1, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect([...(part?.virtualTokens ?? [])]).toEqual([0, 1, -1, -1, -1, -1, -1, -1, -1, -1, -1]);
    expect([...(part?.positions ?? [])]).toEqual([0, 1, 2, 3, 4, 0, 1, 5, 6, 7, 8]);
    expect([...(part?.first ?? [])]).toEqual([0, 0, 0, 0, 0, 5, 5, 7, 7, 7, 7]);
    expect([...(part?.index ?? [])]).toEqual([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2]);
    expect([...(part?.rows ?? [])]).toEqual([2, 3, 5, 7, 8, 9]);
    expect(part?.targets).toEqual(batch.targets);
  });

  it('cuts between documents where there is no room', () => {
    const parts = placeBatch(batch, positions, 7);
    expect(parts.map(({ tokens }) => [...tokens])).toEqual([
      [-1, -1, 3, 4, 5, 6, 7],
      [8, 9, 10, 11],
    ]);
    expect(parts.map(({ rows }) => [...rows])).toEqual([
      [2, 3, 5],
      [0, 1, 2],
    ]);
    expect(parts.flatMap(({ targets }) => [...targets])).toEqual([...batch.targets]);
    expect(parts.map(({ first }) => [...first])).toEqual([
      [0, 0, 0, 0, 0, 5, 5],
      [0, 0, 0, 0],
    ]);
  });

  it('changes nothing without them', () => {
    const [part] = placeBatch(batch, new Map(), 1);
    expect(part).toEqual({ ...batch, virtualTokens: new Int32Array(9).fill(-1) });
  });
});

type Adapters = NonNullable<TrainOptions['adapters']>;

async function runnerOf(adapters: Adapters, maxTokens: number, model = tinyLlama) {
  const folder = await openHuggingFaceFolder(model);
  const settings = parseTrainOptions({ model, output: '/nowhere', data: 'unused', adapters });
  const runner = await createStepRunner(folder, {
    adapters: [...settings.adapters].map(([name, own]) => ({ name, settings: own })),
    settings,
    maxTokens,
    maxRows: maxTokens,
  });
  const gradients = async (name: string): Promise<Map<string, Float32Array>> => {
    const { adapter, read } = runner.adapterNamed(name);
    const found = new Map<string, Float32Array>();
    for (const { path, spec } of adapter.stored.parameters)
      if (spec.trained) found.set(`${path} ${spec.part}`, (await read(path, 'gradients')).get(spec.part) as Float32Array);
    return found;
  };
  const dispose = (): void => {
    runner.dispose();
    folder.dispose();
  };
  return { runner, gradients, [Symbol.dispose]: dispose };
}

function expectNear(actual: Float32Array, wanted: Float32Array, relative: number, what: string): void {
  expect(actual.length).toBe(wanted.length);
  const norm = Math.hypot(...wanted);
  expect(norm, what).toBeGreaterThan(0);
  expect(Math.hypot(...actual.map((v, i) => v - (wanted[i] as number))), what).toBeLessThanOrEqual(relative * norm);
}

const all: Adapters = {
  prompt: { method: 'prompt-tuning', methodOptions: { virtualTokens: 4 } },
  lora: { method: 'lora', rank: 2, init: 'pissa', targetModules: ['q_proj', 'v_proj'] },
  prefix: { method: 'prefix-tuning', methodOptions: { virtualTokens: 3 } },
  tokens: {
    method: 'trainable-tokens',
    methodOptions: {
      tokens: randomTokens(12, 96, 3)
        .slice(0, 4)
        .filter((t, i, list) => list.indexOf(t) === i),
    },
  },
  ia3: { method: 'ia3', targetModules: ['k_proj', 'down_proj'] },
  otherPrefix: { method: 'prefix-tuning', methodOptions: { virtualTokens: 6 } },
  otherPrompt: { method: 'prompt-tuning', init: 'random', methodOptions: { virtualTokens: 1 } },
};

describe.each(['llama', 'mistral-window'])('adapters beside each other on %s', (model) => {
  const documents = Object.keys(all).flatMap((_, slot) => [
    { slot, tokens: randomTokens(12, 96, slot + 1) },
    { slot, tokens: randomTokens(5 + slot, 96, 50 + slot) },
  ]);
  // Neighbours in the batch are of different adapters.
  const order = [...documents.filter((_, i) => i % 2 === 0), ...documents.filter((_, i) => i % 2 === 1)];
  const ofAll = (): TrainingMicroBatch => {
    const batch = batchOfDocuments(order.map(({ tokens }) => tokens));
    const index = Int32Array.from(order.flatMap(({ slot, tokens }) => tokens.map(() => slot)));
    return { ...batch, index, rowAdapter: Int32Array.from(batch.rows, (row) => index[row] as number) };
  };
  let together: Awaited<ReturnType<typeof runnerOf>>;
  beforeAll(async () => {
    together = await runnerOf(all, 256, fixtureModel(model));
    await together.runner.accumulate(ofAll());
  });
  afterAll(() => together[Symbol.dispose]());

  it.each(Object.keys(all))('%s has the losses and gradients that it has alone', async (name) => {
    const slot = Object.keys(all).indexOf(name);
    using alone = await runnerOf({ [name]: all[name] as Adapters[string] }, 256, fixtureModel(model));
    const batch = batchOfDocuments(order.filter((document) => document.slot === slot).map(({ tokens }) => tokens));
    const mixed = ofAll();
    const { logprobs } = await alone.runner.accumulate({ ...batch, rowWeight: batch.rowWeight.fill(mixed.rowWeight[0] as number) });
    const mine = (await together.runner.evaluate(mixed)).logprobs.filter((_, row) => mixed.rowAdapter[row] === slot);
    expectNear(mine, logprobs, 1e-6, 'log-probabilities');
    const wanted = await alone.gradients(name);
    for (const [part, gradient] of await together.gradients(name)) expectNear(gradient, wanted.get(part) as Float32Array, 1e-5, part);
  });
});

it('a batch that needs more room than there is gives the sums of its documents', async () => {
  const adapters: Adapters = { own: { method: 'prompt-tuning', methodOptions: { virtualTokens: 9 } } };
  const documents = Array.from({ length: 13 }, (_, i) => randomTokens(2 + (i % 3), 96, i + 1));
  const batch = batchOfDocuments(documents);
  using parts = await runnerOf(adapters, batch.tokens.length);
  using whole = await runnerOf(adapters, 256);
  const actual = await parts.runner.accumulate(batch);
  const wanted = await whole.runner.accumulate(batch);
  expectNear(actual.logprobs, wanted.logprobs, 1e-6, 'log-probabilities');
  const gradient = (await parts.gradients('own')).get('virtual_tokens rows') as Float32Array;
  expectNear(gradient, (await whole.gradients('own')).get('virtual_tokens rows') as Float32Array, 1e-5, 'gradient');
});
