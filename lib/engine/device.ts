import { HeddleError, OptionError } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { cudaDevice, cudaDevices } from '../runtime/device.js';

/** Cores, instruction set and native memory of this process. */
export interface DeviceInfo {
  /** Instruction set in use. */
  readonly target: string;
  /** Instruction sets that this machine can run. */
  readonly targets: readonly string[];
  /** Threads that kernels use. */
  readonly threads: number;
}

/** The processor. Throws DeviceError when the native library cannot be loaded. */
export const deviceInfo = (): DeviceInfo => binding().cpu();

/** A CUDA device. */
export interface CudaDeviceInfo {
  /** What `device` takes: 'cuda', 'cuda:1' and so on. */
  readonly device: string;
  readonly name: string;
  /** Such as '9.0'. */
  readonly computeCapability: string;
  readonly multiprocessors: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Newest CUDA that the driver runs, and the CUDA that heddle was built with, such as '13.0'. */
  readonly driverVersion: string;
  readonly runtimeVersion: string;
  /** What multiplies large matrices. */
  readonly linearLibrary: string;
  /** On the processor, for tests. */
  readonly emulated: boolean;
}

/** The CUDA devices of this machine, or why there is none that can be used. */
export interface CudaInfo {
  /** The file with the CUDA backend. */
  readonly library: string;
  readonly devices: readonly CudaDeviceInfo[];
  /** Code as of DeviceError. */
  readonly error?: { readonly code: string; readonly message: string };
}

// 13010 is 13.1.
const cudaVersion = (number: number): string => `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;

/** The CUDA devices of this machine; asking takes some memory on each. Where there is none `error` says why. Throws DeviceError when the native library cannot be loaded. */
export function cudaInfo(): CudaInfo {
  const library = binding().cudaLibraryPath();
  try {
    const devices = cudaDevices(true).map((found) => ({
      device: cudaDevice(found.ordinal).name,
      name: found.name,
      computeCapability: `${found.computeMajor}.${found.computeMinor}`,
      multiprocessors: found.multiprocessors,
      totalBytes: found.totalBytes,
      freeBytes: found.freeBytes,
      driverVersion: cudaVersion(found.driverVersion),
      runtimeVersion: cudaVersion(found.runtimeVersion),
      linearLibrary: found.linearLibrary,
      emulated: found.emulated,
    }));
    return { library, devices };
  } catch (error) {
    if (!(error instanceof HeddleError)) throw error;
    return { library, devices: [], error: { code: error.code, message: error.message } };
  }
}

/** Memory of a CUDA device. */
export interface DeviceMemory {
  /** 'cuda', 'cuda:1' and so on. */
  readonly name: string;
  /** Bytes that this process holds there in tensors now and at most, and in how many blocks. */
  readonly bytes: number;
  readonly peakBytes: number;
  readonly blocks: number;
  /** Of the whole device; undefined where it is lost. */
  readonly totalBytes: number | undefined;
  readonly freeBytes: number | undefined;
}

/** Native memory of this process, and of the CUDA devices that it uses. */
export interface NativeMemory {
  /** Bytes in tensors now and at most, and how many blocks. */
  readonly bytes: number;
  readonly peakBytes: number;
  readonly blocks: number;
  /** CUDA devices that were opened. */
  readonly devices: readonly DeviceMemory[];
}

/** Native memory of this process: bytes in tensors now and at most, and how many blocks; the same of every CUDA device in use. */
export function memory(): NativeMemory {
  const native = binding();
  const devices = native
    .deviceMemory()
    .map(({ ordinal, totalBytes, freeBytes, ...counters }) => ({ name: cudaDevice(ordinal).name, ...counters, totalBytes, freeBytes }));
  return { ...native.memory(), devices };
}

/** Sets the number of threads that kernels use, the engine's own included. Default: the cores of this process. */
export function setThreads(threads: number): void {
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024)
    throw new OptionError(`setThreads: ${threads}: expected a whole number from 1 to 1024`, { actual: threads });
  binding().setThreads(threads);
}
