// The thread's side of ThreadHost: answers one job at a time, and wakes a caller that waits without an event loop.
import { type MessagePort, type Transferable, workerData } from 'node:worker_threads';

/** What a host hands to its thread. */
export interface ThreadData {
  port: MessagePort;
  /** One counter, raised with every answer. */
  answered: Int32Array;
  setup: unknown;
}

/** An answer: a value, or the parts of an error that survive the crossing. */
export interface Answer {
  id: number;
  value?: unknown;
  error?: { message: string; details: Record<string, unknown>; expected: boolean };
}

/** A value and the memory that moves with it. */
export interface Moved {
  value: unknown;
  transfer: Transferable[];
}

/** Runs `setup` once, then answers every job with what `handle` returns. */
export function serve<Setup, State, Job>(
  setup: (data: Setup) => { state: State; ready: Moved },
  handle: (state: State, job: Job) => Moved,
): void {
  const { port, answered, setup: data } = workerData as ThreadData;
  const answer = (id: number, work: () => Moved): void => {
    try {
      const { value, transfer } = work();
      port.postMessage({ id, value } satisfies Answer, transfer);
    } catch (error) {
      port.postMessage({ id, error: describe(error) } satisfies Answer);
    }
    Atomics.add(answered, 0, 1);
    Atomics.notify(answered, 0);
  };
  let state: State | undefined;
  answer(0, () => {
    const made = setup(data as Setup);
    state = made.state;
    return made.ready;
  });
  if (state === undefined) port.close();
  else port.on('message', ({ id, job }: { id: number; job: Job }) => answer(id, () => handle(state as State, job)));
}

function describe(error: unknown): NonNullable<Answer['error']> {
  const details = (error as { details?: Record<string, unknown> }).details;
  const message = error instanceof Error ? error.message : String(error);
  return { message: message.slice(0, 2000), details: details ?? {}, expected: details !== undefined };
}
