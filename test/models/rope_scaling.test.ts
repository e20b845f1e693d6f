// Stretched rotary embeddings against transformers: the llama fixture with other settings, texts within and beyond the original context.
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel, type Model } from '../../lib/index.js';
import { largestError, modelFolder } from './fixture_files.js';

interface RopeCase {
  readonly name: string;
  readonly rope_parameters: Readonly<Record<string, unknown>>;
  readonly max_position_embeddings: number;
  readonly texts: readonly { readonly tokens: number[]; readonly logprobs: number[] }[];
}

const file = new URL('../fixtures/rope_scaling.json', import.meta.url);
const { cases } = JSON.parse(await readFile(file, 'utf8')) as { cases: readonly RopeCase[] };

async function withSettings(settings: object, use: (model: Model) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'heddle-rope-'));
  try {
    await cp(modelFolder('llama'), folder, { recursive: true });
    const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as object;
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, ...settings }));
    using model = await loadModel(folder);
    await use(model);
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe.each(cases)('$name', ({ texts, name: _, ...settings }) => {
  it('gives the log-probabilities of transformers', async () => {
    await withSettings(settings, async (model) => {
      for (const { tokens, logprobs } of texts) expect(largestError((await model.score({ tokens })).logprobs, logprobs)).toBeLessThan(2e-5);
    });
  });
});

it('lets dynamic settings stretch the context by their factor, and no further', async () => {
  const dynamic = cases.find(({ name }) => name === 'dynamic') as RopeCase;
  await withSettings({ rope_parameters: dynamic.rope_parameters, max_position_embeddings: 32 }, async (model) => {
    const tokens = Array.from({ length: 129 }, (_, i) => 3 + (i % 50));
    expect((await model.score({ tokens: tokens.slice(0, 128) })).logprobs).toHaveLength(128);
    await expect(model.score({ tokens })).rejects.toThrow(/128/);
  });
});
