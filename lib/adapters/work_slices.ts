import { setImmediate } from 'node:timers/promises';

// About two milliseconds of arithmetic in JavaScript.
const operationsPerSlice = 2_000_000;

/** Long arithmetic in slices, so that the event loop runs in between. */
export class WorkSlices {
  private spent = 0;

  /** Call after about `operations` multiplications. */
  async pause(operations: number): Promise<void> {
    this.spent += operations;
    if (this.spent < operationsPerSlice) return;
    this.spent = 0;
    await setImmediate();
  }
}

/** Rows of `width` products that fit into one slice. */
export function rowsPerSlice(operationsPerRow: number): number {
  return Math.max(1, Math.floor(operationsPerSlice / Math.max(1, operationsPerRow)));
}
