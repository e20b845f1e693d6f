// A model with an adapter merged in, as a folder of its own.
import { access, constants, copyFile, readdir, realpath, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { CheckpointBase } from '../adapters/checkpoint_base.js';
import { mergedTensors } from '../adapters/merged_tensors.js';
import { loadPeftFolder } from '../adapters/peft_folder.js';
import { listedInside } from '../checkpoint/contained_path.js';
import { resolveModelFolder } from '../checkpoint/hub.js';
import { type HuggingFaceFolder, openHuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import { toAccessError } from '../checkpoint/json.js';
import type { SafetensorsFile } from '../checkpoint/safetensors.js';
import { UnfinishedFolder } from '../checkpoint/unfinished_folder.js';
import { type TensorBytes, writeSafetensors } from '../checkpoint/write_safetensors.js';
import { AdapterError, OptionError } from '../errors.js';
import { architectureOf } from '../models/index.js';
import type { Site } from '../models/model_builder.js';
import { WeightStore } from '../models/weight_store.js';
import { throwIfAborted } from '../runtime/abort_signal.js';
import { cpu } from '../runtime/device.js';
import { parseOptions } from '../runtime/parse_options.js';
import { signalSchema } from '../runtime/signal_schema.js';
import { atOnce } from '../runtime/slices.js';
import { cacheLayout, widestAdapterRow } from './memory_plan.js';
import { checkpointDtype } from './merged_adapter.js';
import { ModelGraphs } from './model_programs.js';
import { mergeScale } from './options.js';

const mergeFolderSchema = z.strictObject({
  /** Model folder, or org/name on the Hugging Face Hub. */
  model: z.string().min(1),
  /** PEFT folder, or org/name on the Hub. */
  adapter: z.string().min(1),
  /** Folder to write; must be empty or not there. */
  output: z.string().min(1),
  /** Multiplies what the adapter changes. */
  scale: mergeScale,
  signal: signalSchema.optional(),
  /** Told while tensors are written. */
  onProgress: z
    .custom<(progress: { bytes: number; totalBytes: number }) => void>((f) => typeof f === 'function', 'expected a function')
    .optional(),
});

/** What to merge, and where to. */
export type MergeFolderOptions = z.input<typeof mergeFolderSchema>;

/** What was written. */
export interface MergedFolder {
  readonly folder: string;
  /** Tensors that are not the base's. */
  readonly changedTensors: number;
  readonly tensors: number;
  readonly bytes: number;
}

// Weights in any format: the merged ones take their place.
const weightFile = /\.(safetensors|bin|pt|pth|ckpt|h5|msgpack|gguf|onnx|ot)$/i;
const pickledIndex = /\.bin\.index\.json$/i;

/**
 * Writes a model with an adapter merged in as a Hugging Face folder: the same files with the same tensors in the same dtypes, each merged in
 * float64 and rounded once; configuration and tokenizer are copied. config.json comes last: a folder without it was not finished. Where
 * anything fails, what was written is removed. Throws AdapterError where the adapter cannot be merged, OptionError for an output that is not
 * empty, FileFormatError for a link that leads out of the model's folder, FileAccessError, AbortError.
 */
export async function mergeFolder(options: MergeFolderOptions): Promise<MergedFolder> {
  const parsed = parseOptions(mergeFolderSchema, options, 'mergeFolder');
  const { output, signal } = parsed;
  const source = await resolveModelFolder(parsed.model, { signal });
  const adapter = await resolveModelFolder(parsed.adapter, { signal });
  const target = await UnfinishedFolder.open(output);
  try {
    await expectEmpty(output, source);
    return await mergeInto(target, source, adapter, parsed);
  } catch (error) {
    await target.discard();
    throw error;
  }
}

async function mergeInto(
  target: UnfinishedFolder,
  source: string,
  adapter: string,
  options: z.output<typeof mergeFolderSchema>,
): Promise<MergedFolder> {
  const { scale } = options;
  const folder = await openHuggingFaceFolder(source);
  try {
    const others = await otherFiles(source);
    const base = CheckpointBase.of(folder, sitesOf(folder));
    const name = basename(adapter);
    const parts = await loadPeftFolder(adapter, base);
    const changes = mergedTensors({ adapter: name, parts, scale, base, dtypeOf: (tensor) => checkpointDtype(folder, tensor) });
    const made = new Map(changes.map((change) => [change.tensor, change.make] as const));
    const missing = changes.find(({ tensor }) => folder.tensors.info(tensor) === undefined);
    if (missing !== undefined)
      throw new AdapterError(`${name} cannot be merged: ${folder.name} has no tensor ${missing.tensor}`, { adapter: name });
    const bytes = await writeWeights(folder, made, target, options);
    base.forget();
    await copyOthers(others, target, options.signal);
    return { folder: target.path, changedTensors: made.size, tensors: [...folder.tensors.names()].length, bytes };
  } finally {
    folder.dispose();
  }
}

async function expectEmpty(output: string, source: string): Promise<void> {
  try {
    const inside = await readdir(output);
    if ((await realpath(output)) === (await realpath(source)))
      throw new OptionError(`output is the folder of the model, ${resolve(output)}: expected another one`, { option: 'output', output });
    if (inside.length > 0)
      throw new OptionError(
        `output is ${output}, which holds ${inside[0]}${inside.length > 1 ? ' and more' : ''}: expected an empty folder`,
        {
          option: 'output',
          output,
          found: inside.length,
        },
      );
  } catch (error) {
    throw error instanceof OptionError ? error : toAccessError(error, 'write', output);
  }
}

// The places of the model, without its weights: their memory is reserved on the way and never touched.
function sitesOf(folder: HuggingFaceFolder): readonly Site[] {
  const { config } = folder;
  const weights = new WeightStore({ model: folder.name, info: (name) => folder.tensors.info(name) }, 'precise', cpu);
  const limits = { maxStepTokens: 1, maxScoreTokens: 1, maxRequests: 1, maxAdaptersPerRequest: 1, contextBlocks: 1 };
  const layout = cacheLayout(config, 'f32', widestAdapterRow(config));
  const graphs = new ModelGraphs(architectureOf(config.modelType, folder.name), config, weights, layout, limits);
  try {
    return atOnce(graphs.sites());
  } finally {
    graphs.dispose();
    weights.dispose();
  }
}

async function writeWeights(
  { tensors }: HuggingFaceFolder,
  made: ReadonlyMap<string, () => Promise<{ data: TensorBytes }>>,
  target: UnfinishedFolder,
  { signal, onProgress }: MergeFolderOptions,
): Promise<number> {
  const sizeOf = (file: SafetensorsFile, name: string): number => {
    const info = file.info(name);
    return info === undefined ? 0 : info.end - info.begin;
  };
  const totalBytes = tensors.files.reduce((sum, file) => [...file.names()].reduce((of, name) => of + sizeOf(file, name), sum), 0);
  let bytes = 0;
  for (const file of tensors.files) {
    const entries = [...file.names()].map((name) => {
      const { dtype, shape } = file.info(name) as { dtype: string; shape: readonly number[] };
      const data = async (): Promise<TensorBytes> => {
        throwIfAborted(signal);
        const own = made.get(name);
        const found = own === undefined ? await file.read(name) : (await own()).data;
        bytes += sizeOf(file, name);
        onProgress?.({ bytes, totalBytes });
        return found;
      };
      return { name, dtype, shape, data };
    });
    await writeSafetensors(target.file(basename(file.label)), entries, Object.fromEntries(file.metadata), { signal });
  }
  return bytes;
}

/** Every other file of a model, by name, and where it really is; config.json last. A link that leads nowhere counts as no file, as on loading. */
async function otherFiles(source: string): Promise<Map<string, string>> {
  const last = 'config.json';
  const names = (await readdir(source)).filter((name) => !weightFile.test(name) && !pickledIndex.test(name) && !name.startsWith('.'));
  const files = new Map<string, string>();
  for (const name of [...names.filter((one) => one !== last), last]) {
    const facts = await stat(join(source, name)).catch(() => undefined);
    const from = facts?.isFile() ? await listedInside(source, name) : undefined;
    if (from === undefined) continue;
    await access(from, constants.R_OK).catch((error) => {
      throw toAccessError(error, 'copy', from);
    });
    files.set(name, from);
  }
  return files;
}

async function copyOthers(files: ReadonlyMap<string, string>, target: UnfinishedFolder, signal: AbortSignal | undefined): Promise<void> {
  for (const [name, from] of files) {
    throwIfAborted(signal);
    try {
      await copyFile(from, target.file(name));
    } catch (error) {
      throw toAccessError(error, 'copy', from);
    }
  }
}
