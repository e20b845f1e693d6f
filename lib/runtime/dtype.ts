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

/** True when `data` is the typed array that `dtype` travels in. */
export function holds(dtype: DType, data: unknown): data is TensorData {
  return data instanceof constructors[dtype];
}

/** Name of the typed array that `dtype` travels in. */
export function holderName(dtype: DType): string {
  return constructors[dtype].name;
}
