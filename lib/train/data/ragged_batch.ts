// Micro-batches of several adapters side by side in one batch.
import { OptionError } from '../../errors.js';
import type { MicroBatch } from './batch_order.js';
import { noLabel } from './example_set.js';

/** What one adapter brings to a shared step. */
export interface AdapterStep {
  /** Slot of the adapter; -1 for the bare base. */
  readonly slot: number;
  readonly microBatches: readonly MicroBatch[];
}

/** Where an adapter's micro-batch lies in a shared batch. */
export interface RaggedPart {
  readonly slot: number;
  /** Which of the adapter's micro-batches. */
  readonly microBatch: number;
  readonly fromToken: number;
  readonly toToken: number;
  readonly fromRow: number;
  readonly toRow: number;
}

/** One batch of several adapters: T tokens, R of which have a label. */
export interface RaggedBatch {
  /** i32[T]: token ids. */
  readonly tokens: Int32Array;
  /** i32[T]: place of each token in its example, from 0. */
  readonly positions: Int32Array;
  /** i32[T]: index in this batch of the first token of each token's example. */
  readonly first: Int32Array;
  /** i32[T]: slot of each token's adapter. */
  readonly index: Int32Array;
  /** i32[R]: tokens that have a label, ascending. */
  readonly rows: Int32Array;
  /** i32[R]: their labels. */
  readonly targets: Int32Array;
  /** i32[R]: slot of each label's adapter. */
  readonly rowAdapter: Int32Array;
  /** Whose tokens and rows these are, in their order. */
  readonly parts: readonly RaggedPart[];
}

/**
 * Shares out the micro-batches of several adapters to as few batches as fit `capacity` tokens. A micro-batch stays whole, an adapter has
 * one at most in each batch and its own come in their order: what an adapter computes, and in which order it is summed, does not depend on
 * which other adapters are there. Those with most left to do go first. Throws OptionError where a slot comes twice or a micro-batch is too large.
 */
export function shareBatches(steps: readonly AdapterStep[], capacity: number): RaggedBatch[] {
  checkSteps(steps, capacity);
  const queues = steps.map((step) => ({ step, next: 0 }));
  const batches: RaggedBatch[] = [];
  const left = (queue: { step: AdapterStep; next: number }): number => queue.step.microBatches.length - queue.next;
  for (;;) {
    const waiting = queues.filter((queue) => left(queue) > 0).sort((a, b) => left(b) - left(a) || a.step.slot - b.step.slot);
    if (waiting.length === 0) return batches;
    let room = capacity;
    const chosen: { slot: number; microBatch: number; batch: MicroBatch }[] = [];
    for (const queue of waiting) {
      const batch = queue.step.microBatches[queue.next] as MicroBatch;
      if (batch.tokens.length > room) continue;
      room -= batch.tokens.length;
      chosen.push({ slot: queue.step.slot, microBatch: queue.next++, batch });
    }
    batches.push(layOutRagged(chosen.sort((a, b) => a.slot - b.slot)));
  }
}

function checkSteps(steps: readonly AdapterStep[], capacity: number): void {
  const slots = new Set<number>();
  for (const { slot, microBatches } of steps) {
    if (!Number.isInteger(slot) || slot < -1)
      throw new OptionError(`slot is ${slot}: expected an integer from -1`, { option: 'slot', slot });
    if (slots.has(slot)) throw new OptionError(`slot ${slot} comes twice: expected every adapter once`, { option: 'slot', slot });
    slots.add(slot);
    for (const { tokens } of microBatches)
      if (tokens.length > capacity)
        throw new OptionError(`a micro-batch of slot ${slot} has ${tokens.length} tokens: expected at most ${capacity}`, {
          option: 'tokensPerBatch',
          slot,
          tokens: tokens.length,
          capacity,
        });
  }
}

/** Lays micro-batches of different adapters one after the other, in the order given. */
export function layOutRagged(chosen: readonly { slot: number; microBatch: number; batch: MicroBatch }[]): RaggedBatch {
  const total = chosen.reduce((sum, { batch }) => sum + batch.tokens.length, 0);
  const labelled = chosen.reduce((sum, { batch }) => sum + batch.targets, 0);
  const result = {
    tokens: new Int32Array(total),
    positions: new Int32Array(total),
    first: new Int32Array(total),
    index: new Int32Array(total),
    rows: new Int32Array(labelled),
    targets: new Int32Array(labelled),
    rowAdapter: new Int32Array(labelled),
  };
  const parts: RaggedPart[] = [];
  let token = 0;
  let row = 0;
  for (const { slot, microBatch, batch } of chosen) {
    const from = { token, row };
    result.tokens.set(batch.tokens, token);
    result.positions.set(batch.positions, token);
    result.index.fill(slot, token, token + batch.tokens.length);
    for (let i = 0; i < batch.tokens.length; i++, token++) {
      result.first[token] = (batch.first[i] as number) + from.token;
      const label = batch.labels[i] as number;
      if (label === noLabel) continue;
      result.rows[row] = token;
      result.targets[row++] = label;
    }
    result.rowAdapter.fill(slot, from.row, row);
    parts.push({ slot, microBatch, fromToken: from.token, toToken: token, fromRow: from.row, toRow: row });
  }
  return { ...result, parts };
}
