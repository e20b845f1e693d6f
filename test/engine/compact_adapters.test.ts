// Adapters whose bf16 factors lie in 12 bits a number give what the same factors row by row give.
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { narrow } from '../../lib/adapters/narrow.js';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { loadModel, type Model } from '../../lib/index.js';
import { binding } from '../../lib/runtime/binding.js';
import { bitsOf, readTensors } from '../models/fixture_files.js';
import { scratchFolder } from '../models/write_fixture.js';

const story = join(import.meta.dirname, '../../examples/storyteller');
const text = 'It was a dark night, and the old house at the end of the road was not as empty as they had been told.';

/** The poet in bf16: of rank 8, or with a row of zeros more, which makes no difference but that rows of such a rank are not compact. */
async function poet(folder: string, rank: 8 | 9): Promise<void> {
  const source = join(story, 'adapters/poet');
  const config = JSON.parse(readFileSync(join(source, 'adapter_config.json'), 'utf8')) as { r: number; lora_alpha: number };
  expect([config.r, config.lora_alpha]).toEqual([8, 16]);
  copyFileSync(join(source, 'adapter_config.json'), join(folder, 'adapter_config.json'));
  writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ ...config, r: rank, lora_alpha: 2 * rank }));
  const tensors = Object.entries(readTensors(join(source, 'adapter_model.safetensors'))).map(([name, { shape, data }]) => {
    const [rows, columns] = shape as [number, number];
    const wide = name.includes('lora_A') ? [rank, columns] : [rows, rank];
    const values = new Float64Array((wide[0] as number) * (wide[1] as number));
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) values[r * (wide[1] as number) + c] = data[r * columns + c] as number;
    return { name, dtype: 'BF16', shape: wide, data: narrow('bf16', values) };
  });
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors);
}

describe.skipIf(!binding().compactPays())('compact adapters', () => {
  let model: Model;
  beforeAll(async () => {
    using compact = scratchFolder();
    using plain = scratchFolder();
    await Promise.all([poet(compact.path, 8), poet(plain.path, 9)]);
    model = await loadModel(join(story, 'base'), { adapters: { compact: compact.path, plain: plain.path } });
  });
  afterAll(() => model.dispose());

  it('give the same bits of scores', async () => {
    const scores = async (adapter?: string) => (await model.score({ text, adapter })).logprobs;
    expect(bitsOf(await scores('compact'))).toBe(bitsOf(await scores('plain')));
    expect(bitsOf(await scores('compact'))).not.toBe(bitsOf(await scores()));
  });

  it('give the same tokens and bits when they are decoded together', async () => {
    const request = { prompt: text, temperature: 0, maxTokens: 12, ignoreEos: true, topLogprobs: 2 };
    const [a, b, c] = await Promise.all(
      ['compact', 'plain', { name: 'compact', scale: 0.5 }].map((adapter) => model.complete({ ...request, adapter })),
    );
    expect(a).toEqual(b);
    expect(a?.logprobs).toHaveLength(12);
    expect(a?.logprobs).not.toEqual(c?.logprobs);
  });
});
