// Every architecture against transformers: log-probabilities of whole texts, and greedy continuations.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel } from '../../lib/index.js';
import { expectedScores, type FileTensor, largestError, modelFolder, readTensors, rowsOf } from './fixture_files.js';

const architectures = ['llama', 'llama3-rope-tied', 'llama-bias', 'mistral-window', 'qwen2', 'qwen3', 'gemma2', 'gemma3', 'phi3', 'gpt2'];

// Norms inside the reference run in float32: agreement ends near 1e-6.
const tolerance = 2e-5;

describe.each(architectures)('%s', (name) => {
  const folder = modelFolder(name);

  it('gives the log-probabilities of transformers', async () => {
    using model = await loadModel(folder);
    const expected = expectedScores(folder);
    const scores = await Promise.all(expected.map(({ tokens }) => model.score({ tokens })));
    for (const [i, { logprobs }] of scores.entries()) expect(largestError(logprobs, expected[i]?.logprobs ?? [])).toBeLessThan(tolerance);
  });

  it('continues greedily as transformers does', async () => {
    using model = await loadModel(folder);
    const { input_ids: ids, greedy } = readTensors(join(folder, 'expected.safetensors'));
    const expected = rowsOf(greedy as FileTensor);
    const requests = rowsOf(ids as FileTensor).map((tokens, i) => ({
      tokens,
      maxTokens: expected[i]?.length ?? 0,
      temperature: 0,
      ignoreEos: true,
    }));
    const made = await model.generateBatch(requests);
    expect(made.map((answer) => answer.tokens)).toEqual(expected);
  });
});

it('reads settings of rotary embeddings in the old spelling as in the new one', async () => {
  const { cp, mkdtemp, readFile, rm, writeFile } = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const folder = await mkdtemp(join(tmpdir(), 'heddle-spelling-'));
  try {
    await cp(modelFolder('llama3-rope-tied'), folder, { recursive: true });
    const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    const { rope_theta: theta, ...scaling } = config.rope_parameters as Record<string, unknown>;
    delete config.rope_parameters;
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...config, rope_theta: theta, rope_scaling: scaling }));
    using model = await loadModel(folder);
    for (const { tokens, logprobs } of expectedScores(folder))
      expect(largestError((await model.score({ tokens })).logprobs, logprobs)).toBeLessThan(tolerance);
  } finally {
    await rm(folder, { recursive: true });
  }
});
