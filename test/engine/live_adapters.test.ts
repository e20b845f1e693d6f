// Adapters that are combined, scaled, replaced, unloaded and refused, while requests run.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  AdapterError,
  FileAccessError,
  loadModel,
  MissingAdapterError,
  type Model,
  memory,
  NonFiniteError,
  OptionError,
  PoolExhaustedError,
} from '../../lib/index.js';
import {
  adapterFolder,
  bitsOf,
  expectedScores,
  type FileTensor,
  largestError,
  loraAdapters,
  modelFolder,
  readTensors,
  storyteller,
} from '../models/fixture_files.js';
import { changedCopy, scratchFolder } from '../models/write_fixture.js';
import { Reader, randomTokens, rejection, until, untilIdle } from './driving.js';

const tokens = expectedScores(modelFolder('llama'))[0]?.tokens as number[];
const greedy = { tokens, temperature: 0, ignoreEos: true };
let model: Model;
beforeAll(async () => {
  model = await loadModel(modelFolder('llama'), { adapters: Object.fromEntries(loraAdapters.map((name) => [name, adapterFolder(name)])) });
});
afterAll(() => model.dispose());

const scoreOf = async (on: Model, adapter?: Parameters<Model['score']>[0]['adapter']): Promise<readonly (number | null)[]> =>
  (await on.score({ tokens, adapter })).logprobs;

/** W + Σ weight · scale · B A in float64, for plain and rank-stabilised LoRA. */
function merge(weights: Record<string, FileTensor>, adapter: string, weight: number): void {
  const folder = adapterFolder(adapter);
  const {
    r,
    lora_alpha: alpha,
    use_rslora: stabilised,
  } = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8')) as { r: number; lora_alpha: number; use_rslora: boolean };
  const scale = weight * (alpha / (stabilised ? Math.sqrt(r) : r));
  const factors = readTensors(join(folder, 'adapter_model.safetensors'));
  for (const [name, a] of Object.entries(factors)) {
    if (!name.endsWith('.lora_A.weight')) continue;
    const b = factors[name.replace('lora_A', 'lora_B')] as FileTensor;
    const target = name.replace('base_model.model.', '').replace('.lora_A', '');
    const base = weights[target] as FileTensor;
    const [outputs, inputs] = base.shape as [number, number];
    const merged = Float64Array.from(base.data);
    for (let n = 0; n < outputs; n++)
      for (let k = 0; k < inputs; k++) {
        let sum = 0;
        for (let j = 0; j < r; j++) sum += (b.data[n * r + j] as number) * (a.data[j * inputs + k] as number);
        merged[n * inputs + k] = (merged[n * inputs + k] as number) + scale * sum;
      }
    weights[target] = { shape: base.shape, data: Array.from(merged) };
  }
}

describe('several adapters in one request', () => {
  const combinations: { name: string; scale: number }[][] = [
    [{ name: 'lora-all-r3', scale: 0.25 }],
    [
      { name: 'lora', scale: 0.5 },
      { name: 'lora-all-r3', scale: -0.75 },
    ],
    [
      { name: 'lora-rslora', scale: 0.3 },
      { name: 'lora', scale: 1.5 },
      { name: 'lora-all-r3', scale: 0.6 },
    ],
  ];

  it.each(combinations.map((adapters) => [adapters.map(({ name, scale }) => `${scale} ${name}`).join(' + '), adapters] as const))(
    '%s equals the merged weights',
    async (_, adapters) => {
      using folder = scratchFolder();
      const merged = changedCopy(modelFolder('llama'), folder.path, 'model.safetensors', (weights) => {
        for (const { name, scale } of adapters) merge(weights, name, scale);
      });
      using plain = await loadModel(merged);
      const expected = (await scoreOf(plain)).slice(1) as number[];
      expect(largestError(await scoreOf(model, adapters), expected)).toBeLessThan(2e-5);
      expect(largestError(await scoreOf(model), expected)).toBeGreaterThan(0.01);
    },
  );

  it('does not care in which order other requests name them', async () => {
    const forth = [
      { name: 'lora', scale: 0.5 },
      { name: 'lora-bias', scale: 0.5 },
    ];
    const [a, b, c] = await Promise.all([scoreOf(model, forth), scoreOf(model, 'lora-bias'), scoreOf(model, forth)]);
    expect(bitsOf(c)).toBe(bitsOf(a));
    expect(bitsOf(b)).not.toBe(bitsOf(a));
  });

  it('allows as many as the model was loaded for', async () => {
    const five = loraAdapters.slice(0, 5).map((name) => ({ name, scale: 0.1 }));
    const error = await rejection(model.score({ tokens, adapter: five }));
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toMatch(/names 5 adapters: at most 4/);
    expect(model.adapters.get(five[0]?.name as string).uses).toBe(0);
  });
});

describe('the scale of a request', () => {
  it.each(['lora', 'lora-dora', 'lora-bias', 'lora-modules-to-save'])('0 leaves the base alone: %s', async (name) => {
    const base = (await scoreOf(model)).slice(1) as number[];
    expect(largestError(await scoreOf(model, { name, scale: 0 }), base)).toBeLessThan(1e-6);
  });

  it('1 is the adapter itself, 2 is more of it', async () => {
    const once = await scoreOf(model, 'lora');
    expect(bitsOf(await scoreOf(model, { name: 'lora', scale: 1 }))).toBe(bitsOf(once));
    expect(largestError(await scoreOf(model, { name: 'lora', scale: 2 }), once.slice(1) as number[])).toBeGreaterThan(0.1);
  });
});

describe('an adapter that is replaced under its name', () => {
  it('serves the running request to its end, and later ones anew', async () => {
    const want = async (adapter: string) => (await model.complete({ ...greedy, adapter, maxTokens: 220 })).tokens;
    const [old, fresh] = [await want('lora'), await want('lora-dora')];
    expect(old).not.toEqual(fresh);
    await model.adapters.load('changing', adapterFolder('lora'));
    const held = model.memory().pool.heldPages;
    const running = [0, 1, 2].map(() => new Reader(model.generate({ ...greedy, adapter: 'changing', maxTokens: 220 })));
    await Promise.all(running.map((reader) => reader.next()));
    const before = model.adapters.get('changing').contentHash;
    await model.adapters.load('changing', adapterFolder('lora-dora'));
    expect(model.adapters.get('changing').contentHash).not.toBe(before);
    const [later, ...finished] = await Promise.all([want('changing'), ...running.map(async (reader) => (await reader.rest()).tokens)]);
    expect(later).toEqual(fresh);
    for (const answer of finished) expect(answer).toEqual(old);
    await untilIdle(model);
    await model.adapters.load('changing', adapterFolder('lora'));
    expect(model.memory().pool.heldPages).toBe(held);
    model.adapters.unload('changing');
  });

  it('keeps its old version when the new one is refused', async () => {
    await model.adapters.load('stays', adapterFolder('lora'));
    expect(await rejection(model.adapters.load('stays', storyteller.adapter('poet')))).toBeInstanceOf(AdapterError);
    expect(model.adapters.get('stays').contentHash).toBe(model.adapters.get('lora').contentHash);
    model.adapters.unload('stays');
  });
});

describe('an adapter that is unloaded', () => {
  it('is gone for new requests, and from memory when the last request with it has ended', async () => {
    const held = model.memory().pool.heldPages;
    const expected = (await model.complete({ ...greedy, adapter: 'lora-rslora', maxTokens: 200 })).tokens;
    await model.adapters.load('leaving', adapterFolder('lora-rslora'));
    const withIt = model.memory().pool.heldPages;
    expect(withIt).toBeGreaterThan(held);
    const reader = new Reader(model.generate({ ...greedy, adapter: 'leaving', maxTokens: 200 }));
    await reader.next();
    model.adapters.unload('leaving');
    expect(model.adapters.has('leaving')).toBe(false);
    expect(await rejection(model.complete({ ...greedy, adapter: 'leaving', maxTokens: 1 }))).toBeInstanceOf(MissingAdapterError);
    expect((await reader.rest()).tokens).toEqual(expected);
    await untilIdle(model);
    expect(model.memory().pool.heldPages).toBe(held);
  });

  it('gives its slot, rows and pages to others, any number of times', async () => {
    using small = await loadModel(modelFolder('llama'), { maxAdapters: 2, adapters: { fixed: adapterFolder('lora-patterns') } });
    const fixed = bitsOf(await scoreOf(small, 'fixed'));
    const { heldPages } = small.memory().pool;
    for (let round = 0; round < 30; round++) {
      const name = loraAdapters[round % loraAdapters.length] as string;
      await small.adapters.load('guest', adapterFolder(name));
      if (round % 5 === 0) expect(bitsOf(await scoreOf(small, 'guest'))).toBe(bitsOf(await scoreOf(model, name)));
      small.adapters.unload('guest');
      expect(small.memory().pool.heldPages).toBe(heldPages);
    }
    expect(bitsOf(await scoreOf(small, 'fixed'))).toBe(fixed);
  });
});

describe('adapters that are refused leave everything as it was', () => {
  const state = (of: Model) => ({
    held: of.memory().pool.heldPages,
    names: of.adapters.list().map(({ name }) => name),
    native: memory().bytes,
  });

  it('names the first tensor, both shapes and the base when shapes differ', async () => {
    using story = await loadModel(storyteller.base, { adapters: { poet: storyteller.adapter('poet') } });
    const before = state(story);
    const error = await rejection(story.adapters.load('wrong', adapterFolder('lora')));
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.code).toBe('ERR_HEDDLE_ADAPTER');
    expect(error.message).toMatch(/^lora does not fit base: base_model\.model\.model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight /);
    expect(error.message).toContain('[8, 48]');
    expect(error.message).toContain('[8, 192]');
    expect(state(story)).toEqual(before);
  });

  it('names the first tensor whose module the base does not have', async () => {
    const before = state(model);
    const error = await rejection(model.adapters.load('wrong', storyteller.adapter('poet')));
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.message).toMatch(
      /^poet does not fit llama: base_model\.model\.model\.layers\.2\.\S+\.lora_A\.weight is for model\.layers\.2\./,
    );
    expect(state(model)).toEqual(before);
  });

  it('finds one misshapen tensor among many, wherever it is', async () => {
    const before = state(model);
    using folder = scratchFolder();
    const last = 'base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight';
    changedCopy(adapterFolder('lora'), folder.path, 'adapter_model.safetensors', (tensors) => {
      const { shape, data } = tensors[last] as FileTensor;
      tensors[last] = { shape: [(shape[0] as number) - 1, shape[1] as number], data: Array.from(data).slice(shape[1] as number) };
    });
    const error = await rejection(model.adapters.load('wrong', folder.path));
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.message).toContain(last);
    expect(error.message).toContain('[23, 8]');
    expect(error.message).toContain('[24, 8]');
    expect(state(model)).toEqual(before);
  });

  it('names a missing folder', async () => {
    expect(await rejection(model.adapters.load('none', join(adapterFolder('lora'), 'nowhere')))).toBeInstanceOf(FileAccessError);
  });

  it('says when all slots are taken, and when the pool is full', async () => {
    using slots = await loadModel(modelFolder('llama'), { maxAdapters: 1, adapters: { one: adapterFolder('lora') } });
    const before = state(slots);
    const error = await rejection(slots.adapters.load('two', adapterFolder('lora')));
    expect(error).toBeInstanceOf(PoolExhaustedError);
    expect(error.message).toMatch(/all 1 adapter slots are taken/);
    expect(state(slots)).toEqual(before);

    const { pageBytes } = model.memory().pool;
    using pages = await loadModel(modelFolder('llama'), { poolBytes: 3 * pageBytes });
    expect(await rejection(pages.adapters.load('big', adapterFolder('lora-rslora')))).toBeInstanceOf(PoolExhaustedError);
    expect(pages.memory().pool.heldPages).toBe(0);
    expect((await pages.complete({ tokens: [5], maxTokens: 40, ignoreEos: true })).tokens).toHaveLength(40);
  });

  it('gives up a model whose adapter does not fit, with all its memory', async () => {
    const before = memory();
    expect(
      await rejection(loadModel(modelFolder('llama'), { adapters: { lora: adapterFolder('lora'), poet: storyteller.adapter('poet') } })),
    ).toBeInstanceOf(AdapterError);
    await until(() => memory().bytes === before.bytes, 'all memory is given back');
  });

  it('lists what is loaded when a request names something else', async () => {
    using small = await loadModel(modelFolder('llama'));
    const bare = await rejection(small.score({ tokens, adapter: 'lora' }));
    expect(bare).toBeInstanceOf(MissingAdapterError);
    expect(bare.message).toMatch(/no adapter named 'lora' is loaded: none is/);
    await small.adapters.load('a', adapterFolder('lora'));
    await small.adapters.load('b', adapterFolder('lora-dora'));
    const error = await rejection(small.score({ tokens, adapter: ['a', 'c'] }));
    expect(error.message).toMatch(/'c' is loaded: loaded are a, b/);
    expect(small.adapters.get('a').uses).toBe(0);
    await small.adapters.load('poet', adapterFolder('lora'));
    expect((await rejection(small.score({ tokens, adapter: 'peot' }))).message).toMatch(/loaded are a, b, poet\. Did you mean 'poet'\?$/);
    expect(await small.score({ tokens, adapter: null })).toEqual(await small.score({ tokens }));
    expect(await rejection(small.adapters.load('__proto__', adapterFolder('lora')))).toBeInstanceOf(OptionError);
    expect(() => small.adapters.unload('c')).toThrow(MissingAdapterError);
  });
});

describe('an adapter with numbers that are none', () => {
  it('spoils its own requests only', async () => {
    using folder = scratchFolder();
    changedCopy(adapterFolder('lora-all-r3'), folder.path, 'adapter_model.safetensors', (tensors) => {
      for (const tensor of Object.values(tensors)) (tensor.data as Float32Array).fill(Number.NaN, 0, 5);
    });
    await model.adapters.load('broken', folder.path);
    const others = [undefined, 'lora', 'lora-all-r3'].map((adapter) => ({
      ...greedy,
      tokens: randomTokens(40, 256, 8),
      adapter,
      maxTokens: 12,
    }));
    const clean = await model.generateBatch(others);
    const spoiled = [
      model.complete({ ...others[0], adapter: 'broken' }),
      model.complete({ ...others[0], adapter: 'broken', temperature: 1, topK: 5, seed: 1 }),
      scoreOf(model, 'broken'),
    ].map(rejection);
    expect(await Promise.all(others.map((request) => model.complete(request)))).toEqual(clean);
    const fine = await scoreOf(model, 'lora');
    for (const error of await Promise.all(spoiled)) expect(error).toBeInstanceOf(NonFiniteError);
    expect(bitsOf(fine)).toBe(bitsOf(await scoreOf(model, 'lora')));
    // Pages that held the broken keys and values are clean for whoever gets them next.
    model.adapters.unload('broken');
    expect(await model.generateBatch(others)).toEqual(clean);
  });
});
