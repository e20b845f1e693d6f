// What a calibration measures: covariances of inputs against float64 arithmetic, gradients of weights against those of LoRA's factors.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SiteShape } from '../../lib/adapters/method.js';
import { type HuggingFaceFolder, openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import { loadWeights, locateTensor } from '../../lib/engine/load_weights.js';
import { OptionError } from '../../lib/errors.js';
import type { Tables } from '../../lib/models/constants.js';
import { architectureOf } from '../../lib/models/index.js';
import { WeightStore } from '../../lib/models/weight_store.js';
import { cpu } from '../../lib/runtime/device.js';
import { ModelCalibration } from '../../lib/train/model/calibration.js';
import { sitesOfModel } from '../../lib/train/model/training_programs.js';
import { createStepRunner } from '../../lib/train/model_backend.js';
import { type AdapterSettings, parseTrainOptions } from '../../lib/train/options.js';
import { randomTokens, rejection } from '../engine/driving.js';
import { type FileTensor, readTensors } from '../models/fixture_files.js';
import { batchOfDocuments, tinyLlama, trainOne } from './driving_training.js';

const batches = [batchOfDocuments([randomTokens(19, 256, 5), randomTokens(12, 256, 6)]), batchOfDocuments([randomTokens(9, 256, 7)])];
let folder: HuggingFaceFolder;
let weights: WeightStore;
let sites: readonly SiteShape[];
let calibration: ModelCalibration;
const tables: Tables = new Map();

beforeAll(async () => {
  folder = await openHuggingFaceFolder(tinyLlama);
  const { config } = folder;
  const architecture = architectureOf(config.modelType, folder.name);
  weights = new WeightStore({ model: folder.name, info: (name) => folder.tensors.info(name) }, 'precise', cpu);
  sites = sitesOfModel(architecture, config, weights, tables);
  await loadWeights(weights, (name) => locateTensor(folder, name));
  calibration = new ModelCalibration(
    { architecture, config, weights, tables },
    { batches, limits: { maxTokens: 32, maxRows: 32 }, recompute: 'none' },
  );
});
afterAll(() => {
  weights.dispose();
  for (const { buffer } of tables.values()) buffer.dispose();
  folder.dispose();
});

const siteAt = (path: string): SiteShape => sites.find((site) => site.path === path) as SiteShape;

describe('calibration', () => {
  it('sums the outer products of what goes into a module', async () => {
    const site = siteAt('model.layers.0.self_attn.q_proj');
    const tensors = readTensors(`${tinyLlama}/model.safetensors`);
    const table = tensors['model.embed_tokens.weight'] as FileTensor;
    const norm = tensors['model.layers.0.input_layernorm.weight'] as FileTensor;
    const width = site.inputs;
    const wanted = new Float64Array(width * width);
    for (const { tokens } of batches) {
      const rows = Array.from(tokens, (token) => {
        const row = Array.from(table.data.slice(token * width, (token + 1) * width));
        const size = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / width + folder.config.normEps);
        return row.map((v, i) => (v / size) * (norm.data[i] as number));
      });
      const largest = Math.max(...rows.flat().map(Math.abs));
      for (const row of rows)
        for (let i = 0; i < width; i++)
          for (let j = 0; j < width; j++)
            wanted[i * width + j] = (wanted[i * width + j] as number) + ((row[i] as number) * (row[j] as number)) / largest ** 2;
    }
    const found = await calibration.inputCovariance(site);
    const most = wanted.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    found.forEach((value, i) => {
      expect(Math.abs(value - (wanted[i] as number))).toBeLessThan(1e-5 * most);
    });
  });

  it.each(['model.layers.0.self_attn.v_proj', 'model.layers.1.mlp.down_proj'])('sums the gradients of %s', async (path) => {
    const site = siteAt(path);
    const gradient = await calibration.weightGradient(site);
    using own = await trainOne({ method: 'lora', rank: 4, alpha: 8, targetModules: [path] }, batches);
    for (const batch of batches) await own.runner.accumulate(batch);
    const { read } = own.runner.adapterNamed('own');
    const a = (await read(path)).get('A') as Float32Array;
    const found = (await read(path, 'gradients')).get('bT') as Float32Array;
    // B = 0: its gradient is scale · dW Aᵀ.
    const wanted = found.map((_, i) => {
      const [j, n] = [Math.floor(i / site.outputs), i % site.outputs];
      let sum = 0;
      for (let c = 0; c < site.inputs; c++) sum += (gradient[n * site.inputs + c] as number) * (a[j * site.inputs + c] as number);
      return 2 * sum;
    });
    const size = Math.hypot(...wanted);
    expect(size).toBeGreaterThan(1e-4);
    expect(Math.hypot(...found.map((value, i) => value - (wanted[i] as number)))).toBeLessThan(1e-5 * size);
  });

  it('is missed where there are no examples', async () => {
    const settings = parseTrainOptions({ model: tinyLlama, output: '/nowhere', data: 'unused', method: 'lora-sb', rank: 4 });
    const own = [...settings.adapters.values()][0] as AdapterSettings;
    const error = await rejection(
      createStepRunner(folder, { adapters: [{ name: 'own', settings: own }], settings, maxTokens: 8, maxRows: 8 }),
    );
    expect(error).toBeInstanceOf(OptionError);
    expect(error.message).toBe('own: lora-sb begins with what it measures on 128 examples, and there are none');
  });
});
