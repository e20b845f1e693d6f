import { fromNative, ShapeError } from '../errors.js';
import { binding, type NativeBuffer } from './binding.js';
import { allocate } from './checked_buffer.js';
import { cpu, type Device } from './device.js';
import { type DType, dtypeBytes, expectData, expectKnownDType, type TensorData } from './dtype.js';
import { shownValue } from './shown_value.js';

// A cache line, and what vector loads like best.
const sliceAlignment = 64;

/** Native memory that a graph reads (a frozen weight) or keeps between runs (state). */
export interface DeviceTensor {
  /** Type of the elements. */
  readonly dtype: DType;
  /** Dimensions as stored; a weight packed for `linear` has three. */
  readonly dims: readonly number[];
  /** The memory; `buffer.dispose()` frees it. */
  readonly buffer: NativeBuffer;
  /** Bytes from the start of the buffer. */
  readonly offset: number;
  /** What it lies in the memory of. */
  readonly device: Device;
}

/** A zeroed tensor in native memory. Throws DTypeError, ShapeError, PoolExhaustedError when there is no memory, DeviceError when the device is lost. */
export function emptyTensor(dtype: DType, dims: readonly number[], device: Device = cpu): DeviceTensor {
  expectKnownDType(dtype, 'the tensor');
  return { dtype, dims, buffer: allocate(countElements(dims) * dtypeBytes[dtype], device), offset: 0, device };
}

// Bytes are counted exactly, of which an element has four at most.
const maxElements = Number.MAX_SAFE_INTEGER / 4;

function countElements(dims: readonly number[], what = 'a tensor'): number {
  if (!Array.isArray(dims)) throw new ShapeError(`${what} has the dimensions ${shownValue(dims)}: expected an array`, { actual: dims });
  for (const size of dims)
    if (!Number.isSafeInteger(size) || size < 0)
      throw new ShapeError(`${what} [${dims.join(', ')}] has a dimension of ${shownValue(size)}: expected a whole number, 0 or more`, {
        actual: size,
      });
  const elements = dims.reduce((count, size) => count * size, 1);
  if (elements > maxElements) throw new ShapeError(`${what} [${dims.join(', ')}] is larger than any memory`, { actual: elements });
  return elements;
}

function expectCount(data: TensorData, dims: readonly number[], what: string): void {
  const elements = countElements(dims, what);
  if (data.length !== elements)
    throw new ShapeError(`${what} [${dims.join(', ')}] has ${elements} elements, got ${data.length}`, {
      expected: elements,
      actual: data.length,
    });
}

/** A tensor in native memory with a copy of `data`; 16-bit floats are given as their bits. */
export function tensor(dtype: DType, dims: readonly number[], data: TensorData, device: Device = cpu): DeviceTensor {
  expectKnownDType(dtype, 'the tensor');
  expectData(dtype, data, 'the tensor');
  expectCount(data, dims, 'a tensor');
  const made = emptyTensor(dtype, dims, device);
  // Only a lost device refuses it, and that refuses whatever would read the tensor.
  made.buffer.write(0, data).catch(() => {});
  return made;
}

/**
 * Copies `data` into a tensor's memory, from byte `at` of it on, in order with runs; 'beside' them where nothing under way reads or writes
 * these bytes: a device then copies while it computes. Throws DeviceError when the device is lost.
 */
export async function writeBytes(
  { buffer, offset }: DeviceTensor,
  at: number,
  data: TensorData,
  order: 'in order' | 'beside' = 'in order',
): Promise<void> {
  await buffer.write(offset + at, data, order === 'beside');
}

/** What lies in a tensor's memory once everything before has run, from byte `at` of it on. Throws DeviceError when the device is lost. */
export function readBytes({ buffer, offset }: DeviceTensor, at: number, bytes: number): Promise<ArrayBuffer> {
  return buffer.read(offset + at, bytes);
}

/** A f32 weight [outputs, inputs] in host memory, packed for `linear`. */
export async function packedWeight(data: Float32Array, outputs: number, inputs: number, device: Device = cpu): Promise<DeviceTensor> {
  expectData('f32', data, 'the weight');
  expectCount(data, [outputs, inputs], 'a weight');
  const native = binding();
  const buffer = allocate(native.packedBytes(0, outputs, inputs), device);
  try {
    await native.packRows(data, 0, { dtype: 0, rows: outputs, inputs, transposed: false }, buffer, 0);
  } catch (error) {
    buffer.dispose();
    throw fromNative(error, { device: device.name });
  }
  return { dtype: 'f32', dims: [Math.ceil(outputs / 16), inputs + (inputs % 2), 16], buffer, offset: 0, device };
}

/**
 * Part of a tensor's memory as a tensor of its own, from element `first` on: a group of a longer state, for instance. The memory is shared.
 * Throws ShapeError where it begins at no multiple of 64 bytes or ends beyond `whole`.
 */
export function tensorSlice(whole: DeviceTensor, first: number, dims: readonly number[]): DeviceTensor {
  const size = dtypeBytes[whole.dtype];
  const available = countElements(whole.dims);
  const elements = countElements(dims);
  if (!Number.isSafeInteger(first) || first < 0 || first + elements > available)
    throw new ShapeError(`a slice [${dims.join(', ')}] from element ${first} on does not lie within [${whole.dims.join(', ')}]`, {
      actual: first + elements,
      expected: available,
    });
  if ((first * size) % sliceAlignment !== 0)
    throw new ShapeError(`a slice from element ${first} on begins at byte ${first * size}: expected a multiple of ${sliceAlignment}`, {
      actual: first * size,
      expected: sliceAlignment,
    });
  return { ...whole, dims, offset: whole.offset + first * size };
}
