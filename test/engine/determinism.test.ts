// A request's numbers have the same bits alone and in company, whatever the threads, the pieces of its prompt, and what happens to its pages.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { deviceInfo, type GenerateRequest, type LoadOptions, loadModel, type Model, setThreads } from '../../lib/index.js';
import { uniform } from '../kernels/numbers.js';
import { adapterFolder, bitsOf, modelFolder, storyteller } from '../models/fixture_files.js';
import { changedCopy, scratchFolder } from '../models/write_fixture.js';

interface Subject {
  readonly folder: string;
  readonly options: LoadOptions;
  readonly adapters: readonly string[];
  readonly vocabulary: number;
}

const llama: Omit<Subject, 'options'> = {
  folder: modelFolder('llama'),
  adapters: ['lora', 'lora-dora', 'lora-rslora', 'lora-embeddings-head'],
  vocabulary: 256,
};
const story: Omit<Subject, 'options'> = { folder: storyteller.base, adapters: ['poet', 'cynic', 'playwright'], vocabulary: 2048 };
const adaptersOf = ({ folder, adapters }: Omit<Subject, 'options'>): Record<string, string> =>
  Object.fromEntries(adapters.map((name) => [name, folder === storyteller.base ? storyteller.adapter(name) : adapterFolder(name)]));

const subjects: [string, Subject][] = [
  ['f32 weights', { ...llama, options: { adapters: adaptersOf(llama) } }],
  ['bf16 weights, fast', { ...story, options: { adapters: adaptersOf(story), precision: 'fast' } }],
  ['bf16 weights, precise', { ...story, options: { adapters: adaptersOf(story), precision: 'precise' } }],
];

function randomTokens(count: number, vocabulary: number, seed: number): number[] {
  const next = uniform(seed);
  return Array.from({ length: count }, () => 3 + Math.floor(next() * (vocabulary - 3)));
}

// Long enough for several pages, and for a prompt of several pieces of 7 and of 64.
const probes = (subject: Subject): GenerateRequest[] => [
  { tokens: randomTokens(70, subject.vocabulary, 1), maxTokens: 12, temperature: 0, ignoreEos: true },
  {
    tokens: randomTokens(70, subject.vocabulary, 1),
    maxTokens: 12,
    temperature: 0,
    ignoreEos: true,
    adapter: subject.adapters[0] as string,
  },
  {
    tokens: randomTokens(33, subject.vocabulary, 2),
    maxTokens: 12,
    seed: 11,
    ignoreEos: true,
    adapter: subject.adapters[1] as string,
    topLogprobs: 3,
  },
  {
    tokens: randomTokens(5, subject.vocabulary, 3),
    maxTokens: 12,
    seed: 12,
    temperature: 0.7,
    topP: 0.9,
    ignoreEos: true,
    repetitionPenalty: 1.2,
  },
];

const strangers = (subject: Subject, count: number): GenerateRequest[] =>
  Array.from({ length: count }, (_, i) => {
    const adapter = subject.adapters[i % (subject.adapters.length + 1)];
    const tokens = randomTokens(1 + ((i * 7) % 60), subject.vocabulary, 100 + i);
    return { tokens, maxTokens: 4 + (i % 9), seed: i, ignoreEos: true, ...(adapter !== undefined && { adapter }) };
  });

/** Everything a caller sees of one answer, bit by bit. */
async function generated(model: Model, request: GenerateRequest): Promise<string> {
  const { tokens, logprobs } = await model.complete(request);
  return JSON.stringify({ tokens, logprobs: bitsOf(logprobs.map((t) => t.logprob)), top: logprobs.map((t) => t.top) });
}

async function scored(model: Model, { tokens, adapter }: GenerateRequest): Promise<string> {
  return bitsOf((await model.score({ tokens, adapter })).logprobs);
}

/** Each probe generated and scored, one request after another. */
async function alone(model: Model, requests: readonly GenerateRequest[]): Promise<string[]> {
  const seen: string[] = [];
  for (const request of requests) seen.push(await generated(model, request), await scored(model, request));
  return seen;
}

const threads = deviceInfo().threads;
afterEach(() => setThreads(threads));

describe.each(subjects)('%s', (_, subject) => {
  let reference: Promise<string[]> | undefined;
  // Computed once, before anything else has run, without a prefix cache.
  const expected = (): Promise<string[]> => {
    reference ??= withModel({ prefixCache: false }, (model) => alone(model, probes(subject)));
    return reference;
  };

  async function withModel<T>(options: LoadOptions, use: (model: Model) => Promise<T>): Promise<T> {
    using model = await loadModel(subject.folder, { ...subject.options, ...options });
    return await use(model);
  }

  it('gives different bits to different requests', async () => {
    expect(new Set(await expected()).size).toBe(2 * probes(subject).length);
  });

  it('repeats itself', async () => {
    await withModel({}, async (model) => {
      expect(await alone(model, probes(subject))).toEqual(await expected());
      expect(await alone(model, probes(subject)), 'with the prompts found in the prefix cache').toEqual(await expected());
      expect(model.stats().cachedTokens).toBeGreaterThan(0);
    });
  });

  it('does not depend on company: 64 other requests with other adapters', async () => {
    await withModel({}, async (model) => {
      const others = strangers(subject, 64);
      const first = others.slice(0, 32).map((request) => model.complete(request));
      const mine = probes(subject).flatMap((request) => [generated(model, request), scored(model, request)]);
      const last = others.slice(32).map((request) => model.complete(request));
      expect(await Promise.all(mine)).toEqual(await expected());
      await Promise.all([...first, ...last]);
      expect(model.stats().maxRequestsInStep).toBeGreaterThan(60);
      expect(model.stats().maxAdaptersInStep).toBe(subject.adapters.length);
    });
  });

  it.each([1, 2])('does not depend on threads: %i', async (count) => {
    await withModel({ prefixCache: false }, async (model) => {
      setThreads(count);
      expect(await alone(model, probes(subject))).toEqual(await expected());
    });
  });

  it.each([1, 7, 64])('does not depend on the pieces of a prompt: %i tokens', async (maxStepTokens) => {
    await withModel({ maxStepTokens, maxRequests: 1, prefixCache: false }, async (model) => {
      const steps = model.stats().steps;
      expect(await alone(model, probes(subject))).toEqual(await expected());
      const prompts = probes(subject).reduce((sum, { tokens }) => sum + Math.ceil((tokens?.length ?? 0) / maxStepTokens), 0);
      expect(model.stats().steps - steps).toBeGreaterThanOrEqual(prompts);
    });
  });

  it('does not depend on preemption', async () => {
    const pageBytes = await withModel({}, async (model) => model.memory().pool.pageBytes);
    const held = await withModel({}, async (model) => model.memory().pool.heldPages);
    // Room for two or three of the requests.
    await withModel({ poolBytes: (held + 14) * pageBytes, prefixCache: false }, async (model) => {
      const requests = [...probes(subject), ...probes(subject)];
      const answers = await Promise.all(requests.map((request) => generated(model, request)));
      const wanted = (await expected()).filter((_, i) => i % 2 === 0);
      expect(answers).toEqual([...wanted, ...wanted]);
      expect(model.stats().preemptions).toBeGreaterThan(0);
    });
  });
});

describe('a prompt that is known under another adapter', () => {
  let model: Model;
  afterAll(() => model.dispose());

  it('is never answered from the wrong cache', async () => {
    model = await loadModel(llama.folder, { adapters: adaptersOf(llama) });
    const tokens = randomTokens(60, 256, 9);
    const all: GenerateRequest['adapter'][] = [
      'lora',
      'lora-dora',
      undefined,
      { name: 'lora', scale: 0.5 },
      ['lora', 'lora-dora'],
      ['lora-dora', 'lora'],
    ];
    const ask = async (of: Model): Promise<string[]> => {
      const answers: string[] = [];
      for (const adapter of all) answers.push(await generated(of, { tokens, adapter, maxTokens: 5, temperature: 0, ignoreEos: true }));
      return answers;
    };
    using uncached = await loadModel(llama.folder, { adapters: adaptersOf(llama), prefixCache: false });
    const expected = await ask(uncached);
    expect(uncached.stats().cachedTokens).toBe(0);
    expect(await ask(model)).toEqual(expected);
    expect(model.stats().cachedTokens).toBe(0);
    expect(await ask(model)).toEqual(expected);
    expect(model.stats().cachedTokens).toBe(all.length * 48);
  });

  it('is found again by content, whatever the name', async () => {
    await model.adapters.load('again', adapterFolder('lora'));
    const tokens = randomTokens(60, 256, 10);
    const request = { tokens, maxTokens: 5, temperature: 0, ignoreEos: true };
    const first = await generated(model, { ...request, adapter: 'lora' });
    const cached = model.stats().cachedTokens;
    expect(await generated(model, { ...request, adapter: 'again' })).toBe(first);
    expect(model.stats().cachedTokens - cached).toBe(48);
  });
});

describe('positions that depend on the length of the prompt', () => {
  const long = [1.5, 2, 2.5, 3, 3.5, 4];
  it.each([
    { rope_type: 'dynamic', factor: 4, original_max_position_embeddings: 32 },
    { rope_type: 'longrope', factor: 8, original_max_position_embeddings: 32, short_factor: long.map(() => 1), long_factor: long },
  ])('never meet cached keys of another length: $rope_type', async (scaling) => {
    using folder = scratchFolder();
    changedCopy(modelFolder('llama'), folder.path, 'model.safetensors', () => {});
    const config = JSON.parse(readFileSync(join(folder.path, 'config.json'), 'utf8')) as object;
    writeFileSync(join(folder.path, 'config.json'), JSON.stringify({ ...config, rope_parameters: { rope_theta: 10000, ...scaling } }));
    const tokens = randomTokens(90, 256, 21);
    const ask = async (prefixCache: boolean): Promise<string[]> => {
      using model = await loadModel(folder.path, { prefixCache });
      const answers: string[] = [];
      // Short of the original length, around it, and beyond.
      for (const length of [20, 33, 40, 70, 90, 20, 70])
        answers.push(await generated(model, { tokens: tokens.slice(0, length), maxTokens: 24, temperature: 0, ignoreEos: true }));
      expect(model.stats().cachedTokens > 0).toBe(prefixCache);
      return answers;
    };
    expect(await ask(true)).toEqual(await ask(false));
  });
});
