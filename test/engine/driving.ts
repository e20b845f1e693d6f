// Small tools to drive a model from tests.
import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { GeneratedPiece, Model } from '../../lib/index.js';
import type { WeightStore } from '../../lib/models/weight_store.js';
import { uniform } from '../kernels/numbers.js';

/** Token ids that are never special ones. */
export function randomTokens(count: number, vocabulary: number, seed: number): number[] {
  const next = uniform(seed);
  return Array.from({ length: count }, () => 3 + Math.floor(next() * (vocabulary - 3)));
}

/** Waits until `condition` holds; fails after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`did not happen: ${what}`);
    await nextTurn();
  }
}

/** Waits until the model has nothing to do. */
export const untilIdle = (model: Model): Promise<void> =>
  until(() => model.stats().runningRequests === 0 && model.stats().waitingRequests === 0, 'the model becomes idle');

/** A stream that is read one piece at a time, with all its tokens so far. */
export class Reader {
  readonly tokens: number[] = [];
  text = '';
  finishReason: string | undefined;

  constructor(readonly pieces: AsyncGenerator<GeneratedPiece, void, undefined>) {}

  /** Reads one piece; false at the end. */
  async next(): Promise<boolean> {
    const { value, done } = await this.pieces.next();
    if (done || value === undefined) return false;
    this.tokens.push(...value.tokens.map((t) => t.token));
    this.text += value.text;
    this.finishReason = value.finishReason ?? this.finishReason;
    return true;
  }

  async rest(): Promise<this> {
    while (await this.next());
    return this;
  }
}

/** What a promise was rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string; details?: Record<string, unknown> }> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected a rejection');
}

/** Hashes of the weights in native memory by name, padding included. */
export async function weightBytes(of: Model): Promise<Map<string, string>> {
  const { weights } = (of as unknown as { parts: { weights: WeightStore } }).parts;
  const bytes = new Map<string, string>();
  for (const [name, { tensor }] of weights.requests)
    bytes.set(
      name,
      createHash('sha256')
        .update(new Uint8Array(await tensor.buffer.read(0, tensor.buffer.byteLength)))
        .digest('hex'),
    );
  return bytes;
}
