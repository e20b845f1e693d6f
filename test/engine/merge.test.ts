// Adapters that become part of a live model's weights, and leave them again without a trace.
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { narrow } from '../../lib/adapters/narrow.js';
import { saveAdapterFolder } from '../../lib/adapters/save_adapter.js';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { AdapterError, loadModel, MissingAdapterError, type Model, OptionError } from '../../lib/index.js';
import { uniform } from '../kernels/numbers.js';
import { adapterFolder, bitsOf, expectedScores, largestError, modelFolder, peftAdapters, readTensors } from '../models/fixture_files.js';
import { randomTokens, rejection, untilIdle, weightBytes } from './driving.js';

const tokens = expectedScores(modelFolder('llama'))[0]?.tokens as number[];
const unmergeable = ['lora-bias', 'adaption-prompt', 'p-tuning', 'prefix-tuning', 'prompt-tuning'];
let model: Model;
let scratch: string;

beforeAll(async () => {
  model = await loadModel(modelFolder('llama'), {
    adapters: Object.fromEntries(peftAdapters.map((name) => [name, adapterFolder(name)])),
    maxAdapters: 64,
  });
  scratch = await mkdtemp(join(tmpdir(), 'heddle-merge-'));
});
// One failure is enough.
afterEach(async () => {
  if (model.adapters.merged !== undefined) await model.adapters.unmerge();
});
afterAll(async () => {
  model.dispose();
  await rm(scratch, { recursive: true });
});

const scoreOf = async (on: Model, adapter?: Parameters<Model['score']>[0]['adapter']): Promise<readonly (number | null)[]> =>
  (await on.score({ tokens, adapter })).logprobs;

describe.each(peftAdapters.filter((name) => !unmergeable.includes(name)))('merged %s', (name) => {
  it.each([1, 0.5])('is the adapter at scale %d, and leaves without a trace', async (scale) => {
    const bare = bitsOf(await scoreOf(model));
    const before = await weightBytes(model);
    const loaded = await scoreOf(model, { name, scale });
    const merged = await model.adapters.merge(name, { scale });
    expect(merged).toEqual({ name, scale, contentHash: model.adapters.get(name).contentHash });
    expect(model.adapters.merged).toEqual(merged);
    expect(await weightBytes(model)).not.toEqual(before);
    const now = await scoreOf(model);
    // Trained tokens only show where they occur.
    if (name !== 'trainable-tokens') expect(bitsOf(now)).not.toBe(bare);
    expect(largestError(now, loaded.slice(1) as number[])).toBeLessThan(5e-5);
    await model.adapters.unmerge();
    expect(model.adapters.merged).toBeUndefined();
    expect(await weightBytes(model)).toEqual(before);
    expect(bitsOf(await scoreOf(model))).toBe(bare);
    expect(bitsOf(await scoreOf(model, { name, scale }))).toBe(bitsOf(loaded));
  });
});

/** Writes a LoRA adapter of rank 2 with random tensors of these shapes. */
async function writeAdapter(
  name: string,
  shapes: Record<string, readonly number[]>,
  options: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const random = uniform(name.length);
  const tensors = new Map(
    Object.entries(shapes).map(([tensor, shape]) => [
      `base_model.model.${tensor}`,
      { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() - 0.5) },
    ]),
  );
  const folder = join(scratch, name);
  await saveAdapterFolder(folder, { config: { peft_type: 'LORA', r: 2, lora_alpha: 3, ...options }, tensors });
  return folder;
}

describe('merging with biases, tied weights, other dtypes', () => {
  it.each([1, -0.75])('adds biases to those of the base, scale %d', async (scale) => {
    const { hidden_size: width } = JSON.parse(readFileSync(join(modelFolder('llama-bias'), 'config.json'), 'utf8')) as {
      hidden_size: number;
    };
    const module = 'model.layers.1.self_attn.q_proj';
    const own = await writeAdapter(
      `biased ${scale}`,
      { [`${module}.lora_A.weight`]: [2, width], [`${module}.lora_B.weight`]: [width, 2], [`${module}.lora_B.bias`]: [width] },
      { lora_bias: true, target_modules: [module] },
    );
    const biased = await loadModel(modelFolder('llama-bias'), { adapters: { own } });
    const before = await weightBytes(biased);
    const bare = await scoreOf(biased);
    const loaded = await scoreOf(biased, { name: 'own', scale });
    expect(largestError(loaded, bare.slice(1) as number[])).toBeGreaterThan(1e-3);
    await biased.adapters.merge('own', { scale });
    expect(largestError(await scoreOf(biased), loaded.slice(1) as number[])).toBeLessThan(5e-5);
    await biased.adapters.unmerge();
    expect(await weightBytes(biased)).toEqual(before);
    biased.dispose();
  });

  it('refuses a bias that the base has no place for, and changes nothing', async () => {
    const before = await weightBytes(model);
    const error = await rejection(model.adapters.merge('lora-bias'));
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.message).toMatch(/adds a bias to model\.layers\.0\.self_attn\.q_proj, which has none/);
    expect(await weightBytes(model)).toEqual(before);
    expect(model.adapters.merged).toBeUndefined();
  });

  it.each(['adaption-prompt', 'p-tuning', 'prefix-tuning', 'prompt-tuning'])('refuses %s, which changes no weight', async (name) => {
    const before = await weightBytes(model);
    await model.adapters.load('own', adapterFolder(name));
    const error = await rejection(model.adapters.merge('own'));
    model.adapters.unload('own');
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.message).toMatch(
      /^own cannot be merged: it brings (\d+ positions in front of|keys and values beside) the text.*, which no weight holds$/,
    );
    expect(await weightBytes(model)).toEqual(before);
  });

  it('refuses an adapter of one of two modules with one weight', async () => {
    const folder = modelFolder('llama3-rope-tied');
    const { hidden_size: width, vocab_size: vocabulary } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as {
      hidden_size: number;
      vocab_size: number;
    };
    const own = await writeAdapter(
      'tied',
      { 'model.embed_tokens.lora_embedding_A': [2, vocabulary], 'model.embed_tokens.lora_embedding_B': [width, 2] },
      { target_modules: ['embed_tokens'] },
    );
    const tied = await loadModel(folder, { adapters: { own } });
    const before = await weightBytes(tied);
    const error = await rejection(tied.adapters.merge('own'));
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.message).toBe(
      'own cannot be merged: it changes model.embed_tokens and not lm_head, which has the same weight in llama3-rope-tied',
    );
    expect(await weightBytes(tied)).toEqual(before);
    tied.dispose();
  });

  it.each(['bf16', 'f16'] as const)('rounds once to %s', async (dtype) => {
    const folder = join(scratch, dtype);
    await cp(modelFolder('llama'), folder, { recursive: true });
    const source = readTensors(join(modelFolder('llama'), 'model.safetensors'));
    await writeSafetensors(
      join(folder, 'model.safetensors'),
      Object.entries(source).map(([name, { shape, data }]) => ({
        name,
        dtype: dtype.toUpperCase(),
        shape,
        data: narrow(dtype, Float64Array.from(data)),
      })),
    );
    const half = await loadModel(folder, { adapters: { own: adapterFolder('lora') }, precision: 'precise' });
    const before = await weightBytes(half);
    const loaded = (await scoreOf(half, 'own')).slice(1) as number[];
    const bare = largestError(await scoreOf(half), loaded);
    await half.adapters.merge('own');
    expect(largestError(await scoreOf(half), loaded)).toBeLessThan(Math.min(bare / 4, dtype === 'f16' ? 0.01 : 0.08));
    await half.adapters.unmerge();
    expect(await weightBytes(half)).toEqual(before);
    half.dispose();
  });
});

describe('merging while requests run', () => {
  it('refuses while a request is under way, and works when it has ended', async () => {
    // Enough of them that they are not through before anybody looks.
    const running = Promise.all(
      tokens.map((token) => model.complete({ tokens: [token], maxTokens: 200, ignoreEos: true, temperature: 0 })),
    );
    await new Promise((resolve) => setImmediate(resolve));
    const error = await rejection(model.adapters.merge('lora'));
    expect(error).toBeInstanceOf(AdapterError);
    expect(error.message).toMatch(/requests are under way/);
    await running;
    await model.adapters.merge('lora');
    await model.adapters.unmerge();
  });

  it('lets requests that arrive during a merge begin after it', async () => {
    const wanted = (await scoreOf(model, 'lora')).slice(1) as number[];
    const merging = model.adapters.merge('lora');
    const scores = await Promise.all([scoreOf(model), scoreOf(model)]);
    await merging;
    for (const score of scores) expect(largestError(score, wanted)).toBeLessThan(5e-5);
    const unmerging = model.adapters.unmerge();
    const after = await scoreOf(model);
    await unmerging;
    expect(largestError(after, wanted)).toBeGreaterThan(1e-3);
  });

  it('refuses requests with adapters while one is merged, from the first moment on', async () => {
    const merging = model.adapters.merge('lora');
    const error = await rejection(model.score({ tokens, adapter: 'ia3' }));
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toBe(
      "a request names 'ia3' while 'lora' is merged into llama: leave adapters out, or call adapters.unmerge() first",
    );
    await merging;
    expect(await rejection(model.complete({ tokens, adapter: 'lora' }))).toBeInstanceOf(OptionError);
    expect((await rejection(model.adapters.merge('ia3'))).message).toMatch(/'lora' is merged into llama already/);
    await model.adapters.unmerge();
    expect((await rejection(model.adapters.unmerge())).message).toBe('no adapter is merged into llama');
    await untilIdle(model);
    await model.score({ tokens, adapter: 'ia3' });
  });

  it('keeps prefixes of other weights apart and finds them again', async () => {
    const prompt = { tokens: randomTokens(70, 256, 9), maxTokens: 2, temperature: 0, ignoreEos: true };
    const first = await model.complete(prompt);
    const cached = (): number => model.stats().cachedTokens;
    const before = cached();
    await model.adapters.merge('lora-all-r3');
    const merged = await model.complete(prompt);
    expect(cached()).toBe(before);
    expect(merged.logprobs[0]?.logprob).not.toBe(first.logprobs[0]?.logprob);
    await model.complete(prompt);
    const again = cached();
    expect(again).toBeGreaterThan(before);
    await model.adapters.unmerge();
    expect(await model.complete(prompt)).toEqual(first);
    expect(cached()).toBeGreaterThan(again);
  });

  it('refuses names and scales that are none', async () => {
    expect(await rejection(model.adapters.merge('nobody'))).toBeInstanceOf(MissingAdapterError);
    expect(await rejection(model.adapters.merge('lora', { scale: Number.NaN }))).toBeInstanceOf(OptionError);
  });
});
