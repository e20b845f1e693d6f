import type { FloatDType } from './method.js';

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

// The bits of x as f32, cut off, with the last bit set where anything was cut: rounding these once more gives what rounding x at once gives.
function stickyBits(x: number): number {
  float[0] = x;
  const rounded = float[0] as number;
  const bits = word[0] as number;
  if (rounded === x || Number.isNaN(x)) return bits;
  return ((Math.abs(rounded) > Math.abs(x) ? bits - 1 : bits) | 1) >>> 0;
}

/** The bf16 number next to x, ties to even, as its bits. */
export function numberToBf16(x: number): number {
  if (Number.isNaN(x)) return 0x7fc0;
  const bits = stickyBits(x);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** f32 numbers as the bits of the bf16 numbers next to them, ties to even. */
export function roundToBf16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i] as number;
    // Rounding must not make an infinity of a NaN.
    rounded[i] = (x & 0x7fffffff) > 0x7f800000 ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return rounded;
}

/** The f16 number next to x, ties to even, as its bits. */
export function numberToF16(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (size >= 65520) return sign | 0x7c00;
  // The distance of neighbours: 2^-24 for numbers below 2^-14, and 10 bits below the leading one above. Scaling by it is exact.
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const unit = 2 ** (correct(size, exponent) - 10);
  const count = roundToEven(size / unit);
  return sign | (((Math.log2(unit) + 24) << 10) + count);
}

// Math.log2 may be off by one next to a power of two.
function correct(size: number, exponent: number): number {
  if (exponent > -14 && 2 ** exponent > size) return exponent - 1;
  return 2 ** (exponent + 1) <= size ? exponent + 1 : exponent;
}

function roundToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** Numbers in a float dtype, 16-bit floats as their bits. */
export function narrow(dtype: FloatDType, values: Float64Array): Float32Array | Uint16Array {
  if (dtype === 'f32') return Float32Array.from(values);
  const convert = dtype === 'bf16' ? numberToBf16 : numberToF16;
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = convert(values[i] as number);
  return bits;
}
