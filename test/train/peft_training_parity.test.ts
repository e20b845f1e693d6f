// Ten steps of AdamW on LoRA factors against PyTorch with PEFT: losses, first gradients, final factors.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { openSafetensors, type SafetensorsFile } from '../../lib/checkpoint/safetensors.js';
import type { ModelStepRunner } from '../../lib/train/model/model_step_runner.js';
import { createStepRunner, loadTrainedAdapter } from '../../lib/train/model_backend.js';
import { AdapterOptimiser } from '../../lib/train/optimiser.js';
import { parseTrainOptions } from '../../lib/train/options.js';
import type { TrainingMicroBatch } from '../../lib/train/step_runner.js';
import { batchOfDocuments } from './driving_training.js';

const fixture = join(import.meta.dirname, '../fixtures/training/llama-lora');
const model = join(import.meta.dirname, '../fixtures/models/llama');
const expected = JSON.parse(readFileSync(join(fixture, 'expected.json'), 'utf8')) as { losses: number[] };

async function integers(file: SafetensorsFile, name: string): Promise<number[][]> {
  const shape = file.info(name)?.shape as [number, number];
  const values = Array.from(new BigInt64Array(await file.read(name)), Number);
  return Array.from({ length: shape[0] }, (_, row) => values.slice(row * shape[1], (row + 1) * shape[1]));
}

async function batchOf(path: string): Promise<TrainingMicroBatch> {
  const file = await openSafetensors(path);
  const ids = await integers(file, 'input_ids');
  const labels = await integers(file, 'labels');
  file.dispose();
  return batchOfDocuments(ids, 0, labels);
}

async function tensorsOf(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(path);
  const found = new Map<string, Float32Array>();
  for (const name of file.names()) found.set(name, new Float32Array(await file.read(name)));
  file.dispose();
  return found;
}

const norm = (values: Iterable<number>): number => Math.sqrt(Array.from(values).reduce((sum, v) => sum + v * v, 0));

function expectNear(actual: ReadonlyMap<string, Float32Array>, wanted: ReadonlyMap<string, Float32Array>, relative: number): void {
  expect([...actual.keys()].sort()).toEqual([...wanted.keys()].sort());
  for (const [name, values] of wanted) {
    const difference = norm(values.map((v, i) => v - (actual.get(name)?.[i] as number)));
    expect(difference, name).toBeLessThanOrEqual(relative * norm(values) + 1e-12);
  }
}

describe.each(['none', 'layer'] as const)('ten steps of LoRA, recompute %s', (recompute) => {
  let runner: ModelStepRunner;
  let batch: TrainingMicroBatch;
  const settings = parseTrainOptions({
    ...{ model, output: '/nowhere', data: 'unused', rank: 4, alpha: 8, targetModules: ['q_proj', 'v_proj', 'down_proj'] },
    ...{ learningRate: 1e-2, schedule: 'constant', warmup: 0, weightDecay: 0.01, clipNorm: 0, recompute },
  });
  const [own] = [...settings.adapters.values()];
  const folder = openHuggingFaceFolder(model);

  beforeAll(async () => {
    batch = await batchOf(join(fixture, 'batch.safetensors'));
    runner = await createStepRunner(await folder, {
      adapters: [{ name: 'lora', settings: own as NonNullable<typeof own> }],
      settings,
      maxTokens: 80,
      maxRows: 80,
    });
    const initial = await openSafetensors(join(fixture, 'initial/adapter_model.safetensors'));
    await loadTrainedAdapter(runner, 'lora', initial, { adapter: 'initial', base: 'base' });
    initial.dispose();
  });
  afterAll(async () => {
    runner.dispose();
    (await folder).dispose();
  });

  const exported = async (kind: 'values' | 'gradients'): Promise<Map<string, Float32Array>> => {
    const { adapter, read } = runner.adapterNamed('lora');
    const found = new Map<string, Float32Array>();
    for (const site of adapter.sites) {
      const values = await read(site.path, kind);
      for (const { name, data } of adapter.method.exportSite(adapter.settings, site, (part) => values.get(part) as Float32Array))
        found.set(`base_model.model.${site.path}.${name}`, data as Float32Array);
    }
    return found;
  };

  it('agrees with PEFT', async () => {
    using optimiser = new AdapterOptimiser(
      runner.parameters[0] as NonNullable<(typeof runner.parameters)[0]>,
      own as NonNullable<typeof own>,
    );
    const losses: number[] = [];
    for (let step = 0; step < 10; step++) {
      const { logprobs } = await runner.accumulate({ ...batch, step });
      losses.push(-logprobs.reduce((sum, v) => sum + v, 0) / logprobs.length);
      if (step === 0) expectNear(await exported('gradients'), await tensorsOf(join(fixture, 'gradients_step0.safetensors')), 1e-5);
      await optimiser.step(step + 1, 1e-2);
    }
    losses.forEach((loss, step) => {
      expect(Math.abs(loss - (expected.losses[step] as number)) / loss, `loss of step ${step}`).toBeLessThan(1e-5);
    });
    expectNear(await exported('values'), await tensorsOf(join(fixture, 'final.safetensors')), 1e-4);
  });
});
