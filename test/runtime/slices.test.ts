import { describe, expect, it } from 'vitest';
import { atOnce, inTurns, type Slices } from '../../lib/runtime/slices.ts';

function* counting(to: number, milliseconds = 0): Slices<number> {
  let sum = 0;
  for (let i = 1; i <= to; i++) {
    for (const end = performance.now() + milliseconds; performance.now() < end; );
    sum += i;
    yield;
  }
  return sum;
}

function* failing(): Slices<number> {
  yield* counting(3);
  throw new RangeError('stop');
}

describe('work in steps', () => {
  it('gives the same at once and in turns', async () => {
    expect(atOnce(counting(100))).toBe(5050);
    expect(await inTurns(counting(100))).toBe(5050);
    expect(() => atOnce(failing())).toThrow(RangeError);
    await expect(inTurns(failing())).rejects.toThrow(RangeError);
  });

  it('lets the event loop run when it takes long, and no oftener', async () => {
    let [turns, ended] = [0, false];
    const count = (): void => {
      turns++;
      if (!ended) setImmediate(count);
    };
    setImmediate(count);
    await inTurns(counting(10, 2));
    expect(turns).toBeGreaterThanOrEqual(9);
    const before = turns;
    await inTurns(counting(1000));
    expect(turns - before).toBeLessThan(100);
    ended = true;
  });
});
