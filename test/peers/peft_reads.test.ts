// Every trained adapter as PEFT itself reads it. Runs where HEDDLE_PEFT_PYTHON names a Python that has peft.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel } from '../../lib/index.js';
import { saveTrainedAdapter } from '../../lib/train/model_backend.js';
import { randomTokens } from '../engine/driving.js';
import { batchOfDocuments, steps, tinyLlama, trainOne } from '../train/driving_training.js';
import { trainableCases } from '../train/trainable_cases.js';
import { type PeftAnswer, peftPython, readByPeft } from './peft_process.js';

const documents = [randomTokens(23, 96, 1), randomTokens(17, 96, 2)];
const batch = batchOfDocuments(documents);

/** float32 arithmetic on both sides where PEFT keeps to it. */
const tolerance = 2e-5;

describe.skipIf(peftPython === undefined)('PEFT reads what was trained', () => {
  let folder: string;
  const trained = new Map<string, Float32Array>();
  const read = new Map<string, PeftAnswer>();

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'heddle-peft-'));
    const requests = [];
    for (const [i, { name, options, rate, model: base = tinyLlama }] of trainableCases.entries()) {
      const adapter = join(folder, String(i));
      using own = await trainOne(options, [batch], base);
      await steps(own, batch, 20, rate);
      await saveTrainedAdapter(own.runner, 'own', adapter, { base });
      trained.set(name, await scored(base, adapter));
      requests.push({ base, adapter, documents });
    }
    const answers = await readByPeft(requests);
    for (const [i, { name }] of trainableCases.entries()) read.set(name, answers[i] as PeftAnswer);
  }, 600_000);

  afterAll(() => rm(folder, { recursive: true }));

  it.each(trainableCases)('$name', ({ name }) => {
    const { logprobs, error } = read.get(name) as PeftAnswer;
    expect(error).toBeUndefined();
    const own = trained.get(name) as Float32Array;
    expect(logprobs?.length).toBe(own.length);
    const worst = own.reduce((most, value, i) => Math.max(most, Math.abs(value - (logprobs?.[i] as number))), 0);
    expect(worst).toBeLessThan(tolerance);
  });
});

async function scored(base: string, adapter: string): Promise<Float32Array> {
  const model = await loadModel(base, { adapters: { own: adapter } });
  const scores = await Promise.all(documents.map((tokens) => model.score({ tokens, adapter: 'own' })));
  model.dispose();
  return Float32Array.from(scores.flatMap(({ logprobs }) => logprobs.slice(1) as number[]));
}
