// Models and adapters whose weights hold NaN: requests fail, and others go on.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type GenerateRequest, loadModel, type Model, NonFiniteError } from '../../lib/index.js';
import { adapterFolder, type FileTensor, modelFolder } from '../models/fixture_files.js';
import { changedCopy, scratchFolder } from '../models/write_fixture.js';
import { rejection } from './driving.js';

const scratch = scratchFolder();
const request: GenerateRequest = { tokens: [3, 4, 5], maxTokens: 30, ignoreEos: true, seed: 1 };

function nanCopy(from: string, file: string, tensor: RegExp): string {
  return changedCopy(from, join(scratch.path, file), file, (tensors) => {
    for (const [name, { shape, data }] of Object.entries(tensors))
      if (tensor.test(name)) tensors[name] = { shape, data: new Float32Array(data.length).fill(Number.NaN) } satisfies FileTensor;
  });
}

let broken: Model;
let model: Model;
beforeAll(async () => {
  broken = await loadModel(nanCopy(modelFolder('llama'), 'model.safetensors', /^model\.norm\.weight$/));
  const bad = nanCopy(adapterFolder('lora'), 'adapter_model.safetensors', /lora_B/);
  model = await loadModel(modelFolder('llama'), { adapters: { good: adapterFolder('lora'), bad } });
});
afterAll(() => {
  broken.dispose();
  model.dispose();
  scratch[Symbol.dispose]();
});

it.each([{ temperature: 0 }, { temperature: 1 }, { topK: 3 }, { repetitionPenalty: 2 }, { topLogprobs: 4 }])(
  'a model that gives no numbers draws no tokens with %j',
  async (options) => {
    const error = await rejection(broken.complete({ ...request, ...options }));
    expect(error).toBeInstanceOf(NonFiniteError);
    expect(error.code).toBe('ERR_HEDDLE_NON_FINITE');
    expect(error.message).toMatch(/^model\.safetensors gave no finite log-probability for token 0 of the answer: /);
    expect(error.details).toEqual({ model: 'model.safetensors', adapters: [], index: 3 });
  },
);

it('a model that gives no numbers scores no text', async () => {
  const error = await rejection(broken.score({ tokens: [3, 4, 5] }));
  expect(error).toBeInstanceOf(NonFiniteError);
  expect(error.message).toMatch(/for token 1 of the text: /);
});

it('an adapter that gives no numbers is named, and harms no request beside it', async () => {
  const [alone] = await model.generateBatch([{ ...request, adapter: 'good' }]);
  const score = await model.score({ tokens: [3, 4, 5] });
  const failed = ['bad', ['good', 'bad']].map((adapter) => rejection(model.complete({ ...request, adapter })));
  const badScore = rejection(model.score({ tokens: [3, 4, 5], adapter: 'bad' }));
  expect(await model.complete({ ...request, adapter: 'good' })).toEqual(alone);
  expect(await model.score({ tokens: [3, 4, 5] })).toEqual(score);
  const [one, two] = await Promise.all(failed);
  expect(one?.message).toMatch(/^llama with adapter 'bad' gave no finite/);
  expect(two?.message).toMatch(/^llama with adapter 'good' and 'bad' gave no finite/);
  expect(await badScore).toBeInstanceOf(NonFiniteError);
  expect(model.adapters.list().map(({ uses }) => uses)).toEqual([0, 0]);
});
