// A whole training: from options to saved adapters and a report.
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { makeFolder } from '../checkpoint/make_folder.js';
import { setThreads } from '../engine/device.js';
import { InternalError, OptionError } from '../errors.js';
import { peakBytesOn } from '../runtime/device.js';
import { parseOptions } from '../runtime/parse_options.js';
import { signalSchema } from '../runtime/signal_schema.js';
import { type AdapterData, calibrationBatches, loadAdapterData, mostLabels } from './adapter_data.js';
import { type Configuration, configurationOf, expectSameConfiguration } from './configuration.js';
import type { EndEvent, PlannedBytes, TrainEvent } from './events.js';
import { FolderLock } from './folder_lock.js';
import { openTrainingModel } from './open_training_model.js';
import { AdapterOptimiser } from './optimiser.js';
import { readTrainOptions, type TrainOptions, type TrainSettings } from './options.js';
import { writeReport } from './report/write_report.js';
import { writeSamples } from './samples.js';
import { deviceOf, type OpenTrainingModel, type TrainedParameters, type TrainingModel, type TrainingStepRunner } from './step_runner.js';
import { Checkpoint, listCheckpoints, removeUnfinished, type TrainingState } from './training_checkpoint.js';
import { readLog, TrainingLog } from './training_log.js';
import { checkpointTensors, firstState, TrainingLoop } from './training_loop.js';

const listener = <Told>() => z.custom<(told: Told) => void>((f) => typeof f === 'function', 'expected a function').optional();

// Beside the options, which have a schema of their own.
const controlSchema = z.looseObject({
  /** Go on from the last checkpoint in the output folder; begin where there is none. */
  resume: z.boolean().optional(),
  /** Ends the training after the step that is under way; what is done is saved. */
  signal: signalSchema.optional(),
  /** Told of everything that happens. */
  onEvent: listener<TrainEvent>(),
  /** Told while files are read, before the first step. */
  onProgress: listener<LoadingProgress>(),
});

/** How a training is watched and steered. */
export type TrainControl = Pick<z.input<typeof controlSchema>, 'resume' | 'signal' | 'onEvent' | 'onProgress'>;

/** What is being read. */
export interface LoadingProgress {
  /** 'weights', or data of an adapter. */
  readonly what: 'weights' | 'data';
  readonly adapter?: string;
  readonly bytes: number;
  readonly totalBytes: number;
}

/** A trained adapter. */
export interface TrainedAdapter {
  /** Folder as PEFT has it, for `loadModel` and for PEFT. */
  readonly folder: string;
  /** Of its last step. */
  readonly loss: number | null;
  /** Of held-out data at the end. */
  readonly perplexity: number | null;
}

/** What a training came to. */
export interface TrainResult {
  readonly steps: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly adapters: Readonly<Record<string, TrainedAdapter>>;
  /** Bytes that were planned before the first step, and native memory at most. */
  readonly plannedBytes: number;
  readonly peakBytes: number;
  /** Files. */
  readonly report: string;
  readonly log: string;
}

/**
 * Trains one adapter, or several at once over one base, and saves them as PEFT folders. Checkpoints in `output` let a training go on after
 * anything that ends it, to the same bits. Throws OptionError, FileFormatError, FileAccessError, ModelError, TrainingError where a loss is
 * no number or a checkpoint is of another configuration, PoolExhaustedError without memory, AbortError after the signal: then all is saved.
 */
export async function train(options: TrainOptions & TrainControl): Promise<TrainResult> {
  const { resume, signal, onEvent, onProgress, ...words } = parseOptions(controlSchema, options, 'train');
  return runTraining(await readTrainOptions(words), { resume, signal, onEvent, onProgress }, openTrainingModel);
}

/** Trains over a model that `open` opens. */
export async function runTraining(settings: TrainSettings, control: TrainControl, open: OpenTrainingModel): Promise<TrainResult> {
  const { signal, onProgress } = control;
  if (settings.threads !== undefined) setThreads(settings.threads);
  const checkpoint = await findCheckpoint(settings.output, control.resume === true);
  const model = await open(settings, { signal, onProgress: (bytes, totalBytes) => onProgress?.({ what: 'weights', bytes, totalBytes }) });
  try {
    const training = await prepare(settings, control, model);
    try {
      await restore(checkpoint, training);
      await makeFolder(settings.output);
      await using _lock = await FolderLock.take(settings.output);
      await expectUnchanged(settings.output, checkpoint);
      await removeUnfinished(settings.output);
      return await runPrepared(training, settings, control, checkpoint);
    } finally {
      training.dispose();
    }
  } finally {
    model.dispose();
  }
}

/** Everything that a training needs, in memory. */
interface PreparedTraining {
  readonly model: TrainingModel;
  readonly adapters: readonly AdapterData[];
  readonly runner: TrainingStepRunner;
  /** In the order of the adapters. */
  readonly optimisers: readonly AdapterOptimiser[];
  readonly configuration: Configuration;
  /** Where it begins. */
  state: TrainingState;
  /** Frees runner and optimisers; may be called again. */
  dispose(): void;
}

async function prepare(
  settings: TrainSettings,
  { signal, onEvent, onProgress }: TrainControl,
  model: TrainingModel,
): Promise<PreparedTraining> {
  const adapters = await loadAdapterData(settings, model, (event) => onEvent?.(event), {
    signal,
    onProgress: (adapter, bytes, totalBytes) => onProgress?.({ what: 'data', adapter, bytes, totalBytes }),
  });
  model.dataIsRead?.();
  const runner = await createRunner(model, adapters, settings, signal);
  const optimisers: AdapterOptimiser[] = [];
  let disposed = false;
  const dispose = (): void => {
    if (disposed) return;
    disposed = true;
    for (const optimiser of optimisers) optimiser.dispose();
    runner.dispose();
  };
  try {
    for (const { slot, settings: own } of adapters) optimisers.push(new AdapterOptimiser(parametersAt(runner, slot), own));
    const configured = adapters.map((adapter) => ({
      ...adapter,
      dataFingerprint: adapter.fingerprint,
      tensors: parametersAt(runner, adapter.slot).tensors,
    }));
    const configuration = configurationOf(settings, model.fingerprint, configured);
    return { model, adapters, runner, optimisers, configuration, state: firstState(settings.seed, configuration), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

async function runPrepared(
  training: PreparedTraining,
  settings: TrainSettings,
  { resume, signal, onEvent }: TrainControl,
  checkpoint: string | undefined,
): Promise<TrainResult> {
  const { adapters, runner, optimisers, configuration, state } = training;
  const { seed, batchTokens, saveEvery, evaluateEvery, output: folder } = settings;
  const tell = (event: TrainEvent): void => onEvent?.(event);
  if (resume) tell({ type: 'resume', step: state.step, file: checkpoint ?? null });
  const planned = plannedBytes(runner, optimisers);
  const log = await TrainingLog.open(join(folder, 'log.jsonl'), state.step);
  const report = join(folder, 'report.html');
  try {
    const plan = planEvent(training, planned);
    await log.append(plan);
    tell(plan);
    const onSaved = (): Promise<void> => writeReport(report, log.path, settings);
    const parts = {
      folder,
      adapters,
      runner,
      optimisers,
      log,
      configuration,
      seed,
      batchTokens,
      saveEvery,
      evaluateEvery,
      tell,
      onSaved,
      signal,
    };
    const loop = new TrainingLoop(parts, state, checkpoint !== undefined);
    await loop.run();
    const folders = await saveAdapters(training, settings);
    const peakBytes = peakBytesOn(deviceOf(runner));
    // Samples run in an engine of their own: what the training held is free by then.
    training.dispose();
    for (const sample of await writeSamples(training.model, settings, adapters, folders, loop.state.step, signal)) {
      await log.append(sample);
      tell(sample);
    }
    const end = await endEvent(log.path, loop.state, { planned, peakBytes, report, folders });
    await log.append(end);
    await writeReport(report, log.path, settings);
    tell(end);
    const { step, seconds, tokens, adapters: trained } = end;
    return { steps: step, seconds, tokens, adapters: trained, plannedBytes: planned.total, peakBytes, report, log: log.path };
  } finally {
    await log.close();
  }
}

// Folders by the adapters' names.
async function saveAdapters({ model, adapters, runner }: PreparedTraining, { many, output }: TrainSettings): Promise<Map<string, string>> {
  const folders = new Map<string, string>();
  for (const { name, slot, settings } of adapters) {
    const folder = many ? join(output, 'adapters', name) : output;
    await makeFolder(folder);
    await removeUnfinished(folder);
    await model.saveAdapter({ name, settings }, parametersAt(runner, slot), folder);
    folders.set(name, folder);
  }
  return folders;
}

function parametersAt({ parameters }: TrainingStepRunner, slot: number): TrainedParameters {
  const found = parameters[slot];
  if (found === undefined) throw new InternalError(`the runner has ${parameters.length} adapters: expected one at slot ${slot}`, { slot });
  return found;
}

// The checkpoint to go on from. Throws OptionError where another training would be written over.
async function findCheckpoint(output: string, resume: boolean): Promise<string | undefined> {
  const last = (await listCheckpoints(output)).at(-1);
  if (last !== undefined && !resume)
    throw new OptionError(
      `${output} holds a training that has come to step ${last.step}: resume it (--resume, resume: true), or choose another output folder`,
      { option: 'output', output, step: last.step },
    );
  if (last === undefined) await refuseOthersFiles(output);
  return last?.path;
}

// Between the first look at the folder and the lock, another training may have been there.
async function expectUnchanged(output: string, checkpoint: string | undefined): Promise<void> {
  const last = (await listCheckpoints(output)).at(-1);
  if (last?.path !== checkpoint)
    throw new OptionError(`another training wrote to ${output} just now, and came to step ${last?.step ?? 0}: start again`, {
      option: 'output',
      output,
    });
}

// A folder that somebody else keeps an adapter or a log in.
async function refuseOthersFiles(output: string): Promise<void> {
  const refuse = (file: string): never => {
    throw new OptionError(`${output} has ${file}, which is of no training that can be resumed: choose another output folder`, {
      option: 'output',
      output,
      file,
    });
  };
  for (const file of ['adapter_config.json', 'adapter_model.safetensors']) if (existsSync(join(output, file))) refuse(file);
  const log = join(output, 'log.jsonl');
  if (existsSync(log) && (await readLog(log))[0]?.type !== 'plan' && statSync(log).size > 0) refuse('log.jsonl');
}

async function createRunner(
  model: TrainingModel,
  adapters: readonly AdapterData[],
  settings: TrainSettings,
  signal: AbortSignal | undefined,
): Promise<TrainingStepRunner> {
  return model.createRunner({
    adapters: adapters.map(({ name, settings: own }) => ({ name, settings: own })),
    maxTokens: settings.batchTokens,
    maxRows: mostLabels(
      adapters.flatMap(({ training, heldOut }) => [training, ...(heldOut === undefined ? [] : [heldOut])]),
      settings.batchTokens,
    ),
    evaluates: adapters.some(({ evaluation }) => evaluation.length > 0),
    settings,
    calibration(name, examples) {
      const adapter = adapters.find((one) => one.name === name);
      return adapter === undefined ? [] : calibrationBatches(adapter, examples, settings.batchTokens);
    },
    signal,
  });
}

async function restore(path: string | undefined, training: PreparedTraining): Promise<void> {
  if (path === undefined) return;
  const checkpoint = await Checkpoint.open(path);
  try {
    expectSameConfiguration(checkpoint.state.configuration, training.configuration, path);
    await checkpoint.restore(checkpointTensors(training.runner.parameters, training.optimisers));
    training.state = checkpoint.state;
  } finally {
    checkpoint.dispose();
  }
}

function plannedBytes({ memory }: TrainingStepRunner, optimisers: readonly AdapterOptimiser[]): PlannedBytes {
  const { weights, parameters, arena, workspace } = memory;
  const optimiser = optimisers.reduce((sum, { bytes }) => sum + bytes, 0);
  return { weights, parameters, optimiser, arena, workspace, total: weights + parameters + optimiser + arena + workspace };
}

function planEvent({ model, adapters, runner, state }: PreparedTraining, planned: PlannedBytes): Extract<TrainEvent, { type: 'plan' }> {
  const { step } = state;
  const entries = adapters.map(({ name, slot, totalSteps, order }) => {
    const parameters = parametersAt(runner, slot).groups.reduce((sum, { length }) => sum + length, 0);
    return [name, { parameters, steps: totalSteps, stepsPerEpoch: order.stepsPerEpoch }] as const;
  });
  const totalSteps = adapters.reduce((most, adapter) => Math.max(most, adapter.totalSteps), 0);
  const time = new Date().toISOString();
  const device = deviceOf(runner).name;
  return { type: 'plan', step, time, model: model.name, device, totalSteps, planned, adapters: Object.fromEntries(entries) };
}

async function endEvent(
  logPath: string,
  { step, seconds, tokens }: TrainingState,
  facts: { planned: PlannedBytes; peakBytes: number; report: string; folders: ReadonlyMap<string, string> },
): Promise<EndEvent> {
  const losses = new Map<string, number>();
  const perplexities = new Map<string, number>();
  for (const event of await readLog(logPath)) {
    if (event.type === 'step') for (const [name, { loss }] of Object.entries(event.adapters)) losses.set(name, loss);
    if (event.type === 'evaluation')
      for (const [name, { perplexity }] of Object.entries(event.adapters)) perplexities.set(name, perplexity);
  }
  const adapters = [...facts.folders].map(
    ([name, folder]) => [name, { folder, loss: losses.get(name) ?? null, perplexity: perplexities.get(name) ?? null }] as const,
  );
  return {
    type: 'end',
    step,
    seconds,
    tokens,
    tokensPerSecond: seconds > 0 ? tokens / seconds : 0,
    plannedBytes: facts.planned.total,
    peakBytes: facts.peakBytes,
    processPeakBytes: process.resourceUsage().maxRSS * 1024,
    report: facts.report,
    adapters: Object.fromEntries(adapters),
  };
}
