// Small tools to drive the training of a model from tests.
import { join } from 'node:path';
import { type HuggingFaceFolder, openHuggingFaceFolder } from '../../lib/checkpoint/hugging_face_folder.js';
import type { ModelStepRunner } from '../../lib/train/model/model_step_runner.js';
import { createStepRunner } from '../../lib/train/model_backend.js';
import { AdapterOptimiser } from '../../lib/train/optimiser.js';
import { type AdapterSettings, readTrainOptions, type TrainOptions } from '../../lib/train/options.js';
import type { TrainedParameters, TrainingMicroBatch } from '../../lib/train/step_runner.js';

/** A model of the fixtures. */
export const fixtureModel = (name: string): string => join(import.meta.dirname, '../fixtures/models', name);

/** The tiny Llama of the fixtures. */
export const tinyLlama = fixtureModel('llama');

// What PyTorch ignores as a label.
const ignored = -100;

/** Whole documents of slot 0. Every token but the first is a label, or what stands in its place in `labels`: -100 for none. */
export function batchOfDocuments(documents: readonly (readonly number[])[], step = 0, labels = documents): TrainingMicroBatch {
  const tokens: number[] = [];
  const positions: number[] = [];
  const first: number[] = [];
  const rows: number[] = [];
  const targets: number[] = [];
  documents.forEach((document, d) => {
    const begin = tokens.length;
    document.forEach((id, i) => {
      const next = labels[d]?.[i + 1] ?? ignored;
      if (next !== ignored) {
        rows.push(tokens.length);
        targets.push(next);
      }
      tokens.push(id);
      positions.push(i);
      first.push(begin);
    });
  });
  const i32 = (list: number[]): Int32Array => Int32Array.from(list);
  return {
    step,
    tokens: i32(tokens),
    positions: i32(positions),
    first: i32(first),
    index: new Int32Array(tokens.length),
    rows: i32(rows),
    targets: i32(targets),
    rowAdapter: new Int32Array(rows.length),
    rowWeight: new Float32Array(rows.length).fill(1 / rows.length),
  };
}

/** The mean loss of a batch's labels, summed in float64. */
export const meanLoss = (logprobs: Float32Array): number => -logprobs.reduce((sum, v) => sum + v, 0) / logprobs.length;

/** A runner over one adapter, with its settings. */
export interface OneAdapter extends Disposable {
  readonly runner: ModelStepRunner;
  readonly settings: AdapterSettings;
  readonly parameters: TrainedParameters;
}

/** Compiles the training of one adapter named 'own'. */
export async function trainOne(
  options: Omit<TrainOptions, 'model' | 'output' | 'data' | 'adapters'>,
  batches: readonly TrainingMicroBatch[],
  model = tinyLlama,
): Promise<OneAdapter> {
  const settings = await readTrainOptions({ ...options, model, output: '/nowhere', data: 'unused' });
  const own = [...settings.adapters.values()][0] as AdapterSettings;
  const folder: HuggingFaceFolder = await openHuggingFaceFolder(model);
  const tokens = Math.max(...batches.map((batch) => batch.tokens.length));
  try {
    const runner = await createStepRunner(folder, {
      adapters: [{ name: 'own', settings: own }],
      settings,
      maxTokens: tokens,
      maxRows: tokens,
      calibration: () => batches,
    });
    const dispose = (): void => {
      runner.dispose();
      folder.dispose();
    };
    return { runner, settings: own, parameters: runner.parameters[0] as TrainedParameters, [Symbol.dispose]: dispose };
  } catch (error) {
    folder.dispose();
    throw error;
  }
}

/** Steps over one batch; gives the loss before each. */
export async function steps(
  { runner, settings, parameters }: OneAdapter,
  batch: TrainingMicroBatch,
  count: number,
  rate: number,
): Promise<number[]> {
  using optimiser = new AdapterOptimiser(parameters, settings);
  const losses: number[] = [];
  for (let step = 0; step < count; step++) {
    losses.push(meanLoss((await runner.accumulate({ ...batch, step })).logprobs));
    const { applied } = await optimiser.step(step + 1, rate);
    if (!applied) throw new Error(`step ${step} was not applied`);
  }
  return losses;
}
