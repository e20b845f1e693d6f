// How a model's training graph is made and its adapters are saved.
import { basename } from 'node:path';
import { CheckpointBase } from '../adapters/checkpoint_base.js';
import type { AdapterTensor, IntegerTensor, SiteShape, TensorSource } from '../adapters/method.js';
import { trainableMethod } from '../adapters/methods/trainable.js';
import { withPeftFolder } from '../adapters/peft_folder.js';
import { readIntegers, readTensor } from '../adapters/peft_tensors.js';
import { saveAdapterFolder } from '../adapters/save_adapter.js';
import { SiteTensorReader } from '../adapters/site_tensor_reader.js';
import { type Calibration, moduleNames, targetSites } from '../adapters/trainable_method.js';
import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { loadWeights, locateTensor } from '../engine/load_weights.js';
import { AdapterError, OptionError } from '../errors.js';
import type { Tables } from '../models/constants.js';
import { architectureOf } from '../models/index.js';
import { WeightStore } from '../models/weight_store.js';
import { openDevice } from '../runtime/device.js';
import type { DeviceTensor } from '../runtime/device_tensor.js';
import type { Program } from '../runtime/program.js';
import { ModelCalibration } from './model/calibration.js';
import { factorTables } from './model/factor_tables.js';
import { initialValues } from './model/initial_values.js';
import { ModelStepRunner } from './model/model_step_runner.js';
import { ParameterStore } from './model/parameter_store.js';
import type { AdapterInTraining } from './model/site_adapters.js';
import { StepShares } from './model/step_shares.js';
import { compileEvaluation, compileTraining, sitesOfModel, type TrainingGraphParts } from './model/training_programs.js';
import { positionsOf, tokensWithRoom } from './model/virtual_positions.js';
import type { AdapterToTrain, RunnerRequest } from './step_runner.js';

/** Compiles the training graph of a model with its adapters. Throws ModelError, AdapterError, OptionError, AbortError, DeviceError, PoolExhaustedError. */
export async function createStepRunner(
  folder: HuggingFaceFolder,
  request: RunnerRequest,
  onProgress?: (bytes: number, totalBytes: number) => void,
): Promise<ModelStepRunner> {
  const { adapters: wanted, settings, maxTokens, maxRows, evaluates, signal } = request;
  const { config } = folder;
  const device = openDevice(settings.device);
  const architecture = architectureOf(config.modelType, folder.name);
  const tables: Tables = new Map();
  const weights = new WeightStore({ model: folder.name, info: (name) => folder.tensors.info(name) }, settings.precision, device, {
    compact: false, // many rows at once are bound by arithmetic
  });
  const store = new ParameterStore(device);
  const cleanup: (() => void)[] = [() => weights.dispose(), () => store.dispose()];
  const release = (): void => {
    for (const undo of cleanup.splice(0).reverse()) undo();
    disposeAll(tables.values());
  };
  try {
    const sites = sitesOfModel(architecture, config, weights, tables);
    await loadWeights(weights, (name) => locateTensor(folder, name), {
      signal,
      onProgress: onProgress && (({ bytes, totalBytes }) => onProgress(bytes, totalBytes)),
    });
    const base = CheckpointBase.of(folder, sites);
    const adapters: AdapterInTraining[] = [];
    const graphs = { architecture, config, weights, tables };
    for (const [slot, adapter] of wanted.entries()) {
      const calibration = calibrationFor(adapter, request, graphs);
      adapters.push(await addAdapter(adapter, slot, { sites, base, store, calibration }));
    }
    for (const { stored } of adapters)
      for (const parameter of stored.parameters) {
        const { spec, path, rows, width } = parameter;
        await store.write(parameter, initialValues(spec.initial, rows * width, settings.seed, `${path}.${spec.part}`));
      }
    base.forget();
    const factors = factorTables(adapters, sites, device);
    if (factors !== undefined) cleanup.push(() => disposeAll([factors.entries, factors.rows]));
    const parts = { ...graphs, adapters, store, factors };
    const limits = { maxTokens: tokensWithRoom(maxTokens, positionsOf(adapters)), maxRows };
    const training = await compileTraining(parts, limits, settings.recompute);
    cleanup.push(() => training.dispose());
    // Compiled when the first evaluation comes: many trainings have none.
    let evaluation: Promise<Program> | undefined;
    const compiled = [training];
    const programs = {
      training,
      compiled,
      evaluation: () => {
        evaluation ??= compileEvaluation(parts, limits).then((program) => {
          cleanup.push(() => program.dispose());
          compiled.push(program);
          return program;
        });
        return evaluation;
      },
    };
    if (evaluates) await programs.evaluation();
    const weightBytes = [...weights.requests.values()].reduce((sum, { tensor }) => sum + tensor.buffer.byteLength, 0);
    const shares = new StepShares(adapters, store, factors, settings.seed);
    const runner = new ModelStepRunner(adapters, sites, store, shares, limits.maxTokens, programs, weightBytes, release);
    for (const { name, settings: own } of wanted)
      if (own.from !== undefined) {
        const from = { adapter: basename(own.from), base: base.name };
        await withPeftFolder(own.from, (_, tensors) => loadTrainedAdapter(runner, name, tensors, from));
      }
    return runner;
  } catch (error) {
    release();
    throw error;
  }
}

function disposeAll(tensors: Iterable<DeviceTensor>): void {
  for (const { buffer } of tensors) buffer.dispose();
}

// Undefined where the method measures nothing. Throws OptionError where there are no examples to measure on.
function calibrationFor(
  { name, settings }: AdapterToTrain,
  { calibration, maxTokens, maxRows, settings: all, signal }: RunnerRequest,
  graphs: Omit<TrainingGraphParts, 'adapters' | 'store' | 'factors'>,
): Calibration | undefined {
  const method = trainableMethod(settings.method);
  method.check(settings);
  const examples = method.calibrationExamples?.(settings) ?? 0;
  if (examples === 0) return undefined;
  const batches = calibration?.(name, examples) ?? [];
  if (batches.length === 0)
    throw new OptionError(`${name}: ${method.name} begins with what it measures on ${examples} examples, and there are none`, {
      option: 'data',
      expected: examples,
    });
  return new ModelCalibration(graphs, { batches, limits: { maxTokens, maxRows }, recompute: all.recompute, signal });
}

async function addAdapter(
  { name, settings }: AdapterToTrain,
  slot: number,
  of: { sites: readonly SiteShape[]; base: CheckpointBase; store: ParameterStore; calibration: Calibration | undefined },
): Promise<AdapterInTraining> {
  const { sites, base, store, calibration } = of;
  const method = trainableMethod(settings.method);
  method.check(settings);
  const chosen = targetSites(sites, method, settings.targetModules);
  const tied = method.sharesTiedWeights
    ? sites.filter((site) => !chosen.includes(site) && chosen.some(({ weight }) => weight === site.weight))
    : [];
  if (settings.from !== undefined)
    expectModules(settings.from, settings.targetModules, [...chosen, ...tied], `${base.name} has for ${method.name}`);
  if (chosen.length === 0) {
    const possible = [
      ...new Set(sites.filter((site) => method.sites.includes(site.kind)).map(({ path }) => path.split('.').at(-1) ?? path)),
    ];
    throw new OptionError(
      `targetModules is ${JSON.stringify(settings.targetModules)}, which names no module of ${base.name} that ${method.name} can change: expected 'all-linear' or some of ${possible.join(', ')}`,
      { option: 'targetModules', actual: settings.targetModules, expected: possible },
    );
  }
  const parameters = [];
  for (const site of chosen)
    for (const spec of await method.parameters(settings, site, base, calibration)) parameters.push({ path: site.path, spec });
  return { name, slot, method, settings, sites: [...chosen, ...tied], stored: store.add(name, parameters) };
}

// Throws AdapterError for a module of a folder that the base lacks or the method does not change.
function expectModules(from: string, modules: string | readonly string[], sites: readonly SiteShape[], where: string): void {
  const lost = [modules].flat().find((path) => !sites.some((site) => site.path === path));
  if (lost !== undefined) throw new AdapterError(`${from} changes ${lost}: expected modules that ${where}`, { folder: from, module: lost });
}

/** Writes an adapter of a training as a PEFT folder: each file whole or not at all. Throws FileAccessError. */
export async function saveTrainedAdapter(runner: ModelStepRunner, name: string, folder: string, options: { base: string }): Promise<void> {
  const { adapter, read } = runner.adapterNamed(name);
  const { method, settings, sites } = adapter;
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array | Int32Array }>();
  const owners = new Map(sites.filter((site) => hasParameters(adapter, site)).map((site) => [site.weight, site]));
  for (const site of sites) {
    const owner = hasParameters(adapter, site) ? site : owners.get(site.weight);
    if (owner === undefined) continue;
    const values = await read(owner.path);
    for (const { name: suffix, shape, data } of method.exportSite(settings, owner, (part) => values.get(part) as Float32Array))
      tensors.set(prefixOf(site) + suffix, { shape, data });
  }
  const config = {
    target_modules: moduleNames(sites, runner.sites),
    ...method.config(settings, sites, runner.sites),
    base_model_name_or_path: options.base,
  };
  await saveAdapterFolder(folder, { config, tensors });
}

/** Gives an adapter of a training the values of a saved one. Throws AdapterError naming the tensor that is missing or does not fit. */
export async function loadTrainedAdapter(
  runner: ModelStepRunner,
  name: string,
  tensors: TensorSource,
  from: { adapter: string; base: string },
): Promise<void> {
  const { adapter, write } = runner.adapterNamed(name);
  const { method, settings, sites } = adapter;
  if (method.importSite === undefined)
    throw new AdapterError(`${name}: adapters of the method ${method.name} cannot be trained on from their files`, { method: method.name });
  for (const site of sites) {
    if (!hasParameters(adapter, site)) continue;
    const prefix = prefixOf(site);
    const found = new Map<string, AdapterTensor | IntegerTensor>();
    for (const full of tensors.names())
      if (full.startsWith(prefix)) found.set(full.slice(prefix.length), await readAny(tensors, full, from.adapter));
    const reader = new SiteTensorReader({ ...from, site }, method.name, found, new Map());
    for (const [part, values] of method.importSite(settings, site, reader)) await write(site.path, part, values);
  }
}

const hasParameters = ({ stored }: AdapterInTraining, site: SiteShape): boolean => stored.parameters.some(({ path }) => path === site.path);

const prefixOf = ({ kind, path }: SiteShape): string => (kind === 'virtual' ? '' : `base_model.model.${path}.`);

const readAny = (tensors: TensorSource, full: string, adapter: string): Promise<AdapterTensor | IntegerTensor> =>
  tensors.info(full)?.dtype.startsWith('I') ? readIntegers(tensors, full, adapter) : readTensor(tensors, full, adapter);
