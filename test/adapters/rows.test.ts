import { describe, expect, it } from 'vitest';
import { numberToBf16, numberToF16 } from '../../lib/adapters/narrow.ts';
import { bf16ToNumber, f16ToNumber } from '../../lib/adapters/rows.ts';
import { randomNormal, toBits } from '../kernels/numbers.ts';

const special = [
  0,
  -0,
  1,
  -1,
  65504,
  65519.9,
  65520,
  -70000,
  2 ** -14,
  2 ** -15,
  2 ** -24,
  2 ** -25,
  1.5 * 2 ** -24,
  3e38,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
];
const numbers = Float64Array.from([...special, ...randomNormal(400, 1), ...randomNormal(400, 2).map((x) => x * 2 ** -16)], Math.fround);

describe.each([
  ['f16', numberToF16, f16ToNumber],
  ['bf16', numberToBf16, bf16ToNumber],
] as const)('%s', (dtype, toBit, toNumber) => {
  it('rounds to the nearest, of two to the even one', () => {
    expect(Uint16Array.from(numbers, toBit)).toEqual(toBits(dtype, numbers));
  });

  it('gives back every number that it can hold', () => {
    for (let bits = 0; bits < 65_536; bits += 7) {
      const value = toNumber(bits);
      if (!Number.isNaN(value)) expect(toBit(value)).toBe(bits);
    }
    expect(toNumber(toBit(Number.NaN))).toBeNaN();
  });
});
