// Values of test cases: deterministic random numbers, and exact conversion to and from every dtype's bits.
import { type DType, type TensorData, viewAs } from '../../lib/runtime/dtype.js';

/** Uniform in [0, 1), the same on every machine: mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Standard normal numbers by Box and Muller. */
export function randomNormal(count: number, seed: number): Float64Array {
  const next = uniform(seed);
  return Float64Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
}

/** A copy with one element changed. */
export function replaced(values: Float64Array, index: number, value: number): Float64Array {
  const copy = values.slice();
  copy[index] = value;
  return copy;
}

const scratch = new DataView(new ArrayBuffer(8));

function bf16Bits(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  if (Number.isNaN(value)) return (bits >>> 16) | 0x40;
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function f16Bits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (magnitude >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 2 ** -24)));
  const quantum = 2 ** (exponent - 10);
  let steps = magnitude / quantum;
  const floor = Math.floor(steps);
  const rest = steps - floor;
  steps = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  if (steps >= 2048) return f16Bits(sign ? -steps * quantum : steps * quantum);
  return steps < 1024 ? sign | steps : sign | ((exponent + 15) << 10) | (steps - 1024);
}

function f16Value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
}

/** Rounds to dtype; the typed array that travels to native code. */
export function toBits(dtype: DType, values: ArrayLike<number>): TensorData {
  const list = Array.from(values);
  switch (dtype) {
    case 'f32':
      return Float32Array.from(list);
    case 'bf16':
      return Uint16Array.from(list, (v) => bf16Bits(Math.fround(v)));
    case 'f16':
      return Uint16Array.from(list, f16Bits);
    case 'i32':
      return Int32Array.from(list);
    case 'u8':
      return Uint8Array.from(list);
  }
}

/** Exact values of a dtype's bits. */
export function fromBits(dtype: DType, bits: TensorData): Float64Array {
  if (dtype === 'bf16') {
    const wide = Uint32Array.from(bits, (b) => (b << 16) >>> 0);
    return Float64Array.from(new Float32Array(wide.buffer));
  }
  return dtype === 'f16' ? Float64Array.from(bits, f16Value) : Float64Array.from(bits);
}

/** The bytes of a tensor, for operands of dtype u8 that hold other elements. */
export function toBytes(dtype: DType, values: ArrayLike<number>): Uint8Array {
  const bits = toBits(dtype, values);
  return viewAs('u8', bits.buffer as ArrayBuffer, bits.byteOffset, bits.byteLength);
}

let exact = false;

/** The f32 rounding of an intermediate result that a kernel stores; nothing is rounded while `exactly` runs. */
export const roundF32 = (value: number): number => (exact ? value : Math.fround(value));

/** Runs float64 references as smooth functions, for finite differences. */
export function exactly<T>(run: () => T): T {
  const outer = exact;
  exact = true;
  try {
    return run();
  } finally {
    exact = outer;
  }
}
