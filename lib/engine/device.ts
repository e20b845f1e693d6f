import { OptionError } from '../errors.js';
import { binding } from '../runtime/binding.js';

/** Cores, instruction set and native memory of this process. */
export interface DeviceInfo {
  /** Instruction set in use. */
  readonly target: string;
  /** Instruction sets that this machine can run. */
  readonly targets: readonly string[];
  /** Threads that kernels use. */
  readonly threads: number;
}

/** The device that models run on. Throws DeviceError when the native library cannot be loaded. */
export const deviceInfo = (): DeviceInfo => binding().cpu();

/** Native memory of this process: bytes in tensors now and at most, and how many blocks. */
export const memory = (): { bytes: number; peakBytes: number; blocks: number } => binding().memory();

/** Sets the number of threads that kernels use, the engine's own included. Default: the cores of this process. */
export function setThreads(threads: number): void {
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024)
    throw new OptionError(`setThreads: ${threads}: expected a whole number from 1 to 1024`, { actual: threads });
  binding().setThreads(threads);
}
