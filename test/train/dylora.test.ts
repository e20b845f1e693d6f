// DyLoRA: what a step uses and trains, what is saved at each rank, and that low ranks are worth more than those of LoRA.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trainableMethod } from '../../lib/adapters/methods/trainable.js';
import { openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { openSafetensors } from '../../lib/checkpoint/safetensors.js';
import { loadModel } from '../../lib/index.js';
import { createStepRunner, loadTrainedAdapter, saveTrainedAdapter } from '../../lib/train/model_backend.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import { randomTokens } from '../engine/driving.js';
import { readTensors } from '../models/fixture_files.js';
import { batchOfDocuments, meanLoss, type OneAdapter, steps, tinyLlama, trainOne } from './driving_training.js';

const documents = [randomTokens(41, 256, 11), randomTokens(23, 256, 12)];
const batch = batchOfDocuments(documents);
const targets = { alpha: 8, targetModules: ['q_proj', 'o_proj', 'up_proj', 'down_proj'] };
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'heddle-dylora-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

async function gradientRows({ runner }: OneAdapter, part: string): Promise<Set<number>> {
  const { adapter, read } = runner.adapterNamed('own');
  const rows = new Set<number>();
  for (const { path, spec } of adapter.stored.parameters) {
    if (spec.part !== part) continue;
    const width = spec.shape.at(-1) as number;
    (await read(path, 'gradients')).get(part)?.forEach((value, i) => {
      if (value !== 0) rows.add(Math.floor(i / width));
    });
  }
  return rows;
}

describe('a step of dylora', () => {
  it.each([true, false])('trains what it drew, frozen %s', { timeout: 60_000 }, async (frozen) => {
    using own = await trainOne({ method: 'dylora', ...targets, rank: 4, methodOptions: { frozen } }, [batch]);
    const { adapter, write, read } = own.runner.adapterNamed('own');
    // Away from B = 0, where A has no gradient.
    for (const { path, spec } of adapter.stored.parameters)
      if (spec.part === 'bT') {
        const values = (await read(path)).get('bT') as Float32Array;
        await write(
          path,
          'bT',
          values.map((_, i) => Math.sin(i)),
        );
      }
    const seen = new Set<number>();
    for (let step = 0; step < 12; step++) {
      await own.runner.accumulate({ ...batch, step });
      const rows = [...(await gradientRows(own, 'A'))].sort();
      expect([...(await gradientRows(own, 'bT'))].sort()).toEqual(rows);
      const drawn = Math.max(...rows) + 1;
      expect(rows).toEqual(frozen ? [drawn - 1] : Array.from({ length: drawn }, (_, i) => i));
      seen.add(drawn);
      await own.parameters.gradients.buffer.write(
        own.parameters.gradients.offset,
        new Float32Array(own.parameters.gradients.dims[0] as number),
      );
    }
    expect(seen.size).toBeGreaterThan(2);
  });

  it('uses the first rows with scale alpha / b, and all of them when it evaluates', { timeout: 60_000 }, async () => {
    const seeds = { method: 'dylora', ...targets, rank: 4, seed: 3 };
    using own = await trainOne(seeds, [batch]);
    await steps(own, batch, 8, 1e-2);
    const whole = (await own.runner.evaluate(batch)).logprobs;
    const during = (await own.runner.accumulate({ ...batch, step: 1 })).logprobs;
    expect((await own.runner.evaluate(batch)).logprobs).toEqual(whole);
    const scores = await Promise.all([1, 2, 3, 4].map((rank) => scoredAt(own, rank)));
    const apart = scores.map((score) => Math.max(...score.map((value, i) => Math.abs(value - (during[i] as number)))));
    expect(Math.min(...apart)).toBeLessThan(2e-5);
    expect(Math.max(...(scores[3] as number[]).map((value, i) => Math.abs(value - (whole[i] as number))))).toBeLessThan(2e-5);
  });

  it('is the same beside another adapter', { timeout: 60_000 }, async () => {
    const words = { model: tinyLlama, output: '/nowhere', data: 'unused', ...targets, rank: 4 };
    const settings = parseTrainOptions({ ...words, adapters: { lora: {}, own: { method: 'dylora' } } });
    const hugging = await openHuggingFaceFolder(tinyLlama);
    const adapters = [...settings.adapters].map(([name, own]) => ({ name, settings: own }));
    const both = await createStepRunner(hugging, { adapters, settings, maxTokens: 64, maxRows: 64 });
    using alone = await trainOne({ method: 'dylora', ...targets, rank: 4 }, [batch]);
    const ofOwn = { ...batch, index: batch.index.map(() => 1), rowAdapter: batch.rowAdapter.map(() => 1) };
    for (const step of [0, 1, 2, 3]) {
      await both.accumulate({ ...ofOwn, step });
      await alone.runner.accumulate({ ...batch, step });
    }
    expect((await both.evaluate(ofOwn)).logprobs).toEqual((await alone.runner.evaluate(batch)).logprobs);
    const path = 'model.layers.0.mlp.up_proj';
    const gradients = await both.adapterNamed('own').read(path, 'gradients');
    expect(gradients.get('bT')?.some((value) => value !== 0)).toBe(true);
    expect(gradients).toEqual(await alone.runner.adapterNamed('own').read(path, 'gradients'));
    both.dispose();
    hugging.dispose();
  });

  it('draws from the least rank to the whole one', () => {
    const method = trainableMethod('dylora');
    const settings = {
      rank: 4,
      alpha: 8,
      rsLora: false,
      loraPlusRatio: 1,
      init: undefined,
      targetModules: [],
      methodOptions: { minRank: 2 },
    };
    const shares = [0, 0.3, 0.34, 0.66, 0.67, 0.999999].map((draw) => method.perStep?.(settings, draw));
    expect(shares.map((share) => share?.rank)).toEqual([2, 2, 3, 3, 4, 4]);
    expect(shares[2]).toEqual({ rank: 3, scale: 8 / 3, trainedRows: [2, 3] });
  });
});

/** Log-probabilities in the engine of an adapter saved at a rank. */
async function scoredAt(own: OneAdapter, rank: number, saved = join(folder, `rank-${rank}`)): Promise<number[]> {
  const { adapter } = own.runner.adapterNamed('own');
  const settings = { ...adapter.settings, methodOptions: { ...adapter.settings.methodOptions, exportRank: rank } };
  Object.assign(adapter, { settings });
  await saveTrainedAdapter(own.runner, 'own', saved, { base: tinyLlama });
  using model = await loadModel(tinyLlama, { adapters: { own: saved } });
  const scores = await Promise.all(documents.map((tokens) => model.score({ tokens, adapter: 'own' })));
  return scores.flatMap(({ logprobs }) => logprobs.slice(1) as number[]);
}

describe('dylora at every rank', () => {
  it('is saved as the first rows, and is worth more there than LoRA cut off', { timeout: 120_000 }, async () => {
    const rank = 4;
    const lossAt = async (own: OneAdapter, of: number): Promise<number> => meanLoss(Float32Array.from(await scoredAt(own, of)));
    using dylora = await trainOne({ method: 'dylora', ...targets, rank, methodOptions: { frozen: false } }, [batch]);
    await steps(dylora, batch, 160, 1e-2);
    const whole = await readFactors(dylora, rank);
    const cut = await readFactors(dylora, 2);
    for (const [name, { shape, data }] of Object.entries(cut)) {
      const wanted = whole[name] as typeof cut extends Record<string, infer T> ? T : never;
      const [rows, columns] = shape as [number, number];
      const width = wanted.shape[1] as number;
      for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) expect(data[r * columns + c]).toBe(wanted.data[r * width + c]);
    }
    using lora = await trainOne({ method: 'lora', ...targets, rank }, [batch]);
    await steps(lora, batch, 160, 1e-2);
    // LoRA's factors under dylora's export: both ways to scale what is cut off.
    const saved = join(folder, 'lora');
    await saveTrainedAdapter(lora.runner, 'own', saved, { base: tinyLlama });
    using cutter = await trainOne({ method: 'dylora', ...targets, rank }, [batch]);
    const file = await openSafetensors(join(saved, 'adapter_model.safetensors'));
    await loadTrainedAdapter(cutter.runner, 'own', file, { adapter: 'lora', base: 'base' });
    file.dispose();
    const fixed = async (of: number): Promise<number> => {
      const at = join(folder, `fixed-${of}`);
      const { adapter } = cutter.runner.adapterNamed('own');
      const before = adapter.settings;
      Object.assign(adapter, { settings: { ...before, alpha: (targets.alpha * of) / rank } });
      const loss = meanLoss(Float32Array.from(await scoredAt(cutter, of, at)));
      Object.assign(adapter, { settings: before });
      return loss;
    };
    const low = [1, 2, 3];
    const mean = async (loss: (of: number) => Promise<number>): Promise<number> => {
      let sum = 0;
      for (const of of low) sum += await loss(of);
      return sum / low.length;
    };
    const own: number[] = [];
    for (const of of [...low, rank]) own.push(await lossAt(dylora, of));
    const ownMean = ((own[0] as number) + (own[1] as number) + (own[2] as number)) / 3;
    const best = Math.min(await mean((of) => lossAt(cutter, of)), await mean(fixed));
    expect(ownMean).toBeLessThanOrEqual(0.75 * best);
    own.slice(1).forEach((loss, i) => {
      expect(loss).toBeLessThanOrEqual(1.1 * (own[i] as number));
    });
  });
});

async function readFactors(own: OneAdapter, rank: number): Promise<ReturnType<typeof readTensors>> {
  const saved = join(folder, `factors-${rank}`);
  await scoredAt(own, rank, saved);
  return readTensors(join(saved, 'adapter_model.safetensors'));
}
