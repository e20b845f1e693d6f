// Everything that a training needs to go on, in one file: `checkpoint-<step>.safetensors`.
import { existsSync } from 'node:fs';
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { toAccessError } from '../checkpoint/json.js';
import { openSafetensors, type SafetensorsFile } from '../checkpoint/safetensors.js';
import { isUnfinished } from '../checkpoint/whole_file.js';
import { type TensorToWrite, writeSafetensors } from '../checkpoint/write_safetensors.js';
import { FileAccessError, FileFormatError } from '../errors.js';
import { type DeviceTensor, readBytes, writeBytes } from '../runtime/device_tensor.js';
import { type DType, dtypeBytes, viewAs } from '../runtime/dtype.js';

const format = 'heddle-training-1';
const beginning = 'checkpoint-';
// Beginnings of all that a training writes whole.
const written = [beginning, 'report.html.', 'adapter_config.json.', 'adapter_model.safetensors.'];
const filePattern = /^checkpoint-(\d{1,15})\.safetensors$/;
// What the settings of very many adapters may come to.
const maxHeaderBytes = 100_000_000;

const value = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const stateSchema = z.strictObject({
  /** Steps that are complete: the position in the data of every adapter. */
  step: z.number().int().min(0),
  /** Random numbers are functions of seed and step: this is all of their state. */
  seed: z.number().int().min(0),
  /** Step of the last evaluation; -1: none yet. */
  evaluatedStep: z.number().int().min(-1),
  /** Time and tokens of training so far. */
  seconds: z.number().min(0),
  tokens: z.number().int().min(0),
  /** Everything that the numbers of the training depend on, by its name. */
  configuration: z.record(z.string(), value),
});

/** Where a training is. */
export type TrainingState = z.output<typeof stateSchema>;

/** Memory that belongs to a checkpoint. */
export interface SavedTensor {
  readonly name: string;
  readonly tensor: DeviceTensor;
}

/** A checkpoint on disk. */
export interface CheckpointFile {
  readonly step: number;
  readonly path: string;
}

const spelled: Partial<Record<DType, string>> = { f32: 'F32', i32: 'I32', f16: 'F16', bf16: 'BF16', u8: 'U8' };

/** The checkpoints of a folder, oldest first; none where there is no folder. */
export async function listCheckpoints(folder: string): Promise<CheckpointFile[]> {
  return (await namesIn(folder))
    .flatMap((name) => {
      const step = filePattern.exec(name)?.[1];
      return step === undefined ? [] : [{ step: Number(step), path: join(folder, name) }];
    })
    .sort((a, b) => a.step - b.step);
}

/**
 * Writes a checkpoint whole or not at all; older ones go once it is on the disk. Throws FileAccessError that says which checkpoint is
 * still there where it cannot be written.
 */
export async function writeCheckpoint(folder: string, state: TrainingState, tensors: readonly SavedTensor[]): Promise<string> {
  const path = join(folder, `${beginning}${state.step}.safetensors`);
  const before = await listCheckpoints(folder);
  const parts: TensorToWrite[] = tensors.map(({ name, tensor }) => {
    const data = { length: byteCount(tensor), read: (at: number, bytes: number) => readBytes(tensor, at, bytes) };
    return { name, dtype: spelled[tensor.dtype] as string, shape: tensor.dims, data };
  });
  try {
    await writeSafetensors(path, parts, { format, state: JSON.stringify(state) });
  } catch (error) {
    throw withLastGood(error, before.at(-1));
  }
  for (const old of before) if (old.step !== state.step) await unlink(old.path).catch(() => {});
  await removeUnfinished(folder);
  return path;
}

/** Deletes what a training that was killed left behind: files that were not whole yet. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await namesIn(folder))
    if (written.some((start) => isUnfinished(name, start))) await unlink(join(folder, name)).catch(() => {});
}

/** An open checkpoint. */
export class Checkpoint implements Disposable {
  private constructor(
    private readonly file: SafetensorsFile,
    readonly state: TrainingState,
  ) {}

  /** Throws FileFormatError for a file that is no checkpoint of this version. */
  static async open(path: string): Promise<Checkpoint> {
    const file = await openSafetensors(path, { maxHeaderBytes });
    try {
      return new Checkpoint(file, readState(path, file.metadata));
    } catch (error) {
      file.dispose();
      throw error;
    }
  }

  /** Brings tensors back into their memory. All are checked before the first is written. Throws FileFormatError. */
  async restore(tensors: readonly SavedTensor[]): Promise<void> {
    const { path } = this.file;
    const wanted = new Set(tensors.map(({ name }) => name));
    for (const name of this.file.names())
      if (!wanted.has(name))
        throw new FileFormatError(`${path}: the tensor "${name}" belongs to nothing in this training`, {
          file: path,
          tensor: name,
          rule: 'extra-tensor',
        });
    for (const { name, tensor } of tensors) {
      const info = this.file.info(name);
      const expected = `${spelled[tensor.dtype]} [${tensor.dims.join(', ')}]`;
      const actual = info === undefined ? 'missing' : `${info.dtype} [${info.shape.join(', ')}]`;
      if (actual !== expected)
        throw new FileFormatError(`${path}: the tensor "${name}" is ${actual}: expected ${expected}`, {
          file: path,
          tensor: name,
          rule: 'shape',
        });
    }
    for (const { name, tensor } of tensors) {
      const bytes = await this.file.read(name);
      await writeBytes(tensor, 0, viewAs(tensor.dtype, bytes));
    }
  }

  dispose(): void {
    this.file.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function readState(path: string, metadata: ReadonlyMap<string, string>): TrainingState {
  const found = metadata.get('format');
  if (found !== format)
    throw new FileFormatError(`${path}: its format is ${found === undefined ? 'not given' : `"${found}"`}: expected "${format}"`, {
      file: path,
      rule: 'format',
    });
  let raw: unknown;
  try {
    raw = JSON.parse(metadata.get('state') ?? '');
  } catch (cause) {
    throw new FileFormatError(`${path}: its state is not valid JSON`, { file: path, rule: 'state' }, { cause });
  }
  const parsed = stateSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new FileFormatError(`${path}: state.${issue?.path.join('.')}: ${issue?.message}`, { file: path, rule: 'state' });
}

function withLastGood(error: unknown, last: CheckpointFile | undefined): unknown {
  if (!(error instanceof FileAccessError)) return error;
  const still = last === undefined ? 'there is no earlier checkpoint' : `the checkpoint of step ${last.step} is still whole`;
  return new FileAccessError(
    `${error.message}; ${still}`,
    { ...error.details, lastCheckpoint: last?.path, lastStep: last?.step },
    { cause: error },
  );
}

function byteCount({ dtype, dims }: DeviceTensor): number {
  return dims.reduce((count, size) => count * size, dtypeBytes[dtype]);
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    if (code === 'ENOTDIR' && existsSync(folder))
      throw new FileAccessError(`the output ${folder} is a file: expected a folder`, { file: folder, reason: code }, { cause: error });
    throw toAccessError(error, 'read', folder);
  }
}
