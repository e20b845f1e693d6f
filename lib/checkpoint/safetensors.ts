import { DisposedError, FileFormatError, fromNative, OptionError } from '../errors.js';
import { binding, type NativeSafetensorsFile } from '../runtime/binding.js';

/** What a checkpoint says of one tensor. */
export interface TensorInfo {
  readonly name: string;
  /** As safetensors spells it: F32, F16, BF16, I64, … */
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes [begin, end) of its file hold the tensor. */
  readonly begin: number;
  readonly end: number;
}

/** Tensors by name, read when they are asked for. */
export interface TensorSource {
  names(): IterableIterator<string>;
  /** undefined when there is no such tensor. */
  info(name: string): TensorInfo | undefined;
  /** A copy of the tensor's bytes, little endian, read off the event loop. */
  read(name: string): Promise<ArrayBuffer>;
}

/** Options of openSafetensors. */
export interface OpenSafetensorsOptions {
  /** Largest header that is read, in bytes. Default 16 MiB, at most 100 MB. */
  maxHeaderBytes?: number;
  /** What messages call the file. Default: its path. */
  label?: string;
}

/** An open safetensors file. Its header obeyed every rule of the format, so every tensor lies inside the file. */
export class SafetensorsFile implements TensorSource, Disposable {
  /** Key and value pairs of `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  private readonly tensors = new Map<string, TensorInfo>();

  private constructor(
    readonly path: string,
    /** For native jobs that read tensors themselves. */
    readonly native: NativeSafetensorsFile,
    /** What messages call the file. */
    readonly label: string,
  ) {
    this.metadata = new Map(Object.entries(native.metadata()));
    for (const entry of native.entries()) this.tensors.set(entry.name, entry);
  }

  /** Opens a file and reads its header. Throws FileFormatError naming the tensor and the rule it breaks. */
  static async open(path: string, options: OpenSafetensorsOptions = {}): Promise<SafetensorsFile> {
    const { maxHeaderBytes, label = path } = options;
    if (maxHeaderBytes !== undefined && !(Number.isSafeInteger(maxHeaderBytes) && maxHeaderBytes > 0 && maxHeaderBytes <= 100_000_000))
      throw new OptionError(`maxHeaderBytes is ${maxHeaderBytes}: expected an integer from 1 to 100000000`, { option: 'maxHeaderBytes' });
    let native: NativeSafetensorsFile;
    try {
      native = await binding().SafetensorsFile.open(path, maxHeaderBytes);
    } catch (error) {
      throw toFileError(error, label);
    }
    return new SafetensorsFile(path, native, label);
  }

  get disposed(): boolean {
    return this.native.disposed;
  }

  names(): IterableIterator<string> {
    return this.tensors.keys();
  }

  info(name: string): TensorInfo | undefined {
    return this.tensors.get(name);
  }

  async read(name: string): Promise<ArrayBuffer> {
    const info = this.tensors.get(name);
    if (info === undefined)
      throw new FileFormatError(`${this.label}: there is no tensor "${name}"`, { file: this.label, tensor: name, rule: 'missing-tensor' });
    if (this.disposed) throw new DisposedError(`${this.label}: read after dispose()`, { file: this.label, tensor: name });
    try {
      return await this.native.read(info.begin, info.end);
    } catch (error) {
      throw toFileError(error, this.label);
    }
  }

  /** Closes the file; reads that have begun still finish. */
  dispose(): void {
    this.native.close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Opens a safetensors file. */
export const openSafetensors = SafetensorsFile.open;

function toFileError(error: unknown, file: string): Error {
  const { code, message } = error as Error & { code?: string };
  if (code !== 'ERR_HEDDLE_FILE') return fromNative(error, { file });
  const rule = /^([a-z0-9-]+): /.exec(message)?.[1];
  return rule === undefined
    ? new FileFormatError(message, { file, rule: 'file-changed' }, { cause: error })
    : new FileFormatError(`${file}: ${message}`, { file, rule }, { cause: error });
}
