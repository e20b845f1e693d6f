// The base model of a training: its folder, its tokenizer, and the trained adapters put to use.
import { createHash } from 'node:crypto';
import { trainableMethod } from '../adapters/methods/trainable.js';
import { resolveModelFolder } from '../checkpoint/hub.js';
import { type HuggingFaceFolder, openHuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { loadModel } from '../engine/load_model.js';
import { InternalError } from '../errors.js';
import { openDevice } from '../runtime/device.js';
import { ChatTemplate } from '../text/chat_template.js';
import { Tokenizer } from '../text/tokenizer.js';
import type { ModelStepRunner } from './model/model_step_runner.js';
import { createStepRunner, saveTrainedAdapter } from './model_backend.js';
import type { TrainSettings } from './options.js';
import type { ContinuationRequest, OpenTrainingModel, TrainingModel } from './step_runner.js';

/** Opens the folder that the settings name, or brings it from the Hub. Throws ModelError, FileAccessError, FileFormatError, DeviceError, AbortError. */
export const openTrainingModel: OpenTrainingModel = async (settings, { signal, onProgress }) => {
  // What is asked for and not there is said before anything is read.
  openDevice(settings.device);
  const folder = await openHuggingFaceFolder(await resolveModelFolder(settings.model, { signal }));
  const cleanup: (() => void)[] = [() => folder.dispose()];
  const dispose = (): void => {
    for (const undo of cleanup.splice(0).reverse()) undo();
  };
  try {
    const tokenizer = await Tokenizer.load(folder.path);
    cleanup.push(() => tokenizer.dispose());
    const chatTemplate = await ChatTemplate.load(folder.path, tokenizer.namedTokens);
    let runner: ModelStepRunner | undefined;
    const model: TrainingModel = {
      name: settings.model,
      fingerprint: await fingerprintOf(folder),
      contextLength: folder.config.maxPositions,
      tokenizer,
      chatTemplate,
      // Tokens become text without its thread.
      dataIsRead: () => tokenizer.dispose(),
      virtualPositions: (adapter) => trainableMethod(adapter.method).virtualPositions?.(adapter)?.count ?? 0,
      createRunner: async (request) => {
        runner = await createStepRunner(folder, request, onProgress);
        return runner;
      },
      saveAdapter: async ({ name }, _, to) => {
        if (runner === undefined) throw new InternalError(`adapter ${name} is saved before it is made`);
        await saveTrainedAdapter(runner, name, to, { base: settings.model });
      },
      continueTexts: (requests, stop) => continueTexts(folder.path, settings, requests, stop),
      dispose,
    };
    return model;
  } catch (error) {
    dispose();
    throw error;
  }
};

// Every byte of a large model takes long to read: the small tensors, which training changes too, stand for all.
const hashedTensors = 16;

async function fingerprintOf({ config, tensors }: HuggingFaceFolder): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(config));
  const infos = [...tensors.names()].map((name) => ({ name, info: tensors.info(name) })).sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const { name, info } of infos) hash.update(`${name} ${info?.dtype} ${info?.shape.join(',')}\n`);
  const size = ({ info }: (typeof infos)[number]): number => (info === undefined ? 0 : info.end - info.begin);
  for (const { name } of [...infos].sort((a, b) => size(a) - size(b)).slice(0, hashedTensors))
    hash.update(new Uint8Array(await tensors.read(name)));
  return hash.digest('hex').slice(0, 32);
}

async function continueTexts(
  path: string,
  { precision, device }: TrainSettings,
  requests: readonly ContinuationRequest[],
  signal: AbortSignal | undefined,
): Promise<string[]> {
  const folders = [...new Set(requests.flatMap(({ folder }) => folder ?? []))];
  const names = new Map(folders.map((folder, i) => [folder, `adapter ${i}`]));
  const adapters = Object.fromEntries([...names].map(([folder, name]) => [name, folder]));
  const model = await loadModel(path, { adapters, precision, device, signal });
  try {
    const completions = await model.generateBatch(
      requests.map(({ folder, prompt, maxTokens, temperature, seed }) => ({
        ...(typeof prompt === 'string' ? { prompt } : { tokens: [...prompt] }),
        adapter: folder === undefined ? undefined : names.get(folder),
        maxTokens,
        temperature,
        seed,
      })),
      { signal },
    );
    return completions.map(({ text }) => text);
  } finally {
    model.dispose();
  }
}
