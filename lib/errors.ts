/** Facts about an error, as fields: what was expected, what was found, which file, tensor or option. */
export type ErrorDetails = Record<string, unknown>;

/** Base of every error that heddle throws. `code` is stable; messages may be reworded. */
export class HeddleError extends Error {
  /** Stable identifier such as `ERR_HEDDLE_SHAPE`. */
  readonly code: string;
  /** The facts behind the message. */
  readonly details: ErrorDetails;

  constructor(code: string, message: string, details: ErrorDetails = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
    this.details = details;
  }
}

type Arguments = [message: string, details?: ErrorDetails, options?: { cause?: unknown }];

/** Shapes do not fit together. Thrown where the graph is built, with the op's name and both shapes. */
export class ShapeError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_SHAPE', ...args);
  }
}

/** An element type that the operation does not take. */
export class DTypeError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_DTYPE', ...args);
  }
}

/** An option that is unknown, of the wrong type or out of range. */
export class OptionError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_OPTION', ...args);
  }
}

/** A file breaks the rules of its format. `details` has `file` and `rule`. */
export class FileFormatError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_FILE', ...args);
  }
}

/** The operating system refused to read or write a file. */
export class FileAccessError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_IO', ...args);
  }
}

/** A model folder cannot be used: unknown architecture, missing or misshapen weights. */
export class ModelError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_MODEL', ...args);
  }
}

/** An adapter does not fit its base or uses something that is not supported. */
export class AdapterError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_ADAPTER', ...args);
  }
}

/** A request names an adapter that is not loaded. */
export class MissingAdapterError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_MISSING_ADAPTER', ...args);
  }
}

/** A model, buffer or program was used after `dispose()`. */
export class DisposedError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_DISPOSED', ...args);
  }
}

/** A prompt leaves no room in the model's context. */
export class PromptTooLongError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_PROMPT_TOO_LONG', ...args);
  }
}

/** A model, or an adapter over it, gave logits that are no finite numbers: weights that hold NaN or infinity, or an overflow. */
export class NonFiniteError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_NON_FINITE', ...args);
  }
}

/** The page pool can never hold what was asked, however long one waits. */
export class PoolExhaustedError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_POOL_EXHAUSTED', ...args);
  }
}

/** Codes of a DeviceError that say why a CUDA device cannot be used. */
export type CudaErrorCode =
  | 'ERR_HEDDLE_CUDA_LIBRARY'
  | 'ERR_HEDDLE_CUDA_DRIVER'
  | 'ERR_HEDDLE_CUDA_DRIVER_TOO_OLD'
  | 'ERR_HEDDLE_CUDA_NO_DEVICE'
  | 'ERR_HEDDLE_DEVICE_LOST';

/** A device or instruction set is not available. Of a CUDA device the code says why: see CudaErrorCode. */
export class DeviceError extends HeddleError {
  constructor(message: string, details?: ErrorDetails, options: { cause?: unknown; code?: CudaErrorCode } = {}) {
    super(options.code ?? 'ERR_HEDDLE_DEVICE', message, details, options);
  }
}

/** A tokenizer or chat template cannot be used. */
export class TokenizerError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_TOKENIZER', ...args);
  }
}

/** A training cannot go on: its loss is not finite, or its checkpoint is of another training. */
export class TrainingError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_TRAINING', ...args);
  }
}

/** A fault of heddle itself: please report it. */
export class InternalError extends HeddleError {
  constructor(...args: Arguments) {
    super('ERR_HEDDLE_INTERNAL', ...args);
  }
}

/** The operation was stopped by its `AbortSignal`. */
export class AbortError extends HeddleError {
  constructor(message = 'The operation was aborted', details?: ErrorDetails, options?: { cause?: unknown }) {
    super('ABORT_ERR', message, details, options);
    this.name = 'AbortError';
  }
}

const cudaErrors: ReadonlySet<string> = new Set<CudaErrorCode>([
  'ERR_HEDDLE_CUDA_LIBRARY',
  'ERR_HEDDLE_CUDA_DRIVER',
  'ERR_HEDDLE_CUDA_DRIVER_TOO_OLD',
  'ERR_HEDDLE_CUDA_NO_DEVICE',
  'ERR_HEDDLE_DEVICE_LOST',
]);

const nativeErrors: Record<string, new (...args: Arguments) => HeddleError> = {
  ERR_HEDDLE_ARGUMENT: OptionError,
  ERR_HEDDLE_DISPOSED: DisposedError,
  ERR_HEDDLE_PROGRAM: InternalError,
  ERR_HEDDLE_FILE: FileFormatError,
  ERR_HEDDLE_IO: FileAccessError,
  ERR_HEDDLE_OUT_OF_MEMORY: PoolExhaustedError,
  ABORT_ERR: AbortError,
};

/** Turns what the native library threw into the matching class, keeping the JavaScript stack of the caller. */
export function fromNative(error: unknown, details?: ErrorDetails): Error {
  if (error instanceof HeddleError || !(error instanceof Error)) return error as Error;
  const code = (error as Error & { code?: string }).code;
  if (code !== undefined && cudaErrors.has(code))
    return new DeviceError(error.message, details, { cause: error, code: code as CudaErrorCode });
  const Class = code === undefined ? undefined : nativeErrors[code];
  return Class === undefined ? error : new Class(error.message, details, { cause: error });
}
