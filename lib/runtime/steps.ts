import { setImmediate as nextTurn } from 'node:timers/promises';

/** Work that can pause wherever it yields. */
export type Steps<Result> = Generator<void, Result, void>;

// Of one turn of the event loop.
const milliseconds = 1.5;

/** Does all of it now. */
export function atOnce<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Does it in slices of about a millisecond, between which the event loop runs. */
export async function inTurns<Result>(steps: Steps<Result>): Promise<Result> {
  let begin = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - begin < milliseconds) continue;
    await nextTurn();
    begin = performance.now();
  }
}
