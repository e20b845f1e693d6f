import type { AdapterTensor, FloatDType, RowBlock } from './method.js';

const scratch = new DataView(new ArrayBuffer(4));

/** An f16 number from its bits. */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** A bf16 number from its bits. */
export function bf16ToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** Elements of any float dtype as f32; f32 is returned as it is. */
export function toFloat32(dtype: FloatDType, data: Float32Array | Uint16Array): Float32Array {
  if (dtype === 'f32') return data as Float32Array;
  if (dtype === 'bf16') {
    const bits = new Uint32Array(data.length);
    for (let i = 0; i < data.length; i++) bits[i] = (data[i] as number) << 16;
    return new Float32Array(bits.buffer);
  }
  const values = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) values[i] = f16ToNumber(data[i] as number);
  return values;
}

/** Elements of any float dtype in float64. */
export function toFloat64(dtype: FloatDType, data: Float32Array | Uint16Array): Float64Array {
  return new Float64Array(toFloat32(dtype, data));
}

/** The same rows as f32. */
export function widen(block: RowBlock): RowBlock & { data: Float32Array } {
  return { ...block, dtype: 'f32', data: toFloat32(block.dtype, block.data) };
}

/** Columns become rows. */
export function transpose(block: RowBlock): RowBlock {
  const { count, width, data } = block;
  const turned = new (data.constructor as new (length: number) => Float32Array | Uint16Array)(data.length);
  // Tiles keep both sides in cache.
  const tile = 32;
  for (let row = 0; row < count; row += tile)
    for (let column = 0; column < width; column += tile)
      for (let r = row; r < Math.min(row + tile, count); r++)
        for (let c = column; c < Math.min(column + tile, width); c++) turned[c * count + r] = data[r * width + c] as number;
  return { dtype: block.dtype, count: width, width: count, data: turned };
}

/** The same for plain numbers: [rows, width] → [width, rows]. */
export function turned<Values extends Float32Array | Float64Array>(values: Values, rows: number, width: number): Values {
  const out = new (values.constructor as new (length: number) => Values)(values.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < width; c++) out[c * rows + r] = values[r * width + c] as number;
  return out;
}

/** f32 rows one below the other. */
export function stack(above: RowBlock, below: RowBlock): RowBlock & { data: Float32Array } {
  const data = new Float32Array((above.count + below.count) * above.width);
  data.set(toFloat32(above.dtype, above.data), 0);
  data.set(toFloat32(below.dtype, below.data), above.count * above.width);
  return { dtype: 'f32', count: above.count + below.count, width: above.width, data };
}

/** f32 rows from numbers in float64, row-major. */
export function blockOf(values: Float64Array, count: number, width: number): RowBlock & { data: Float32Array } {
  return { dtype: 'f32', count, width, data: new Float32Array(values) };
}

/** A matrix of an adapter's file as rows. */
export function tensorRows({ dtype, shape, data }: AdapterTensor): RowBlock {
  return { dtype, count: shape[0] as number, width: shape[1] as number, data };
}

/** Two blocks in one dtype: the one they share, or f32. */
export function sameDType(a: RowBlock, bT: RowBlock): { a: RowBlock; bT: RowBlock } {
  return a.dtype === bT.dtype ? { a, bT } : { a: widen(a), bT: widen(bT) };
}
