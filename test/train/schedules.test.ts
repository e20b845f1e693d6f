import { describe, expect, it } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { parseOptions } from '../../lib/runtime/parse_options.js';
import { rateShare, type ScheduleOptions, scheduleSchema, warmupSteps } from '../../lib/train/schedules.js';

const schedule = (options: ScheduleOptions) => parseOptions(scheduleSchema, options, 'schedule');
const shares = (options: ScheduleOptions, total: number): number[] =>
  Array.from({ length: total }, (_, step) => rateShare(schedule(options), step, total));

describe('rateShare', () => {
  it('rises evenly to the peak, which step w has', () => {
    for (const kind of ['constant', 'linear', 'cosine'] as const) {
      const rates = shares({ kind, warmup: 4 }, 20);
      for (let step = 0; step < 4; step++) expect(rates[step]).toBeCloseTo((step + 1) / 5, 15);
      expect(rates[4]).toBe(1);
    }
  });

  it('is constant where it is constant', () => {
    expect(shares({ kind: 'constant' }, 7)).toEqual(Array(7).fill(1));
    expect(shares({ kind: 'constant', warmup: 2 }, 5)).toEqual([1 / 3, 2 / 3, 1, 1, 1]);
  });

  it('falls evenly to the floor', () => {
    expect(shares({ kind: 'linear' }, 4)).toEqual([1, 0.75, 0.5, 0.25]);
    const rates = shares({ kind: 'linear', floor: 0.2, warmup: 3 }, 103);
    for (let step = 3; step < 103; step++) expect(rates[step]).toBeCloseTo(1 - (0.8 * (step - 3)) / 100, 14);
    expect(rateShare(schedule({ kind: 'linear', floor: 0.2, warmup: 3 }), 103, 103)).toBeCloseTo(0.2, 15);
  });

  it('falls along a cosine to the floor', () => {
    const options = { kind: 'cosine', floor: 0.1, warmup: 10 } as const;
    const rates = shares(options, 110);
    expect(rates[10]).toBe(1);
    expect(rates[60]).toBeCloseTo(0.55, 14);
    // cos(x) by its half angle: (1 + cos x) / 2 = cos²(x / 2).
    for (let step = 10; step < 110; step++) expect(rates[step]).toBeCloseTo(0.1 + 0.9 * Math.cos((Math.PI * (step - 10)) / 200) ** 2, 13);
    for (let step = 11; step < 110; step++) expect(rates[step] as number).toBeLessThan(rates[step - 1] as number);
    expect(rateShare(schedule(options), 110, 110)).toBeCloseTo(0.1, 15);
    expect(rateShare(schedule(options), 1_000_000, 110)).toBeCloseTo(0.1, 15);
  });

  it('takes a warm-up as a share of all steps, rounded up', () => {
    expect(warmupSteps({ warmup: 0.1 }, 100)).toBe(10);
    expect(warmupSteps({ warmup: 0.03 }, 50)).toBe(2);
    expect(warmupSteps({ warmup: 1 }, 50)).toBe(1);
    expect(warmupSteps({ warmup: 0 }, 50)).toBe(0);
    expect(shares({ kind: 'linear', warmup: 0.5 }, 4)).toEqual([1 / 3, 2 / 3, 1, 0.5]);
  });

  it('stays within 0 and 1 where the warm-up is as long as the training, or longer', () => {
    expect(shares({ warmup: 4 }, 4)).toEqual([0.2, 0.4, 0.6, 0.8]);
    expect(shares({ warmup: 9 }, 2)).toEqual([0.1, 0.2]);
    expect(rateShare(schedule({ kind: 'linear', floor: 0.5, warmup: 4 }), 4, 4)).toBe(0.5);
    expect(shares({}, 1)).toEqual([1]);
  });

  it('refuses what is no step and no schedule', () => {
    expect(() => rateShare(schedule({}), -1, 10)).toThrow(/step is -1/);
    expect(() => rateShare(schedule({}), 0.5, 10)).toThrow(/step is 0.5/);
    expect(() => rateShare(schedule({}), 0, 0)).toThrow(/total is 0/);
    expect(() => schedule({ warmup: 1.5 })).toThrow(/schedule.warmup is 1.5: expected a number of steps, or a share/);
    expect(() => schedule({ warmup: -1 })).toThrow(OptionError);
    expect(() => schedule({ floor: 2 })).toThrow(OptionError);
    expect(() => schedule({ warmUp: 3 } as never)).toThrow(/did you mean 'warmup'/);
  });
});
