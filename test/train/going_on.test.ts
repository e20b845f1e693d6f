// Trainings that go on from an adapter folder: of PEFT, of the fixtures; and of trainings before.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AdapterError, FileAccessError, loadModel, OptionError, type TrainEvent, type TrainOptions, train } from '../../lib/index.js';
import { saveTrainedAdapter } from '../../lib/train/model_backend.js';
import { readTrainOptions } from '../../lib/train/options.js';
import { randomTokens } from '../engine/driving.js';
import type { FileTensor } from '../models/fixture_files.js';
import { changedCopy } from '../models/write_fixture.js';
import { batchOfDocuments, fixtureModel, meanLoss, steps, tinyLlama, trainOne } from './driving_training.js';
import { trainableCases } from './trainable_cases.js';

type Options = Partial<Omit<TrainOptions, 'model' | 'output' | 'data'>>;

const documents = [randomTokens(23, 96, 1), randomTokens(17, 96, 2)];
const batch = batchOfDocuments(documents);
const fixture = (name: string): string => join(import.meta.dirname, '../fixtures/adapters', name);
const storyteller = join(import.meta.dirname, '../../examples/storyteller/base');
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-going-on-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function scored(path: string, base: string): Promise<number[]> {
  const model = await loadModel(base, { adapters: { own: path } });
  const scores = await Promise.all(documents.map((tokens) => model.score({ tokens, adapter: 'own' })));
  model.dispose();
  return scores.flatMap(({ logprobs }) => logprobs.slice(1) as number[]);
}

// Begins where the folder is, learns, and is served as it was trained.
async function goOn(from: string, rate: number, options: Options = {}, base = tinyLlama): Promise<void> {
  using own = await trainOne({ ...options, from }, [batch], base);
  const before = (await own.runner.evaluate(batch)).logprobs;
  expectNear(before, await scored(from, base));
  await steps(own, batch, 10, rate);
  const after = (await own.runner.evaluate(batch)).logprobs;
  expect(meanLoss(after)).toBeLessThan(meanLoss(before) - 0.01);
  const to = join(folder, 'on');
  await saveTrainedAdapter(own.runner, 'own', to, { base });
  expectNear(after, await scored(to, base));
}

function expectNear(actual: Float32Array, wanted: readonly number[]): void {
  expect(actual.length).toBe(wanted.length);
  expect(Math.max(...actual.map((value, i) => Math.abs(value - (wanted[i] as number))))).toBeLessThan(2e-5);
}

describe('a training goes on from', () => {
  const ofPeft: [name: string, rate: number, options?: Options][] = [
    ['lora', 1e-2],
    ['lora', 1e-2, { method: 'lora-fa' }],
    ['lora', 1e-2, { method: 'lora-xs' }],
    ['lora', 1e-2, { method: 'dylora', methodOptions: { frozen: false, minRank: 8 } }],
    ['lora-all-r3', 5e-3],
    ['lora-rslora', 2e-3],
    ['lora-dora', 5e-3],
    ['lora-some-layers', 1e-2],
    ['ia3', 2e-2],
    ['ln-tuning', 2e-2],
    ['shira', 1e-2],
    ['trainable-tokens', 5e-2],
    ['prompt-tuning', 2e-2],
    ['prefix-tuning', 2e-2],
  ];
  it.each(ofPeft)("PEFT's %s", (name, rate, options) => goOn(fixture(name), rate, options));

  const names = ['lora, pissa, rsLoRA', 'lora-sb over GPT-2', 'dora over Qwen2', 'ia3 on gpt2', 'bitfit on gpt2, which has biases'];
  const own = trainableCases.filter(({ name }) => [...names, 'trainable-tokens, tied', 'shira, largest'].includes(name));
  it.each(own)('a training of $name', async ({ options, rate, model }) => {
    using first = await trainOne(options, [batch], model);
    await steps(first, batch, 10, rate);
    const path = join(folder, 'first');
    await saveTrainedAdapter(first.runner, 'own', path, { base: 'base' });
    await goOn(path, rate, {}, model);
  });

  it('the modules that the folder has', async () => {
    const settings = await readTrainOptions({ model: 'm', output: 'o', data: 'd', from: fixture('lora-some-layers') });
    const { rank, alpha, targetModules } = settings.adapters.get('adapter') ?? {};
    expect({ rank, alpha }).toEqual({ rank: 5, alpha: 5 });
    expect([...(targetModules ?? [])].sort()).toEqual(['model.layers.1.mlp.down_proj', 'model.layers.1.self_attn.k_proj']);
  });
});

describe('a folder that does not fit', () => {
  const tensor = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';
  const from = (change: (tensors: Record<string, FileTensor>) => void): string =>
    changedCopy(fixture('lora'), join(folder, 'lora-changed'), 'adapter_model.safetensors', change);

  it('in the order of its sizes is refused with both shapes', async () => {
    const path = from((tensors) => {
      const { shape, data } = tensors[tensor] as FileTensor;
      tensors[tensor] = { shape: [...shape].reverse(), data };
    });
    const message = `lora-changed does not fit llama: ${tensor} is [48, 8], expected [8, 48] for model.layers.0.self_attn.q_proj`;
    await expect(trainOne({ from: path }, [batch])).rejects.toMatchObject({ message, code: 'ERR_HEDDLE_ADAPTER' });
  });
  it('for another base is refused by name', async () => {
    const made = trainOne({ from: fixture('lora') }, [batch], storyteller);
    await expect(made).rejects.toThrow(
      /^lora does not fit base: .*lora_A\.weight is \[8, 48\], expected \[8, 192\] for model\.layers\.0\./,
    );
  });
  it('for lack of a tensor is refused by name', async () => {
    const path = from((tensors) => {
      delete tensors[tensor];
    });
    await expect(trainOne({ from: path }, [batch])).rejects.toThrow(
      /lora-changed: model\.layers\.0\.self_attn\.q_proj has no lora_A\.weight/,
    );
  });
});

describe('one of several adapters', () => {
  it('goes on from its folder whatever is said for all', async () => {
    const { adapters } = await readTrainOptions({
      ...{ model: 'm', output: 'o', data: 'd', rank: 2, alpha: 3, init: 'pissa' },
      adapters: { a: {}, b: { from: fixture('lora') } },
    });
    expect(adapters.get('a')).toMatchObject({ rank: 2, alpha: 3, init: 'pissa' });
    expect(adapters.get('b')).toMatchObject({ rank: 8, alpha: 16, init: undefined });
  });

  it('is trained from it, and goes on from a checkpoint too', { timeout: 60_000 }, async () => {
    const text = join(folder, 'ships.txt');
    await writeFile(text, Array.from({ length: 60 }, (_, i) => `The ship number ${i} sailed at dawn, and nobody waved.\n`).join(''));
    const run = async (output: string, more: Options & { resume?: boolean; signal?: AbortSignal; onEvent?: (event: TrainEvent) => void }) =>
      train({
        ...{ model: storyteller, output: join(folder, output), samples: false, learningRate: 5e-3, batchTokens: 256 },
        ...{ data: { files: text, evaluation: 0.2, maxLength: 128, batchSize: 2 }, ...more },
      });
    const first = await run('one', { rank: 3, steps: 4 });
    const from = first.adapters.adapter?.folder as string;
    const losses: number[] = [];
    const stop = new AbortController();
    const onEvent = (event: TrainEvent): void => {
      if (event.type === 'evaluation') losses.push(event.adapters.adapter?.loss ?? Number.NaN);
      if (event.type === 'step' && event.step === 2) stop.abort();
    };
    await expect(run('two', { from, steps: 4, onEvent, signal: stop.signal })).rejects.toThrow(/./);
    expect(Math.exp(losses[0] as number)).toBeCloseTo(first.adapters.adapter?.perplexity as number, 4);
    const two = await run('two', { from, steps: 4, resume: true });
    const whole = await run('three', { from, steps: 4 });
    expect(two.adapters.adapter?.perplexity).toBe(whole.adapters.adapter?.perplexity);
    expect(two.adapters.adapter?.perplexity).toBeLessThan(first.adapters.adapter?.perplexity as number);
  });
});

describe('a training does not go on', () => {
  const attempt = (from: string, options: Options = {}): Promise<unknown> =>
    trainOne({ ...options, from }, [batch]).then((own) => own[Symbol.dispose]());
  const folders: [why: string, name: string, options: Options, message: RegExp][] = [
    ['from ranks of several sizes', 'lora-patterns', {}, /rank_pattern is \{.*"q_proj":1\}: .* has one rank and one alpha for all modules/],
    ['from whole weights', 'lora-modules-to-save', {}, /lora-modules-to-save holds the whole weight of lm_head/],
    ['from what changes the base', 'lora-pissa', {}, /init_lora_weights is "pissa": .* leaves the base as it is/],
    ['from copies of embeddings', 'lora-embeddings-head', {}, /lora-embeddings-head holds the whole weight of lm_head/],
    ['from factors beside a bias', 'lora-bias', {}, /q_proj\.lora_B\.weight is not zero: bitfit trains the bias alone/],
    ['from a method that is not trained', 'vera', {}, /peft_type is VERA: adapters that can be trained on are LORA, IA3/],
  ];
  it.each(folders)('%s', async (_, name, options, message) => {
    const failing = attempt(fixture(name), options);
    await expect(failing).rejects.toThrow(AdapterError);
    await expect(failing).rejects.toThrow(message);
  });

  const words: [option: string, name: string, options: Options, message: RegExp][] = [
    ['rank', 'lora', { rank: 8 }, /^train\.rank is 8 beside from: expected none, as .*lora decides it$/],
    ['targetModules', 'lora', { targetModules: 'all-linear' }, /^train\.targetModules is "all-linear" beside from/],
    ['init', 'lora', { init: 'pissa' }, /^train\.init is "pissa" beside from/],
    [
      'method',
      'lora',
      { method: 'dora' },
      /^train\.method is 'dora': .*lora can be trained on as lora, lora-fa, dylora, lora-xs, lora-sb$/,
    ],
    ['methodOptions', 'prompt-tuning', { methodOptions: { virtualTokens: 4 } }, /^train\.methodOptions\.virtualTokens is 4: .* has 5$/],
  ];
  it.each(words)('where %s says something else', async (_, name, options, message) => {
    const failing = attempt(fixture(name), options);
    await expect(failing).rejects.toThrow(OptionError);
    await expect(failing).rejects.toThrow(message);
  });

  it('over a base that lacks its modules', async () => {
    const failing = trainOne({ from: fixture('lora') }, [batch], fixtureModel('gpt2'));
    await expect(failing).rejects.toThrow(AdapterError);
    await expect(failing).rejects.toThrow(/lora changes model\.layers\.0\.\S+: expected modules that gpt2 has for lora$/);
  });

  it('from a folder that is not there', async () => {
    await expect(attempt(join(folder, 'nowhere'))).rejects.toThrow(FileAccessError);
  });
});
