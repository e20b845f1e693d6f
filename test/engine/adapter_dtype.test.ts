// adapterDtype: 'bf16' gives what the same adapters saved in bf16 give, in less memory.
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { narrow } from '../../lib/adapters/narrow.js';
import { writeSafetensors } from '../../lib/checkpoint/write_safetensors.js';
import { loadModel } from '../../lib/index.js';
import { bitsOf, readTensors, storyteller } from '../models/fixture_files.js';
import { scratchFolder } from '../models/write_fixture.js';

const text = 'It was a dark night, and the old house at the end of the road was not as empty as they had been told.';

async function savedInBf16(from: string, to: string): Promise<void> {
  copyFileSync(join(from, 'adapter_config.json'), join(to, 'adapter_config.json'));
  const tensors = Object.entries(readTensors(join(from, 'adapter_model.safetensors')));
  await writeSafetensors(
    join(to, 'adapter_model.safetensors'),
    tensors.map(([name, { shape, data }]) => ({ name, dtype: 'BF16', shape: [...shape], data: narrow('bf16', Float64Array.from(data)) })),
  );
}

describe('adapterDtype', () => {
  it("'bf16' rounds what files have in f32", async () => {
    using scratch = scratchFolder();
    await savedInBf16(storyteller.adapter('poet'), scratch.path);
    const adapters = { poet: storyteller.adapter('poet') };
    using stored = await loadModel(storyteller.base, { adapters });
    using rounded = await loadModel(storyteller.base, { adapters, adapterDtype: 'bf16' });
    using saved = await loadModel(storyteller.base, { adapters: { poet: scratch.path } });
    const [exact, near, wanted] = await Promise.all(
      [stored, rounded, saved].map(async (model) => (await model.score({ text, adapter: 'poet' })).logprobs),
    );
    expect(bitsOf(near ?? [])).toBe(bitsOf(wanted ?? []));
    const errors = (near ?? []).slice(1).map((logprob, i) => Math.abs((logprob as number) - (exact?.[i + 1] as number)));
    expect(Math.max(...errors)).toBeLessThan(0.05);
    expect(Math.max(...errors)).toBeGreaterThan(0);
    const pages = [rounded, stored].map((model) => model.memory().pool.heldPages) as [number, number];
    expect(pages[0]).toBeLessThan(0.6 * pages[1]);
  });

  it('of another name is refused', async () => {
    await expect(loadModel(storyteller.base, { adapterDtype: 'f8' as 'bf16' })).rejects.toMatchObject({ code: 'ERR_HEDDLE_OPTION' });
  });
});
