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
export function philox([a, b, c, d]: Counter, keyLow: number, keyHigh: number): [number, number, number, number] {
  draw(a, b, c, d, keyLow, keyHigh);
  return [drawn[0] as number, drawn[1] as number, drawn[2] as number, drawn[3] as number];
}

// Numbers alone, as a shuffle of a million examples makes a million of these.
const drawn = new Uint32Array(4);

function draw(a: number, b: number, c: number, d: number, keyLow: number, keyHigh: number): void {
  let low = keyLow | 0;
  let high = keyHigh | 0;
  for (let round = 0; round < 10; round++) {
    const first = highWord(0xd2511f53, a >>> 0);
    const second = highWord(0xcd9e8d57, c >>> 0);
    const nextB = Math.imul(0xcd9e8d57, c);
    const nextD = Math.imul(0xd2511f53, a);
    a = second ^ b ^ low;
    c = first ^ d ^ high;
    b = nextB;
    d = nextD;
    low = (low + 0x9e3779b9) | 0;
    high = (high + 0xbb67ae85) | 0;
  }
  drawn[0] = a;
  drawn[1] = b;
  drawn[2] = c;
  drawn[3] = d;
}

/**
 * A number in [0, 1) of 53 bits.
 * @param seed integer from 0 to 2^53 - 1 @param counter which number; different uses of one seed differ in a word of it
 */
export function uniform(seed: number, [a, b, c, d]: Counter): number {
  draw(a, b, c, d, seed % 2 ** 32, Math.floor(seed / 2 ** 32));
  return share();
}

function share(): number {
  return ((drawn[0] as number) * 2 ** 21 + ((drawn[1] as number) >>> 11)) / 2 ** 53;
}

/** What a seed is used for: each use has random numbers of its own. */
export const purposes = { epochOrder: 1, packing: 2, heldOut: 3, initialValues: 4, stepShares: 5 } as const;

/**
 * An order of `count` things that depends on the arguments alone (Fisher and Yates' shuffle).
 * @param round which of many orders of this purpose, such as an epoch
 */
export function permutation(count: number, seed: number, purpose: number, round = 0): Int32Array {
  const order = new Int32Array(count);
  for (let i = 0; i < count; i++) order[i] = i;
  const low = round % 2 ** 32;
  const high = Math.floor(round / 2 ** 32);
  const keyLow = seed % 2 ** 32;
  const keyHigh = Math.floor(seed / 2 ** 32);
  for (let i = count - 1; i > 0; i--) {
    draw(i, low, high, purpose, keyLow, keyHigh);
    const j = Math.floor(share() * (i + 1));
    const kept = order[i] as number;
    order[i] = order[j] as number;
    order[j] = kept;
  }
  return order;
}
