import { DTypeError, OptionError } from '../errors.js';
import { didYouMean } from './suggest.js';

/** Element types of tensors. */
export type DType = 'f32' | 'f16' | 'bf16' | 'i32' | 'u8';

/** Numbers of the native DType enum. */
export const dtypeCode: Record<DType, number> = { f32: 0, f16: 1, bf16: 2, i32: 3, u8: 4 };

/** Bytes of one element. */
export const dtypeBytes: Record<DType, number> = { f32: 4, f16: 2, bf16: 2, i32: 4, u8: 1 };

/** The typed arrays that hold a dtype on the JavaScript side; 16-bit floats travel as their bits. */
export interface TypedArrays {
  f32: Float32Array;
  f16: Uint16Array;
  bf16: Uint16Array;
  i32: Int32Array;
  u8: Uint8Array;
}

/** Any typed array that may carry tensor elements. */
export type TensorData = TypedArrays[DType];

const constructors = { f32: Float32Array, f16: Uint16Array, bf16: Uint16Array, i32: Int32Array, u8: Uint8Array };

/** The elements of `bytes` as the typed array of `dtype`; shares memory. */
export function viewAs<T extends DType>(dtype: T, bytes: ArrayBuffer, offset = 0, byteLength = bytes.byteLength - offset): TypedArrays[T] {
  const Constructor = constructors[dtype] as unknown as new (b: ArrayBuffer, o: number, n: number) => TypedArrays[T];
  return new Constructor(bytes, offset, byteLength / dtypeBytes[dtype]);
}

/** Name of the typed array that `dtype` travels in. */
export function holderName(dtype: DType): string {
  return constructors[dtype].name;
}

/** Throws DTypeError unless `dtype` is one. @param what has it */
export function expectKnownDType(dtype: DType, what: string): void {
  if (Object.hasOwn(dtypeCode, dtype)) return;
  const known = Object.keys(dtypeCode);
  throw new DTypeError(`${what} has the dtype '${dtype}': expected ${known.join(', ')}.${didYouMean(String(dtype), known)}`, {
    actual: dtype,
    expected: known,
  });
}

/** Throws DTypeError unless `data` is the typed array that `dtype` travels in, OptionError unless it can be read. @param what it is for */
export function expectData(dtype: DType, data: unknown, what: string): asserts data is TensorData {
  if (!(data instanceof constructors[dtype]))
    throw new DTypeError(
      `${what} is ${dtype}: expected a ${holderName(dtype)}, got ${(data as object | null | undefined)?.constructor?.name ?? data}`,
      { expected: holderName(dtype) },
    );
  expectReadable(data, what);
}

/** Throws OptionError where the memory of `data` is shared between threads, or was transferred away. */
export function expectReadable(data: TensorData, what: string): void {
  const { buffer } = data;
  if (buffer instanceof SharedArrayBuffer)
    throw new OptionError(`${what} lies in a SharedArrayBuffer: expected memory of its own, such as array.slice()`, {
      expected: 'ArrayBuffer',
    });
  if (data.length === 0 && isDetached(buffer))
    throw new OptionError(`${what} is detached: its ArrayBuffer was transferred away`, { expected: 'an ArrayBuffer that is still there' });
}

// Node.js 20 has no `detached`.
function isDetached(buffer: ArrayBuffer): boolean {
  try {
    new Uint8Array(buffer);
    return false;
  } catch {
    return true;
  }
}
