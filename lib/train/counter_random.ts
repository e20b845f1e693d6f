// Philox4x32-10 (Salmon et al., 2011), as native/kernels/sampling/philox.h has it: a number depends on its key and counter alone.

/** Four words that name a random number. */
export type Counter = readonly [number, number, number, number];

// The high word of a product of two 32-bit words: Math.imul gives the low one.
function highWord(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const other = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(other / 65536)) >>> 0;
}

/** The four random words of a counter under a key. */
export function philox(counter: Counter, keyLow: number, keyHigh: number): [number, number, number, number] {
  let [a, b, c, d] = counter.map((word) => word >>> 0) as [number, number, number, number];
  let low = keyLow >>> 0;
  let high = keyHigh >>> 0;
  for (let round = 0; round < 10; round++) {
    const nextA = (highWord(0xcd9e8d57, c) ^ b ^ low) >>> 0;
    const nextB = Math.imul(0xcd9e8d57, c) >>> 0;
    const nextC = (highWord(0xd2511f53, a) ^ d ^ high) >>> 0;
    const nextD = Math.imul(0xd2511f53, a) >>> 0;
    [a, b, c, d] = [nextA, nextB, nextC, nextD];
    low = (low + 0x9e3779b9) >>> 0;
    high = (high + 0xbb67ae85) >>> 0;
  }
  return [a, b, c, d];
}

/**
 * A number in [0, 1) of 53 bits.
 * @param seed integer from 0 to 2^53 - 1 @param counter which number; different uses of one seed differ in a word of it
 */
export function uniform(seed: number, counter: Counter): number {
  const [first, second] = philox(counter, seed % 2 ** 32, Math.floor(seed / 2 ** 32));
  return (first * 2 ** 21 + (second >>> 11)) / 2 ** 53;
}

/** What a seed is used for: each use has random numbers of its own. */
export const purposes = { epochOrder: 1, packing: 2, heldOut: 3 } as const;

/**
 * An order of `count` things that depends on the arguments alone (Fisher and Yates' shuffle).
 * @param round which of many orders of this purpose, such as an epoch
 */
export function permutation(count: number, seed: number, purpose: number, round = 0): Int32Array {
  const order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  const low = round % 2 ** 32;
  const high = Math.floor(round / 2 ** 32);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(uniform(seed, [i, low, high, purpose]) * (i + 1));
    const kept = order[i] as number;
    order[i] = order[j] as number;
    order[j] = kept;
  }
  return order;
}
