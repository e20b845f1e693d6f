import { setMaxListeners } from 'node:events';
import { AbortError } from '../errors.js';

// A step or a read under way ends first; whatever takes longer is left behind.
const graceMilliseconds = 2000;

/**
 * A signal that Ctrl-C aborts. A second Ctrl-C ends the process at once.
 * @param patient wait for what is under way, however long it takes: it is worth keeping. SIGTERM aborts it then too, as those send it who
 * stop services and containers
 */
export function interruptSignal({ patient = false } = {}): AbortSignal {
  const controller = new AbortController();
  // Every request of a file listens.
  setMaxListeners(0, controller.signal);
  const interrupt = (): void => {
    if (!patient) setTimeout(() => process.exit(130), graceMilliseconds).unref();
    controller.abort(new AbortError('interrupted'));
  };
  process.once('SIGINT', interrupt);
  if (patient) process.once('SIGTERM', interrupt);
  return controller.signal;
}

/** What an interrupted command throws, however its parts reported the end. */
export function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new AbortError('interrupted', {}, { cause: signal.reason });
}
