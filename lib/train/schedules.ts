import { z } from 'zod';
import { OptionError } from '../errors.js';

/** How the learning rate changes over a training. */
export const scheduleSchema = z.strictObject({
  /** What comes after the warm-up: the peak held, or a way down from it. */
  kind: z.enum(['constant', 'linear', 'cosine']).default('cosine'),
  /** Steps until the peak is reached: a number of steps, or below 1 a share of all steps. */
  warmup: z
    .number()
    .min(0)
    .refine((value) => value < 1 || Number.isInteger(value), 'expected a number of steps, or a share of all steps below 1')
    .default(0),
  /** Where linear and cosine end, as a share of the peak. */
  floor: z.number().min(0).max(1).default(0),
});

/** A schedule as users write it. */
export type ScheduleOptions = z.input<typeof scheduleSchema>;
/** A schedule with every default filled in. */
export type Schedule = z.output<typeof scheduleSchema>;

/** Steps of a schedule's warm-up in a training of `total` steps; a share is rounded up. */
export function warmupSteps({ warmup }: Pick<Schedule, 'warmup'>, total: number): number {
  return warmup < 1 ? Math.ceil(warmup * total) : warmup;
}

/**
 * The share of the peak learning rate at a step: from 0 to 1.
 *
 * With w steps of warm-up, step s < w has (s + 1) / (w + 1), and step w the peak. From there p = (s - w) / (total - w) runs from 0 towards 1:
 * constant stays at 1; linear is floor + (1 - floor) (1 - p); cosine is floor + (1 - floor) (1 + cos(pi p)) / 2 (Loshchilov and Hutter, 2017).
 * Steps from `total` on have the floor.
 * @param step from 0 @param total steps of the whole training, at least 1
 */
export function rateShare(schedule: Schedule, step: number, total: number): number {
  if (!Number.isInteger(step) || step < 0) throw new OptionError(`step is ${step}: expected an integer from 0`, { option: 'step', step });
  if (!Number.isInteger(total) || total < 1)
    throw new OptionError(`total is ${total}: expected a number of steps, at least 1`, { option: 'total', total });
  const { kind, floor } = schedule;
  const warmup = warmupSteps(schedule, total);
  if (step < warmup) return (step + 1) / (warmup + 1);
  if (kind === 'constant') return 1;
  const done = total > warmup ? Math.min(1, (step - warmup) / (total - warmup)) : 1;
  const left = kind === 'linear' ? 1 - done : (1 + Math.cos(Math.PI * done)) / 2;
  return floor + (1 - floor) * left;
}
