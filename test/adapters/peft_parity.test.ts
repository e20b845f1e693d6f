// Every LoRA folder against PEFT, all of them and the bare base mixed in one batch.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { adapterFolder, bitsOf, expectedScores, largestError, loraAdapters, modelFolder } from '../models/fixture_files.js';

const tolerance = 2e-5;
let model: Model;

beforeAll(async () => {
  model = await loadModel(modelFolder('llama'), { adapters: Object.fromEntries(loraAdapters.map((name) => [name, adapterFolder(name)])) });
});
afterAll(() => model.dispose());

const cases = [
  ...expectedScores(modelFolder('llama')).map((text) => ({ ...text, adapter: undefined as string | undefined })),
  ...loraAdapters.flatMap((name) => expectedScores(adapterFolder(name)).map((text) => ({ ...text, adapter: name as string | undefined }))),
];

describe('all adapters and the bare base in one batch', () => {
  it('gives each request the numbers that PEFT gives it', async () => {
    const before = model.stats().maxAdaptersInStep;
    const scores = await Promise.all(cases.map(({ tokens, adapter }) => model.score({ tokens, adapter })));
    const errors = cases.map(({ adapter, logprobs }, i) => ({
      adapter: adapter ?? 'base',
      error: largestError(scores[i]?.logprobs ?? [], logprobs),
    }));
    expect(errors.filter(({ error }) => !(error < tolerance))).toEqual([]);
    expect(before).toBe(0);
    expect(model.stats().maxAdaptersInStep).toBe(loraAdapters.length);
  });

  it('changes no bit of any request by the company of the others', async () => {
    const together = await Promise.all(cases.map(({ tokens, adapter }) => model.score({ tokens, adapter })));
    for (const [i, { tokens, adapter }] of cases.entries()) {
      const alone = await model.score({ tokens, adapter });
      expect(bitsOf(alone.logprobs), adapter ?? 'base').toBe(bitsOf(together[i]?.logprobs ?? []));
    }
  });
});

describe.each(loraAdapters)('%s', (name) => {
  it('generates what its own scores call most likely', async () => {
    const { tokens } = expectedScores(adapterFolder(name))[0] as { tokens: number[] };
    const answer = await model.complete({ tokens, adapter: name, maxTokens: 8, temperature: 0, ignoreEos: true });
    const score = await model.score({ tokens: [...tokens, ...answer.tokens], adapter: name });
    expect(bitsOf(answer.logprobs.map((t) => t.logprob))).toBe(bitsOf(score.logprobs.slice(tokens.length)));
  });

  it('is described as what it is', () => {
    const { kind, ranks, targets, parameters, bytes, uses } = model.adapters.get(name);
    expect(kind).toMatch(/LoRA|DoRA/);
    expect(ranks.length).toBeGreaterThan(0);
    expect(targets.length).toBeGreaterThan(0);
    expect(bytes).toBe(4 * parameters);
    expect(uses).toBe(0);
  });
});
