// A whole training: from options to saved adapters and a report.
import { existsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { toAccessError } from '../checkpoint/json.js';
import { setThreads } from '../engine/device.js';
import { OptionError } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { type AdapterData, calibrationBatches, loadAdapterData, mostLabels } from './adapter_data.js';
import { type Configuration, configurationOf, expectSameConfiguration } from './configuration.js';
import type { EndEvent, PlannedBytes, TrainEvent } from './events.js';
import { openTrainingModel } from './open_training_model.js';
import { AdapterOptimiser } from './optimiser.js';
import { parseTrainOptions, type TrainOptions, type TrainSettings } from './options.js';
import { writeReport } from './report/write_report.js';
import { writeSamples } from './samples.js';
import type { OpenTrainingModel, TrainingModel, TrainingStepRunner } from './step_runner.js';
import { Checkpoint, listCheckpoints, removeUnfinished, type TrainingState } from './training_checkpoint.js';
import { readLog, TrainingLog } from './training_log.js';
import { checkpointTensors, firstState, TrainingLoop } from './training_loop.js';

/** How a training is watched and steered. */
export interface TrainControl {
  /** Go on from the last checkpoint in the output folder; begin where there is none. */
  readonly resume?: boolean;
  /** Ends the training after the step that is under way; what is done is saved. */
  readonly signal?: AbortSignal;
  /** Told of everything that happens. */
  readonly onEvent?: (event: TrainEvent) => void;
  /** Told while files are read, before the first step. */
  readonly onProgress?: (progress: LoadingProgress) => void;
}

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
  const { resume, signal, onEvent, onProgress, ...words } = options;
  return runTraining(parseTrainOptions(words), { resume, signal, onEvent, onProgress }, openTrainingModel);
}

/** Trains over a model that `open` opens. */
export async function runTraining(settings: TrainSettings, control: TrainControl, open: OpenTrainingModel): Promise<TrainResult> {
  const { signal, onProgress } = control;
  const tell = (event: TrainEvent): void => control.onEvent?.(event);
  if (settings.threads !== undefined) setThreads(settings.threads);
  const checkpoint = await findCheckpoint(settings.output, control.resume === true);
  const cleanup: (() => void)[] = [];
  const undo = (): void => {
    for (const step of cleanup.splice(0).reverse()) step();
  };
  try {
    const onWeights = (bytes: number, totalBytes: number): void => onProgress?.({ what: 'weights', bytes, totalBytes });
    const model = await open(settings, { signal, onProgress: onWeights });
    cleanup.push(() => model.dispose());
    const adapters = await loadAdapterData(settings, model, tell, {
      signal,
      onProgress: (adapter, bytes, totalBytes) => onProgress?.({ what: 'data', adapter, bytes, totalBytes }),
    });
    const runner = await createRunner(model, adapters, settings, signal);
    cleanup.push(() => runner.dispose());
    const optimisers: AdapterOptimiser[] = [];
    cleanup.push(() => {
      for (const optimiser of optimisers) optimiser.dispose();
    });
    for (const { slot, settings: own } of adapters)
      optimisers.push(new AdapterOptimiser(runner.parameters[slot] as TrainingStepRunner['parameters'][number], own));
    const configuration = configurationOf(
      settings,
      model.fingerprint,
      adapters.map((adapter) => ({
        ...adapter,
        dataFingerprint: adapter.fingerprint,
        tensors: runner.parameters[adapter.slot]?.tensors ?? [],
      })),
    );
    const state = await restore(checkpoint, configuration, settings, runner, optimisers);
    if (control.resume) tell({ type: 'resume', step: state.step, file: checkpoint ?? null });
    const planned = plannedBytes(runner, optimisers);
    await makeFolder(settings.output);
    await removeUnfinished(settings.output);
    const logPath = join(settings.output, 'log.jsonl');
    const log = await TrainingLog.open(logPath, state.step);
    const report = join(settings.output, 'report.html');
    const folders = new Map(adapters.map(({ name }) => [name, settings.many ? join(settings.output, 'adapters', name) : settings.output]));
    try {
      const plan = planEvent(model, adapters, runner, planned, state.step);
      await log.append(plan);
      tell(plan);
      const parts = { adapters, runner, optimisers, log, configuration, tell, signal };
      const { seed, batchTokens, saveEvery, evaluateEvery, output: folder } = settings;
      const onSaved = (): Promise<void> => writeReport(report, logPath, settings);
      const loop = new TrainingLoop(
        { ...parts, folder, seed, batchTokens, saveEvery, evaluateEvery, onSaved },
        state,
        checkpoint !== undefined,
      );
      await loop.run();
      for (const { name, slot, settings: own } of adapters) {
        const to = folders.get(name) as string;
        await makeFolder(to);
        await model.saveAdapter({ name, settings: own }, runner.parameters[slot] as TrainingStepRunner['parameters'][number], to);
      }
      const { peakBytes } = binding().memory();
      // Samples run in an engine of their own: what the training held is free by then.
      for (const step of cleanup.splice(1).reverse()) step();
      const samples = await writeSamples(model, settings, adapters, folders, loop.state.step, signal);
      for (const sample of samples) {
        await log.append(sample);
        tell(sample);
      }
      const end = await endEvent(logPath, loop.state, { planned, peakBytes, report, folders });
      await log.append(end);
      await writeReport(report, logPath, settings);
      tell(end);
      const { seconds, tokens, adapters: trained } = end;
      return { steps: end.step, seconds, tokens, adapters: trained, plannedBytes: planned.total, peakBytes, report, log: logPath };
    } finally {
      await log.close();
    }
  } finally {
    undo();
  }
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

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw toAccessError(error, 'create', path);
  }
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

async function restore(
  path: string | undefined,
  configuration: Configuration,
  settings: TrainSettings,
  runner: TrainingStepRunner,
  optimisers: readonly AdapterOptimiser[],
): Promise<TrainingState> {
  if (path === undefined) return firstState(settings.seed, configuration);
  const checkpoint = await Checkpoint.open(path);
  try {
    expectSameConfiguration(checkpoint.state.configuration, configuration, path);
    await checkpoint.restore(checkpointTensors(runner.parameters, optimisers));
    return checkpoint.state;
  } finally {
    checkpoint.dispose();
  }
}

function plannedBytes({ memory }: TrainingStepRunner, optimisers: readonly AdapterOptimiser[]): PlannedBytes {
  const { weights, parameters, arena, workspace } = memory;
  const optimiser = optimisers.reduce((sum, { bytes }) => sum + bytes, 0);
  return { weights, parameters, optimiser, arena, workspace, total: weights + parameters + optimiser + arena + workspace };
}

function planEvent(
  model: TrainingModel,
  adapters: readonly AdapterData[],
  runner: TrainingStepRunner,
  planned: PlannedBytes,
  step: number,
): Extract<TrainEvent, { type: 'plan' }> {
  const entries = adapters.map(({ name, slot, totalSteps, order }) => {
    const parameters = runner.parameters[slot]?.groups.reduce((sum, { length }) => sum + length, 0) ?? 0;
    return [name, { parameters, steps: totalSteps, stepsPerEpoch: order.stepsPerEpoch }] as const;
  });
  const totalSteps = adapters.reduce((most, adapter) => Math.max(most, adapter.totalSteps), 0);
  const time = new Date().toISOString();
  return { type: 'plan', step, time, model: model.name, totalSteps, planned, adapters: Object.fromEntries(entries) };
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
