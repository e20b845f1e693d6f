import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { z } from 'zod';
import { CheckpointBase } from '../adapters/checkpoint_base.js';
import { loadPeftFolder } from '../adapters/peft_folder.js';
import { resolveModelFolder } from '../checkpoint/hub.js';
import { type HuggingFaceFolder, openHuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { OptionError, PoolExhaustedError } from '../errors.js';
import { architectureOf } from '../models/index.js';
import { WeightStore } from '../models/weight_store.js';
import { blockTokens } from '../ops/index.js';
import { throwIfAborted } from '../runtime/abort_signal.js';
import { choosesItself, cpu, type Device, openDevice, standsInTheWay } from '../runtime/device.js';
import { type DeviceTensor, emptyTensor } from '../runtime/device_tensor.js';
import { parseOptions } from '../runtime/parse_options.js';
import { inTurns } from '../runtime/slices.js';
import { ChatTemplate } from '../text/chat_template.js';
import { Tokenizer } from '../text/tokenizer.js';
import { AdapterPlaces } from './adapter_places.js';
import { AdapterRegistry } from './adapter_registry.js';
import { loadWeights, locateTensor } from './load_weights.js';
import { cacheLayout, poolPages, poolRoom, widestAdapterRow } from './memory_plan.js';
import { WeightMerger } from './merged_adapter.js';
import { Model } from './model.js';
import { ModelGraphs, type ModelState, type StepLimits } from './model_programs.js';
import { type LoadOptions, loadSchema } from './options.js';
import { PagePool } from './page_pool.js';

// A row of logits is as wide as the vocabulary: scoring wants one per token, so its steps are kept small.
const scoreLogitBytes = 64 * 2 ** 20;
const adapterRowTable = 1 << 20;

/**
 * Loads a model and its adapters from folders as Hugging Face and PEFT write them, or from the Hub by `org/name`. Reads off the event loop.
 * Throws ModelError, AdapterError, FileFormatError, FileAccessError, OptionError, DeviceError where a CUDA device is asked for that cannot be
 * used, PoolExhaustedError without memory; nothing is left half-loaded.
 */
export async function loadModel(pathOrId: string, options: LoadOptions = {}): Promise<Model> {
  const parsed = parseOptions(loadSchema, options, 'loadModel');
  const { signal } = parsed;
  throwIfAborted(signal);
  const device = openDevice(parsed.device);
  const path = await resolveModelFolder(pathOrId, { signal });
  try {
    return await loadOn(device, path, parsed);
  } catch (error) {
    if (device.ordinal === undefined || !choosesItself(parsed.device) || !standsInTheWay(error)) throw error;
    return await loadOn({ ...cpu, reason: (error as Error).message }, path, parsed);
  }
}

async function loadOn(device: Device, path: string, parsed: z.output<typeof loadSchema>): Promise<Model> {
  const { signal, onProgress } = parsed;
  const folder = await openHuggingFaceFolder(path);
  const cleanup: (() => void)[] = [() => folder.dispose()];
  try {
    const config = { ...folder.config, eosTokenIds: endTokens(folder) };
    const architecture = architectureOf(config.modelType, folder.name);
    const contextLength = contextOf(parsed.contextLength, config.maxPositions, folder.name);
    const contextBlocks = Math.ceil(contextLength / blockTokens);
    const limits: StepLimits = {
      maxStepTokens: Math.max(parsed.maxStepTokens, parsed.maxRequests),
      maxScoreTokens: Math.max(16, Math.min(parsed.maxStepTokens, Math.floor(scoreLogitBytes / (4 * config.vocabularySize)))),
      maxRequests: parsed.maxRequests,
      maxAdaptersPerRequest: parsed.maxAdaptersPerRequest,
      contextBlocks,
    };
    const moving = parsed.moveAdapters ?? device.name !== 'cpu';
    const weights = new WeightStore({ model: folder.name, info: (name) => folder.tensors.info(name) }, parsed.precision, device, {
      compact: parsed.compactWeights,
    });
    cleanup.push(() => weights.dispose());
    const layout = cacheLayout(config, parsed.cacheDtype ?? defaultCacheDtype(folder), widestAdapterRow(config));
    // Before weights take their part of it.
    const room = poolRoom(device, folder);
    const graphs = new ModelGraphs(architecture, config, weights, layout, limits);
    cleanup.push(() => graphs.dispose());
    const sites = await inTurns(graphs.sites());
    const { poolBytes, maxRequests } = parsed;
    const longest = `contextLength ${contextLength}${parsed.contextLength === undefined ? ` (max_position_embeddings of ${folder.name})` : ''}`;
    const pages = poolPages(parsed, layout, contextBlocks, room);
    const pool = reserving(
      poolBytes === undefined ? `a pool for ${longest}` : `poolBytes ${poolBytes}`,
      poolBytes === undefined ? 'a smaller contextLength, or poolBytes' : 'smaller poolBytes',
      () => new PagePool(layout.pageBytes, pages, device),
    );
    cleanup.push(() => pool.dispose());
    const held: DeviceTensor[] = [];
    cleanup.push(() => {
      for (const tensor of held) tensor.buffer.dispose();
    });
    const reserve = (dims: readonly number[]): DeviceTensor => {
      const tensor = emptyTensor('i32', dims, device);
      held.push(tensor);
      return tensor;
    };
    const state: ModelState = {
      pool: pool.memory,
      // Without moving one more, for the new version of an adapter that is replaced.
      entries: reserve([parsed.maxAdapters + (moving ? 0 : 1), sites.length, 8]),
      adapterRows: reserve([adapterRowTable]),
      history: reserving(`tokens of maxRequests ${maxRequests} of ${longest}`, 'a smaller contextLength or maxRequests', () =>
        reserve([maxRequests, contextLength]),
      ),
      historyState: reserve([parsed.maxRequests, 2]),
    };
    await loadWeights(weights, (name) => locateTensor(folder, name), { signal, onProgress });
    const tokenizer = existsSync(join(folder.path, 'tokenizer.json')) ? await Tokenizer.load(folder.path) : undefined;
    cleanup.push(() => tokenizer?.dispose());
    const chatTemplate = tokenizer === undefined ? undefined : await ChatTemplate.load(folder.path, tokenizer.namedTokens);
    const base = CheckpointBase.of(folder, sites);
    const model = new Model({
      device,
      folder,
      config,
      tokenizer,
      chatTemplate,
      weights,
      sites,
      graphs,
      pool,
      state,
      limits,
      registry: new AdapterRegistry(
        new AdapterPlaces(pool, state.entries, state.adapterRows, device.name === 'cpu', parsed.adapterDtype),
        layout,
        moving,
        parsed.maxAdapters,
      ),
      loader: async (path) => {
        try {
          return await loadPeftFolder(path, base);
        } finally {
          base.forget();
        }
      },
      merger: new WeightMerger(folder, weights, base),
      contextLength,
      prefixCache: parsed.prefixCache,
    });
    for (const [name, path] of Object.entries(parsed.adapters)) {
      throwIfAborted(signal);
      await model.adapters.load(name, path);
    }
    return model;
  } catch (error) {
    for (const undo of cleanup.reverse()) undo();
    throw error;
  }
}

// Sizes that options decide: where there is no memory, the error says which.
function reserving<T>(what: string, remedy: string, reserve: () => T): T {
  try {
    return reserve();
  } catch (error) {
    if (!(error instanceof PoolExhaustedError)) throw error;
    throw new PoolExhaustedError(`${what}: ${error.message}. Give loadModel ${remedy}`, error.details, { cause: error });
  }
}

function contextOf(wanted: number | undefined, maxPositions: number, model: string): number {
  if (wanted === undefined) return maxPositions;
  if (wanted > maxPositions)
    throw new OptionError(`loadModel.contextLength is ${wanted}: ${model} was made for at most ${maxPositions}`, {
      actual: wanted,
      expected: maxPositions,
    });
  return wanted;
}

// generation_config.json knows better than config.json when a chat model ends its turn.
function endTokens(folder: HuggingFaceFolder): readonly number[] {
  const value = folder.generationConfig?.eos_token_id ?? folder.config.eosTokenIds;
  return (Array.isArray(value) ? value : [value]).filter((id): id is number => typeof id === 'number').slice(0, 16);
}

function defaultCacheDtype(folder: HuggingFaceFolder): 'f32' | 'bf16' {
  for (const name of folder.tensors.names())
    if (folder.tensors.info(name)?.shape.length === 2) return folder.tensors.info(name)?.dtype === 'F32' ? 'f32' : 'bf16';
  return 'f32';
}
