// Rounding to 16-bit floats against the nearest of all numbers that they have.
import { describe, expect, it } from 'vitest';
import { narrow } from '../../lib/adapters/narrow.js';
import { bf16ToNumber, f16ToNumber } from '../../lib/adapters/rows.js';
import { uniform } from '../kernels/numbers.js';

const widen = { f16: f16ToNumber, bf16: bf16ToNumber } as const;

describe.each(['f16', 'bf16'] as const)('%s', (dtype) => {
  const top = dtype === 'f16' ? 0x7c00 : 0x7f80;
  const numbers = Array.from({ length: top }, (_, bits) => widen[dtype](bits));

  it('gives every number that it has back, of both signs', () => {
    const all = Float64Array.from([...numbers, ...numbers.map((x) => -x)]);
    const bits = narrow(dtype, all);
    expect(Array.from(bits.subarray(0, top))).toEqual(numbers.map((_, i) => i));
    expect(Array.from(bits.subarray(top))).toEqual(numbers.map((_, i) => i | 0x8000));
  });

  it('rounds what lies between to the nearer neighbour, and the middle to the even one', () => {
    const random = uniform(3);
    for (let i = 0; i < 20_000; i++) {
      const below = Math.floor(random() * (top - 1));
      const [low, high] = [numbers[below] as number, numbers[below + 1] as number];
      const middle = low + (high - low) / 2;
      // Closer to the middle than f32 can tell.
      const nudge = (high - low) * 2 ** -30;
      const wanted = [below + (below & 1), below, below + 1];
      expect(Array.from(narrow(dtype, Float64Array.of(middle, middle - nudge, middle + nudge)))).toEqual(wanted);
    }
  });

  it('keeps what is no number, and what is too large, apart', () => {
    const last = numbers.at(-1) as number;
    const ulp = last - (numbers.at(-2) as number);
    const bits = narrow(
      dtype,
      Float64Array.of(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, last + ulp / 2, last + ulp / 2.01, 1e300),
    );
    expect(Array.from(bits)).toEqual([top, top | 0x8000, top, top - 1, top]);
    expect(Number.isNaN(widen[dtype](narrow(dtype, Float64Array.of(Number.NaN))[0] as number))).toBe(true);
  });
});
