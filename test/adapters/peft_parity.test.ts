// Every adapter folder against PEFT, all of them and the bare base mixed in one batch.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { adapterFolder, bitsOf, expectedScores, largestError, modelFolder, peftAdapters } from '../models/fixture_files.js';

// RandLoRA's weights here are 15 on average: float32 itself cannot hold them closer.
const toleranceOf = (adapter: string): number => (adapter === 'randlora' ? 1e-4 : 2e-5);
let model: Model;

beforeAll(async () => {
  const adapters = Object.fromEntries(peftAdapters.map((name) => [name, adapterFolder(name)]));
  model = await loadModel(modelFolder('llama'), { adapters, maxStepTokens: 4096, maxRequests: 128 });
});
afterAll(() => model.dispose());

const cases = [
  ...expectedScores(modelFolder('llama')).map((text) => ({ ...text, adapter: undefined as string | undefined })),
  ...peftAdapters.flatMap((name) => expectedScores(adapterFolder(name)).map((text) => ({ ...text, adapter: name as string | undefined }))),
];

const described: Record<(typeof peftAdapters)[number], [kind: string, ranks: number[]]> = {
  lora: ['LoRA', [8]],
  'lora-all-r3': ['LoRA', [3]],
  'lora-bias': ['LoRA', [4]],
  'lora-dora': ['DoRA', [4]],
  'lora-embeddings-head': ['LoRA', [6]],
  'lora-modules-to-save': ['LoRA', [4]],
  'lora-patterns': ['LoRA', [1, 4, 12]],
  'lora-pissa': ['LoRA (PiSSA)', [4]],
  'lora-rslora': ['rsLoRA', [16]],
  'lora-some-layers': ['LoRA', [5]],
  adalora: ['AdaLoRA', [6]],
  'adaption-prompt': ['LLaMA-Adapter', []],
  boft: ['BOFT', []],
  c3a: ['C3A', []],
  delora: ['DeLoRA', [4]],
  fourierft: ['FourierFT', []],
  gralora: ['GraLoRA', [8]],
  hira: ['HiRA', [4]],
  hra: ['HRA', [4]],
  ia3: ['IA3', []],
  'ln-tuning': ['LN tuning', []],
  loha: ['LoHa', [4]],
  lokr: ['LoKr', [4]],
  miss: ['MiSS', [8]],
  oft: ['OFT', []],
  'p-tuning': ['p-tuning', []],
  'prefix-tuning': ['prefix tuning', []],
  'prompt-tuning': ['prompt tuning', []],
  randlora: ['RandLoRA', [8]],
  road: ['RoAd (road_1)', []],
  shira: ['SHiRA', []],
  'trainable-tokens': ['trainable tokens', []],
  vblora: ['VB-LoRA', [2]],
  vera: ['VeRA', [16]],
  waveft: ['WaveFT', []],
};

describe('all adapters and the bare base in one batch', () => {
  it('gives each request the numbers that PEFT gives it', async () => {
    const before = model.stats().maxAdaptersInStep;
    const scores = await Promise.all(cases.map(({ tokens, adapter }) => model.score({ tokens, adapter })));
    const errors = cases.map(({ adapter, logprobs }, i) => ({
      adapter: adapter ?? 'base',
      error: largestError(scores[i]?.logprobs ?? [], logprobs),
    }));
    expect(errors.filter(({ adapter, error }) => !(error < toleranceOf(adapter)))).toEqual([]);
    expect(before).toBe(0);
    expect(model.stats().maxAdaptersInStep).toBe(peftAdapters.length);
  });

  it('changes no bit of any request by the company of the others', async () => {
    const together = await Promise.all(cases.map(({ tokens, adapter }) => model.score({ tokens, adapter })));
    for (const [i, { tokens, adapter }] of cases.entries()) {
      const alone = await model.score({ tokens, adapter });
      expect(bitsOf(alone.logprobs), adapter ?? 'base').toBe(bitsOf(together[i]?.logprobs ?? []));
    }
  });
});

describe.each(peftAdapters)('%s', (name) => {
  it('generates what its own scores call most likely', async () => {
    const { tokens } = expectedScores(adapterFolder(name))[0] as { tokens: number[] };
    const answer = await model.complete({ tokens, adapter: name, maxTokens: 8, temperature: 0, ignoreEos: true });
    const score = await model.score({ tokens: [...tokens, ...answer.tokens], adapter: name });
    expect(bitsOf(answer.logprobs.map((t) => t.logprob))).toBe(bitsOf(score.logprobs.slice(tokens.length)));
  });

  it('is described as what it is', () => {
    const { kind, ranks, targets, parameters, bytes, uses } = model.adapters.get(name);
    const [expected, rank] = described[name];
    expect(kind).toBe(expected);
    expect(ranks).toEqual(rank);
    expect(targets.length).toBeGreaterThan(0);
    expect(bytes).toBe(4 * parameters);
    expect(uses).toBe(0);
  });
});
