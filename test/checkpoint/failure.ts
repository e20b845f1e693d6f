import { expect } from 'vitest';

/** What a promise was rejected with; fails the test when it was not. */
export async function failure(promise: Promise<unknown>): Promise<Error & { code: string; details: Record<string, unknown> }> {
  return promise.then(
    () => expect.unreachable('it was accepted'),
    (error) => error,
  );
}
