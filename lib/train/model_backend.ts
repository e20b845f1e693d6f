// How a model's training graph is made and its adapters are saved.
import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { ModelError } from '../errors.js';
import type { AdapterToTrain, RunnerRequest, TrainedParameters, TrainingStepRunner } from './step_runner.js';

/** Compiles the training graph of a model with its adapters. Throws ModelError, AdapterError. */
export async function createStepRunner(
  folder: HuggingFaceFolder,
  _request: RunnerRequest,
  _onProgress?: (bytes: number, totalBytes: number) => void,
): Promise<TrainingStepRunner> {
  throw new ModelError(`${folder.name}: models of type ${folder.config.modelType} cannot be trained in this version`, {
    modelType: folder.config.modelType,
  });
}

/** Writes an adapter as a PEFT folder: each file whole or not at all. */
export async function savePeftAdapter(
  adapter: AdapterToTrain,
  _parameters: TrainedParameters,
  _folder: string,
  _options: { base: string },
): Promise<void> {
  throw new ModelError(`adapters of the method ${adapter.settings.method} cannot be saved in this version`, {
    method: adapter.settings.method,
  });
}
