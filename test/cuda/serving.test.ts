// Models on a CUDA device against the processor: the same tokens, log-probabilities that agree, whatever shares a step.
import './long_runs.js';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Completion, type GenerateRequest, type LoadOptions, loadModel, type Model, memory } from '../../lib/index.js';
import { randomTokens, until } from '../engine/driving.js';
import { testedCuda } from '../kernels/test_devices.js';
import {
  adapterFolder,
  expectedScores,
  type FileTensor,
  largestError,
  modelFolder,
  readTensors,
  rowsOf,
  storyteller,
} from '../models/fixture_files.js';

const device = testedCuda?.name ?? 'cuda';
// f32 throughout; sums have another order than on the processor.
const tolerance = 5e-5;

const folder = modelFolder('llama');
// One of each way that an adapter acts: low rank, its magnitude, embeddings and biases, norms, gains, sparse and dense changes, orthogonal
// ones, rows of tokens, keys and values of its own, and tokens in front.
const kinds = [
  'lora',
  'lora-dora',
  'lora-bias',
  'lora-embeddings-head',
  'lora-modules-to-save',
  'ia3',
  'ln-tuning',
  'shira',
  'hira',
  'oft',
  'trainable-tokens',
  'adaption-prompt',
  'prefix-tuning',
  'prompt-tuning',
];
const adapters = Object.fromEntries(kinds.map((name) => [name, adapterFolder(name)]));

const greedy = (adapter: GenerateRequest['adapter'], i: number): GenerateRequest => ({
  ...{ tokens: randomTokens(3 + ((i * 5) % 17), 256, i + 1), maxTokens: 4, temperature: 0, ignoreEos: true, topLogprobs: 2 },
  adapter,
});
const requests = [...[undefined, ...kinds].map(greedy), greedy(['lora', { name: 'lora-dora', scale: 0.5 }], 20), greedy(undefined, 21)];

function expectClose(actual: readonly Completion[], expected: readonly Completion[]): void {
  expect(actual.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
  actual.forEach(({ logprobs }, i) => {
    logprobs.forEach(({ logprob, top }, at) => {
      const other = expected[i]?.logprobs[at];
      expect(Math.abs(logprob - (other?.logprob as number))).toBeLessThan(tolerance);
      expect(top.map(({ token }) => token)).toEqual(other?.top.map(({ token }) => token));
    });
  });
}

async function on<T>(where: string, work: (model: Model) => Promise<T>, options: LoadOptions = {}): Promise<T> {
  using model = await loadModel(folder, { adapters, device: where, ...options });
  expect(model.device.name).toBe(where);
  return await work(model);
}

// Emulated steps take long.
const timeout = 600_000;

describe.skipIf(testedCuda === undefined)('a model on a CUDA device', { timeout }, () => {
  it('answers requests of many kinds of adapters in shared steps as the processor does', async () => {
    const expected = await on('cpu', (model) => model.generateBatch(requests));
    const actual = await on(device, (model) => model.generateBatch(requests));
    expectClose(actual, expected);
  });

  it('scores as the processor does', async () => {
    const texts = kinds.map((adapter, i) => ({ tokens: randomTokens(5 + 5 * (i % 7), 256, 50 + i), adapter }));
    const score = (model: Model) => Promise.all(texts.map((text) => model.score(text)));
    const expected = await on('cpu', score);
    const actual = await on(device, score);
    actual.forEach(({ logprobs }, i) => {
      expect(largestError(logprobs, expected[i]?.logprobs.slice(1) as number[])).toBeLessThan(tolerance);
    });
  });

  it('answers from replayed steps with more, fewer and other adapters than the steps had before', async () => {
    const rounds: (string | undefined)[][] = [
      ['lora', 'lora-dora', 'ia3', 'lora-bias'],
      ['shira', 'lora', 'lora', 'lora'],
      [undefined, undefined, undefined, undefined],
      ['hira', 'ln-tuning', 'oft', 'lora-embeddings-head'],
      ['lora', undefined],
      ['lora-dora', 'ia3', 'lora', 'shira'],
    ];
    const play = async (model: Model): Promise<Completion[]> => {
      const all: Completion[] = [];
      for (const [r, round] of rounds.entries())
        all.push(
          ...(await model.generateBatch(
            round.map((adapter, i) => ({ ...greedy(adapter, 4 * r + i), tokens: randomTokens(4, 256, 4 * r + i) })),
          )),
        );
      return all;
    };
    expectClose(await on(device, play), await on('cpu', play));
  });

  it('goes on rightly when adapters are replaced and unloaded between steps of the same size', async () => {
    const play = async (model: Model): Promise<Completion[]> => {
      const ask = () => model.generateBatch([greedy('changing', 1), greedy('lora', 2)]);
      const all: Completion[] = [];
      for (const name of ['lora', 'lora-dora', 'ia3']) {
        await model.adapters.load('changing', adapterFolder(name));
        all.push(...(await ask()));
      }
      model.adapters.unload('changing');
      await model.adapters.load('changing', adapterFolder('lora-bias'));
      return [...all, ...(await ask())];
    };
    expectClose(await on(device, play), await on('cpu', play));
  });

  it('runs with an adapter merged in, and comes back to the base exactly', async () => {
    const play = async (model: Model): Promise<Completion[][]> => {
      const ask = () => model.generateBatch([greedy(undefined, 1), greedy(undefined, 2)]);
      const before = await ask();
      await model.adapters.merge('lora-dora');
      const merged = await ask();
      await model.adapters.unmerge();
      return [before, merged, await ask()];
    };
    const [before, merged, after] = (await on(device, play)) as [Completion[], Completion[], Completion[]];
    const [, expected] = (await on('cpu', play)) as [Completion[], Completion[]];
    expectClose(merged, expected);
    expect(after).toEqual(before);
  });

  it('gives equal bits in every run', async () => {
    const first = await on(device, (model) => model.generateBatch(requests));
    expect(await on(device, (model) => model.generateBatch(requests))).toEqual(first);
  });

  it('takes back the pages of requests when the pool is too small for all, and computes them again', async () => {
    const long = Array.from({ length: 3 }, (_, i) => ({ ...greedy(i === 1 ? 'lora' : undefined, i), maxTokens: 24 }));
    const few = { adapters: { lora: adapterFolder('lora') }, contextLength: 64 };
    const expected = await on('cpu', (model) => model.generateBatch(long), few);
    const pages = (model: Model) => model.memory().pool;
    const { pageBytes } = await on('cpu', async (model) => pages(model), few);
    const held = await on('cpu', async (model) => pages(model).heldPages, few);
    const play = async (model: Model): Promise<Completion[]> => {
      const made = await model.generateBatch(long);
      expect(model.stats().preemptions).toBeGreaterThan(0);
      return made;
    };
    expectClose(await on(device, play, { ...few, poolBytes: (held + 5) * pageBytes }), expected);
  });

  it('gives all its memory back', async () => {
    const bytes = (): number => memory().devices.reduce((sum, one) => sum + one.bytes, 0);
    const before = bytes();
    await on(device, async (model) => {
      await model.complete(greedy('lora', 1));
      expect(bytes()).toBeGreaterThan(before + model.memory().weights);
    });
    await until(() => bytes() === before, 'the memory comes back');
  });
});

describe.skipIf(testedCuda === undefined)('decode steps', { timeout }, () => {
  const before = process.env.HEDDLE_DECODE_PADDING;
  afterEach(() => {
    if (before === undefined) delete process.env.HEDDLE_DECODE_PADDING;
    else process.env.HEDDLE_DECODE_PADDING = before;
  });

  it('draw the same tokens in sizes of few buckets as in exact ones', async () => {
    const drawn = requests.map((request, i) => ({ ...request, temperature: 0.8, seed: i, maxTokens: 2 + (i % 6) }));
    const answers = async (padding: string): Promise<Completion[]> => {
      process.env.HEDDLE_DECODE_PADDING = padding;
      return await on(device, (model) => model.generateBatch(drawn));
    };
    expectClose(await answers('1'), await answers('0'));
  });
});

describe.skipIf(testedCuda === undefined)('architectures', { timeout }, () => {
  it.each(['llama3-rope-tied', 'llama-bias', 'mistral-window', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'gpt2'])(
    '%s gives what transformers gives',
    async (name) => {
      using model = await loadModel(modelFolder(name), { device });
      const expected = expectedScores(modelFolder(name));
      const scores = await Promise.all(expected.map(({ tokens }) => model.score({ tokens })));
      for (const [i, { logprobs }] of scores.entries()) expect(largestError(logprobs, expected[i]?.logprobs ?? [])).toBeLessThan(tolerance);
      const { input_ids: ids, greedy: answers } = readTensors(join(modelFolder(name), 'expected.safetensors'));
      const continued = rowsOf(answers as FileTensor);
      const made = await model.generateBatch(
        rowsOf(ids as FileTensor).map((tokens, i) => ({ tokens, maxTokens: continued[i]?.length ?? 0, temperature: 0, ignoreEos: true })),
      );
      expect(made.map(({ tokens }) => tokens)).toEqual(continued);
    },
  );

  it('bf16 weights and a bf16 cache agree within what bf16 can tell', async () => {
    const poet = { poet: storyteller.adapter('poet'), cynic: storyteller.adapter('cynic') };
    const texts = [undefined, 'poet', 'cynic'].map((adapter) => ({
      text: 'The king said: it was a dark night, and nobody came.',
      adapter,
    }));
    const scores = async (where: string) => {
      using model = await loadModel(storyteller.base, { device: where, adapters: poet, precision: 'precise' });
      return await Promise.all(texts.map((text) => model.score(text)));
    };
    const expected = await scores('cpu');
    const actual = await scores(device);
    actual.forEach(({ logprobs }, i) => {
      expect(largestError(logprobs, expected[i]?.logprobs.slice(1) as number[])).toBeLessThan(0.02);
    });
  });
});
