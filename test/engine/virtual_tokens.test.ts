// Adapters that bring positions in front of the text, against texts that begin with tokens which amount to the same.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { loadModel, type Model, OptionError, PromptTooLongError } from '../../lib/index.js';
import { llamaLogits } from '../adapters/llama.reference.js';
import { MemoryTensors } from '../adapters/memory_tensors.js';
import { bitsOf, largestError, modelFolder } from '../models/fixture_files.js';

const weights = MemoryTensors.fromFile(join(modelFolder('llama'), 'model.safetensors'));
// Longer than a page of the cache, and no multiple of one.
const front = Array.from({ length: 21 }, (_, i) => (i * 37 + 11) % 256);
const text = Array.from({ length: 30 }, (_, i) => (i * 53 + 7) % 256);
const folder = mkdtempSync(join(tmpdir(), 'heddle-virtual-'));
let model: Model;

async function write(name: string, config: Record<string, unknown>, width: number, rows: readonly ArrayLike<number>[]): Promise<string> {
  const path = join(folder, name);
  mkdirSync(path);
  writeFileSync(join(path, 'adapter_config.json'), JSON.stringify({ num_virtual_tokens: rows.length, ...config }));
  const data = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    data.set(Float32Array.from(row), i * width);
  });
  await writeSafetensors(join(path, 'adapter_model.safetensors'), [
    { name: 'prompt_embeddings', dtype: 'F32', shape: [rows.length, width], data: new Uint8Array(data.buffer) },
  ]);
  return path;
}

beforeAll(async () => {
  const table = weights.values('model.embed_tokens.weight');
  const rows = front.map((id) => table.subarray(id * 48, (id + 1) * 48));
  const kept = { keys: [] as Float64Array[][], values: [] as Float64Array[][] };
  llamaLogits(weights, front, undefined, kept);
  const prefix = front.map((_, t) =>
    [0, 1].flatMap((layer) => [kept.keys, kept.values].flatMap((all) => Array.from(all[layer]?.[t] ?? []))),
  );
  model = await loadModel(modelFolder('llama'), {
    adapters: {
      prompt: await write('prompt', { peft_type: 'PROMPT_TUNING' }, 48, rows),
      prefix: await write('prefix', { peft_type: 'PREFIX_TUNING' }, 96, prefix),
      lora: join(import.meta.dirname, '../fixtures/adapters/lora'),
    },
  });
});
afterAll(() => {
  model.dispose();
  rmSync(folder, { recursive: true });
});

const tail = (logprobs: readonly (number | null)[]): (number | null)[] => logprobs.slice(front.length + 1);

describe('embeddings of known tokens', () => {
  it('give the bits that the tokens themselves give', async () => {
    const [inFront, virtual] = await Promise.all([
      model.score({ tokens: [...front, ...text] }),
      model.score({ tokens: text, adapter: 'prompt' }),
    ]);
    expect(bitsOf(virtual.logprobs.slice(1))).toBe(bitsOf(tail(inFront.logprobs)));
  });

  it('continue as the tokens do, also with other adapters beside them', async () => {
    const options = { maxTokens: 12, temperature: 0, ignoreEos: true };
    const [inFront, virtual] = await model.generateBatch([
      { tokens: [...front, ...text], ...options },
      { tokens: text, adapter: 'prompt', ...options },
    ]);
    expect(virtual?.tokens).toEqual(inFront?.tokens);
    expect(bitsOf(virtual?.logprobs.map((t) => t.logprob) ?? [])).toBe(bitsOf(inFront?.logprobs.map((t) => t.logprob) ?? []));
    const both = [{ name: 'lora', scale: 1 }, { name: 'prompt' }];
    const [changed, together] = [
      await model.score({ tokens: [...front, ...text], adapter: 'lora' }),
      await model.score({ tokens: text, adapter: both }),
    ];
    expect(largestError(together.logprobs, tail(changed.logprobs) as number[])).toBeLessThan(1e-5);
  });
});

describe('keys and values of known tokens', () => {
  it('give the numbers that the tokens themselves give', async () => {
    const [inFront, virtual] = await Promise.all([
      model.score({ tokens: [...front, ...text] }),
      model.score({ tokens: text, adapter: 'prefix' }),
    ]);
    expect(largestError(virtual.logprobs, tail(inFront.logprobs) as number[])).toBeLessThan(2e-5);
  });

  it('generate what their own scores say', async () => {
    const answer = await model.complete({ tokens: text, adapter: 'prefix', maxTokens: 8, temperature: 0, ignoreEos: true });
    const score = await model.score({ tokens: [...text, ...answer.tokens], adapter: 'prefix' });
    expect(bitsOf(answer.logprobs.map((t) => t.logprob))).toBe(bitsOf(score.logprobs.slice(text.length)));
  });
});

describe.each(['prompt', 'prefix'])('%s', (adapter) => {
  it('is found in the prefix cache, to the same bits, and never by others', async () => {
    const options = { tokens: text, maxTokens: 6, temperature: 0, ignoreEos: true };
    const first = await model.complete({ ...options, adapter });
    const before = model.stats().cachedTokens;
    const again = await model.complete({ ...options, adapter });
    expect(model.stats().cachedTokens - before).toBe(48);
    expect(bitsOf(again.logprobs.map((t) => t.logprob))).toBe(bitsOf(first.logprobs.map((t) => t.logprob)));
    const bare = await model.complete(options);
    const score = await model.score({ tokens: [...text, ...bare.tokens] });
    expect(bitsOf(bare.logprobs.map((t) => t.logprob))).toBe(bitsOf(score.logprobs.slice(text.length)));
  });

  it('takes its tokens from the context', async () => {
    const room = model.contextLength - front.length;
    const fits = Array.from({ length: room - 1 }, (_, i) => i % 256);
    const answer = await model.complete({ tokens: fits, adapter, temperature: 0, ignoreEos: true });
    expect(answer.tokens.length).toBe(1);
    await expect(model.complete({ tokens: [...fits, 1], adapter })).rejects.toThrow(PromptTooLongError);
    await expect(model.score({ tokens: [...fits, 1, 2], adapter })).rejects.toThrow(/beside the 21 that the adapter brings/);
    expect(model.adapters.get(adapter).uses).toBe(0);
  });

  it('has no scale and no second one beside it', async () => {
    await expect(model.score({ tokens: text, adapter: { name: adapter, scale: 0.5 } })).rejects.toThrow(
      /have no scale: got 0.5, expected 1/,
    );
    await expect(model.score({ tokens: text, adapter: [{ name: 'prompt' }, { name: 'prefix' }] })).rejects.toThrow(OptionError);
    expect(model.adapters.get(adapter).uses).toBe(0);
  });
});

// Where virtual tokens enter differs: learned positions are added behind it, and Gemma scales what it looks up before it.
describe.each([
  ['gpt2', 'transformer.wte.weight', 1],
  ['gemma2', 'model.embed_tokens.weight', Math.fround(Math.sqrt(48))],
  ['qwen2', 'model.embed_tokens.weight', 1],
] as const)('%s', (name, table, scale) => {
  it('gives the bits that the tokens themselves give', async () => {
    const stored = MemoryTensors.fromFile(join(modelFolder(name), 'model.safetensors')).values(table);
    const rows = front.map((id) => stored.subarray(id * 48, (id + 1) * 48).map((x) => x * scale));
    const other = await loadModel(modelFolder(name), {
      adapters: { prompt: await write(`prompt ${name}`, { peft_type: 'P_TUNING' }, 48, rows) },
    });
    try {
      const inFront = await other.score({ tokens: [...front, ...text] });
      const virtual = await other.score({ tokens: text, adapter: 'prompt' });
      expect(bitsOf(virtual.logprobs.slice(1))).toBe(bitsOf(tail(inFront.logprobs)));
    } finally {
      other.dispose();
    }
  });
});

describe.each(['f16', 'bf16'] as const)('a cache in %s', (cacheDtype) => {
  it('holds given keys and values as it holds computed ones', async () => {
    const other = await loadModel(modelFolder('llama'), { cacheDtype, adapters: { prefix: join(folder, 'prefix') } });
    try {
      const inFront = await other.score({ tokens: [...front, ...text] });
      const virtual = await other.score({ tokens: text, adapter: 'prefix' });
      // Equal but for a few numbers that lie midway between two.
      expect(largestError(virtual.logprobs, tail(inFront.logprobs) as number[])).toBeLessThan(cacheDtype === 'f16' ? 1e-3 : 1e-2);
    } finally {
      other.dispose();
    }
  });
});
