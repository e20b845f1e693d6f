import type { TensorData } from './dtype.js';
import { checkEnvironment } from './environment.js';
import { loadBinding } from './load_binding.js';

/** A block of native memory. Writes and reads happen in order with the runs that were started before them. */
export interface NativeBuffer {
  readonly byteLength: number;
  /** Bytes of it that take memory: less where a compact weight gave some back. */
  readonly heldBytes: number;
  readonly disposed: boolean;
  /** `beside`: not in order with runs, on a device beside them; nothing under way may use these bytes. */
  write(offset: number, data: TensorData, beside?: boolean): Promise<void>;
  read(offset: number, bytes: number): Promise<ArrayBuffer>;
  dispose(): void;
}

/** Stops a run from outside: `abort` between two instructions, `interrupt` after the current step of a burst. */
export interface NativeRunControl {
  abort(): void;
  interrupt(): void;
  reset(): void;
}

/** What a run gives back: outputs of each step one after another in `data`, `bytes` long each. */
export interface NativeRunResult {
  steps: number;
  nanoseconds: number;
  bytes: number[];
  data: ArrayBuffer;
  /** There while a run in parts goes on: its next part. */
  rest?: Promise<NativeRunResult>;
}

/** A verified program. */
export interface NativeProgram {
  readonly arenaBytes: number;
  readonly workspaceBytes: number;
  readonly disposed: boolean;
  /** With `partMilliseconds` outputs come in parts, and the run ends early when something else waits for the engine thread. */
  run(
    extents: number[],
    inputs: TensorData[],
    steps: number,
    control?: NativeRunControl,
    partMilliseconds?: number,
  ): Promise<NativeRunResult>;
  setProfiling(on: boolean): void;
  profile(): { op: string; calls: number; nanoseconds: number }[];
  dispose(): void;
}

/** An open safetensors file whose header obeyed every rule of the format. */
export interface NativeSafetensorsFile {
  readonly disposed: boolean;
  entries(): { name: string; dtype: string; shape: number[]; begin: number; end: number }[];
  metadata(): Record<string, string>;
  read(begin: number, end: number): Promise<ArrayBuffer>;
  close(): void;
}

/** A CUDA device. */
export interface NativeCudaDevice {
  name: string;
  ordinal: number;
  computeMajor: number;
  computeMinor: number;
  multiprocessors: number;
  totalBytes: number;
  /** 0 without details. */
  freeBytes: number;
  /** As CUDA counts: 13000 is 13.0. */
  driverVersion: number;
  runtimeVersion: number;
  /** On the processor, for tests. */
  emulated: boolean;
  /** What multiplies large matrices; '' without details. */
  linearLibrary: string;
}

/** What this process holds on a device that it opened, and how much there is. */
export interface NativeDeviceMemory {
  ordinal: number;
  bytes: number;
  peakBytes: number;
  blocks: number;
  /** Not there where the device is lost. */
  freeBytes?: number;
  totalBytes?: number;
}

/** The native library: everything that crosses the boundary, on one screen. */
export interface Binding {
  readonly opTableHash: string;
  /** In the memory of the CUDA device of this number; undefined: the processor's. */
  Buffer: new (
    bytes: number,
    ordinal?: number,
  ) => NativeBuffer;
  Program: new (encoded: Uint8Array, buffers: NativeBuffer[], ordinal?: number) => NativeProgram;
  RunControl: new () => NativeRunControl;
  SafetensorsFile: { open(path: string, maxHeaderBytes?: number): Promise<NativeSafetensorsFile> };
  /** Details take memory on every device. Throws an error with a code where there is none. */
  cudaDevices(details?: boolean): NativeCudaDevice[];
  deviceMemory(): NativeDeviceMemory[];
  cudaLibraryPath(): string;
  /** Bytes of a weight [outputs, inputs] packed for `linear`, on any device. */
  packedBytes(dtype: number, outputs: number, inputs: number): number;
  /** Packs rows of a tensor of a file (or of host memory) as outputs `firstOutput`.. of a packed weight, in the order of the target's device. */
  packRows(
    source: NativeSafetensorsFile | TensorData,
    begin: number,
    layout: { dtype: number; rows: number; inputs: number; transposed: boolean; mayBeCompact?: boolean },
    target: NativeBuffer,
    firstOutput: number,
  ): Promise<void>;
  /** Whether the kernels of this processor are faster with compact weights. */
  compactPays(): boolean;
  /** Makes a weight [outputs, inputs] that was packed with `mayBeCompact` compact where that is worth it, and gives memory back. */
  compactPanels(weight: NativeBuffer, outputs: number, inputs: number): Promise<void>;
  /** Makes it plain again, for packRows. */
  plainPanels(weight: NativeBuffer, outputs: number, inputs: number): Promise<void>;
  /** A group of `count` bf16 rows, one after another, as compact rows (native/kernels/grouped_lora/compact_rows.h); undefined where they cannot be. */
  compactRows(rows: Uint16Array, count: number): Uint8Array | undefined;
  /** Copies elements of a tensor of a file into a buffer, converting the dtype. */
  copyElements(
    source: NativeSafetensorsFile,
    begin: number,
    count: number,
    from: number,
    to: number,
    target: NativeBuffer,
    offset: number,
  ): Promise<void>;
  memory(): { bytes: number; peakBytes: number; blocks: number };
  cpu(): { target: string; targets: string[]; threads: number };
  setCpuTarget(name: string): Promise<void>;
  setThreads(threads: number): void;
}

let checked: Binding | undefined;

/** The native library, loaded on first use. Throws DeviceError when it cannot be loaded, OptionError where the environment says what cannot be. */
export function binding(): Binding {
  if (checked !== undefined) return checked;
  const loaded = loadBinding<Binding>();
  checkEnvironment(loaded.cpu().targets);
  checked = loaded;
  return loaded;
}
