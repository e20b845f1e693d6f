import { basename, join } from 'node:path';
import { z } from 'zod';
import { FileFormatError, ModelError } from '../errors.js';
import { isPlainName, pathInside } from './contained_path.js';
import { type JsonLimits, readJsonFile } from './json.js';
import { type ModelConfig, toModelConfig } from './model_config.js';
import { openSafetensors, type SafetensorsFile, type TensorInfo, type TensorSource } from './safetensors.js';

/** The tensors of a folder's one or many safetensors files, as one source. */
export class CheckpointTensors implements TensorSource, Disposable {
  private readonly owners = new Map<string, SafetensorsFile>();

  constructor(
    /** Every open file. */
    readonly files: readonly SafetensorsFile[],
  ) {
    for (const file of files) {
      for (const name of file.names()) {
        const other = this.owners.get(name);
        if (other !== undefined)
          throw new FileFormatError(`tensor "${name}" is in both ${other.label} and ${file.label}`, {
            file: file.path,
            tensor: name,
            rule: 'duplicate-name',
          });
        this.owners.set(name, file);
      }
    }
  }

  names(): IterableIterator<string> {
    return this.owners.keys();
  }

  info(name: string): TensorInfo | undefined {
    return this.owners.get(name)?.info(name);
  }

  /** The file that holds a tensor: for native jobs that read it themselves. */
  fileOf(name: string): SafetensorsFile | undefined {
    return this.owners.get(name);
  }

  async read(name: string): Promise<ArrayBuffer> {
    const file = this.owners.get(name);
    if (file === undefined)
      throw new FileFormatError(`${this.files.map((f) => f.label).join(', ')}: there is no tensor "${name}"`, {
        tensor: name,
        rule: 'missing-tensor',
      });
    return file.read(name);
  }

  dispose(): void {
    for (const file of this.files) file.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });
const indexName = 'model.safetensors.index.json';
const maxIndexBytes = 64 * 1024 * 1024;
const maxShards = 4096;

/** A model folder as Hugging Face writes it. */
export class HuggingFaceFolder implements Disposable {
  private constructor(
    readonly path: string,
    /** For messages: the folder's name, or `org/name` of a folder in the cache. */
    readonly name: string,
    readonly config: ModelConfig,
    /** generation_config.json as it is, or undefined. */
    readonly generationConfig: Readonly<Record<string, unknown>> | undefined,
    readonly tensors: CheckpointTensors,
  ) {}

  /** Reads the configuration and the headers of the weights, not the weights. */
  static async open(path: string): Promise<HuggingFaceFolder> {
    const name = modelName(path);
    const config = await readModelConfig(path);
    const generationConfig = await readOptionalObject(path, 'generation_config.json');
    return new HuggingFaceFolder(path, name, config, generationConfig, await openCheckpoint(path));
  }

  dispose(): void {
    this.tensors.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Opens a model folder. */
export const openHuggingFaceFolder = HuggingFaceFolder.open;

/** `org/name` of a folder in the Hugging Face cache, else the folder's own name. */
export function modelName(path: string): string {
  const match = /[/\\]models--([^/\\]+)[/\\]snapshots[/\\][^/\\]+[/\\]?$/.exec(path);
  return match?.[1] === undefined ? basename(path) : match[1].replace('--', '/');
}

/** Reads config.json of a model folder. */
export async function readModelConfig(folder: string): Promise<ModelConfig> {
  const file = await pathInside(folder, 'config.json');
  if (file === undefined) {
    const adapter = (await pathInside(folder, 'adapter_config.json')) !== undefined;
    throw new ModelError(`${folder} has no config.json${adapter ? ': it is an adapter, not a model' : ''}`, { folder });
  }
  return toModelConfig(await readJsonFile(file), modelName(folder));
}

/** A JSON object in a folder, or undefined when the file is not there. */
export async function readOptionalObject(
  folder: string,
  name: string,
  limits: JsonLimits = {},
): Promise<Record<string, unknown> | undefined> {
  const file = await pathInside(folder, name);
  if (file === undefined) return undefined;
  const value = await readJsonFile(file, limits);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FileFormatError(`${file}: expected a JSON object`, { file, rule: 'json-object' });
  return value as Record<string, unknown>;
}

/** Opens model.safetensors of a folder, or all files of its model.safetensors.index.json. */
export async function openCheckpoint(folder: string): Promise<CheckpointTensors> {
  const single = await pathInside(folder, 'model.safetensors');
  if (single !== undefined) return new CheckpointTensors([await openSafetensors(single, { label: join(folder, 'model.safetensors') })]);
  const index = await pathInside(folder, indexName);
  if (index !== undefined) return openShards(folder, index);
  const pickled = (await pathInside(folder, 'pytorch_model.bin')) ?? (await pathInside(folder, 'pytorch_model.bin.index.json'));
  throw new ModelError(
    `${folder} has neither model.safetensors nor ${indexName}${pickled === undefined ? '' : '. pytorch_model.bin can hold code and is not read: save the model again with safe_serialization=True'}`,
    { folder },
  );
}

async function openShards(folder: string, indexPath: string): Promise<CheckpointTensors> {
  const index = join(folder, indexName);
  const refuse = (rule: string, message: string, details: Record<string, unknown> = {}): never => {
    throw new FileFormatError(`${index}: ${message}`, { file: index, rule, ...details });
  };
  const parsed = indexSchema.safeParse(await readJsonFile(indexPath, { maxBytes: maxIndexBytes }));
  if (!parsed.success) return refuse('weight-map', 'expected { "weight_map": { <tensor>: <file name> } }');
  const map = Object.entries(parsed.data.weight_map);
  const names = [...new Set(map.map(([, shard]) => shard))];
  if (names.length === 0) refuse('weight-map', 'weight_map is empty');
  if (names.length > maxShards) refuse('weight-map', `weight_map names ${names.length} files, expected at most ${maxShards}`);
  const unsafe = names.find((name) => !isPlainName(name) || !name.endsWith('.safetensors'));
  if (unsafe !== undefined)
    refuse('plain-name', `${JSON.stringify(unsafe.slice(0, 96))} is not the name of a safetensors file in this folder`, { shard: unsafe });
  const opened = new Map<string, SafetensorsFile>();
  try {
    const results = await Promise.allSettled(
      names.map(async (name) => {
        const path =
          (await pathInside(folder, name)) ?? refuse('missing-shard', `"${name}" is listed but not in the folder`, { shard: name });
        opened.set(name, await openSafetensors(path, { label: join(folder, name) }));
      }),
    );
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const tensors = new CheckpointTensors(names.map((name) => opened.get(name) as SafetensorsFile));
    for (const [tensor, shard] of map) {
      if (opened.get(shard)?.info(tensor) !== undefined) continue;
      const elsewhere = tensors.fileOf(tensor);
      refuse(
        'missing-tensor',
        `tensor "${tensor}" is listed in "${shard}" but ${elsewhere === undefined ? 'is not there' : `is in ${basename(elsewhere.label)}`}`,
        { tensor, shard },
      );
    }
    return tensors;
  } catch (error) {
    for (const file of opened.values()) file.dispose();
    throw error;
  }
}
