import { AbortError } from '../errors.js';

/** What work ends with whose signal was aborted. */
export const abortErrorOf = (signal: AbortSignal | undefined): AbortError => new AbortError(undefined, {}, { cause: signal?.reason });

/** Throws AbortError where the signal was aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortErrorOf(signal);
}

// Node warns at the eleventh listener of a signal, and one signal may serve any number of requests: they share one.
const waiting = new WeakMap<AbortSignal, { calls: Set<() => void>; listener: () => void }>();

/** Calls `call` once the signal is aborted. Gives what lets go of the signal. */
export function whenAborted(signal: AbortSignal | undefined, call: () => void): () => void {
  if (signal === undefined) return () => {};
  let shared = waiting.get(signal);
  if (shared === undefined) {
    const calls = new Set<() => void>();
    const listener = (): void => {
      waiting.delete(signal);
      for (const each of calls) each();
    };
    shared = { calls, listener };
    waiting.set(signal, shared);
    signal.addEventListener('abort', listener, { once: true });
  }
  const { calls, listener } = shared;
  // An object of its own, so that one function may wait twice.
  const own = (): void => call();
  calls.add(own);
  return () => {
    calls.delete(own);
    if (calls.size > 0 || waiting.get(signal)?.calls !== calls) return;
    waiting.delete(signal);
    signal.removeEventListener('abort', listener);
  };
}

/** Waits for `promise`, which does not fail. Throws AbortError as soon as the signal is aborted. */
export async function unlessAborted(promise: Promise<unknown> | undefined, signal: AbortSignal | undefined): Promise<void> {
  await new Promise((resolve, reject) => {
    throwIfAborted(signal);
    const letGo = whenAborted(signal, () => reject(abortErrorOf(signal)));
    Promise.resolve(promise).then(resolve).finally(letGo);
  });
}
