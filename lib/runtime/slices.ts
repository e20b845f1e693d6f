import { setImmediate as nextTurn } from 'node:timers/promises';

/** Work that can pause wherever it yields. */
export type Slices<Result> = Generator<void, Result, void>;

// Of one turn of the event loop.
const milliseconds = 1.5;

/** Does all of it now. */
export function atOnce<Result>(work: Slices<Result>): Result {
  for (;;) {
    const slice = work.next();
    if (slice.done) return slice.value;
  }
}

/** Does it in slices of about a millisecond, before and between which the event loop runs. */
export async function inTurns<Result>(work: Slices<Result>): Promise<Result> {
  // Whoever calls has used some of this turn.
  await nextTurn();
  let begin = performance.now();
  for (;;) {
    const slice = work.next();
    if (slice.done) return slice.value;
    if (performance.now() - begin < milliseconds) continue;
    await nextTurn();
    begin = performance.now();
  }
}
