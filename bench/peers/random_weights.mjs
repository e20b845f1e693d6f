// Random weights in bf16, the same for the same seed and tensor name whatever else is written.

/** Inverse of the standard normal distribution (Acklam's rational form; 1e-9 is far below one bf16 step). */
function normalQuantile(p) {
  const tail = Math.min(p, 1 - p);
  if (tail < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(tail));
    const x =
      (((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q - 2.549732539343734) * q + 4.374664141464968) * q +
        2.938163982698783) /
      ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q + 3.754408661907416) * q + 1);
    return p < 0.5 ? x : -x;
  }
  const q = p - 0.5;
  const r = q * q;
  return (
    ((((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r + 138.357751867269) * r - 30.66479806614716) * r +
      2.506628277459239) *
      q) /
    (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r + 66.80131188771972) * r - 13.28068155288572) * r + 1)
  );
}

const steps = 1 << 16;
let normals;

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** Bits of the nearest bf16, ties to even. */
export function bf16Bits(x) {
  single[0] = x;
  const bits = singleBits[0];
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** The f32 values of bf16 bits. */
export function bf16ToF32(bits) {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i += 1) words[i] = bits[i] << 16;
  return new Float32Array(words.buffer);
}

function seedOf(seed, name) {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b) >>> 0;
  hash = (hash ^ (hash >>> 13)) >>> 0;
  return hash === 0 ? 1 : hash;
}

/** `count` normal numbers with the given mean and deviation, as bf16 bits. */
export function randomBf16(seed, name, count, deviation, mean = 0) {
  normals ??= Float64Array.from({ length: steps }, (_, i) => normalQuantile((i + 0.5) / steps));
  const table = new Uint16Array(steps);
  for (let i = 0; i < steps; i += 1) table[i] = bf16Bits(mean + deviation * normals[i]);
  const bits = new Uint16Array(count);
  let state = seedOf(seed, name);
  for (let i = 0; i < count; i += 2) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bits[i] = table[state & 0xffff];
    if (i + 1 < count) bits[i + 1] = table[state >>> 16];
  }
  return bits;
}
