// Batches with the positions that adapters put in front of every document.
import type { VirtualPositions } from '../../adapters/trainable_method.js';
import type { TrainingMicroBatch } from '../step_runner.js';
import type { AdapterInTraining } from './site_adapters.js';

/** A batch as programs take it. */
export interface PlacedBatch extends TrainingMicroBatch {
  /** i32[T]: which of its adapter's virtual tokens a token is; -1: a token of the text. */
  readonly virtualTokens: Int32Array;
}

/** What each slot's adapter puts in front of documents. */
export type PositionsBySlot = ReadonlyMap<number, VirtualPositions>;

/** Keys of all adapters that bring some, one adapter after the other, in front of the keys of the text. */
export interface PrefixKeys {
  readonly first: ReadonlyMap<number, number>;
  readonly count: ReadonlyMap<number, number>;
  readonly total: number;
}

/** By slot, of adapters that have any. */
export function positionsOf(adapters: readonly AdapterInTraining[]): PositionsBySlot {
  const found = new Map<number, VirtualPositions>();
  for (const { slot, method, settings } of adapters) {
    const positions = method.virtualPositions?.(settings);
    if (positions !== undefined) found.set(slot, positions);
  }
  return found;
}

/** Where each adapter's keys stand. */
export function prefixKeys(positions: PositionsBySlot): PrefixKeys {
  const first = new Map<number, number>();
  const count = new Map<number, number>();
  let total = 0;
  for (const [slot, virtual] of positions) {
    if (virtual.as !== 'keys') continue;
    first.set(slot, total);
    count.set(slot, virtual.count);
    total += virtual.count;
  }
  return { first, count, total };
}

/**
 * Tokens that programs are compiled for: those of the batch, and room for virtual ones. Batches of many short documents that need more
 * run in parts.
 */
export function tokensWithRoom(maxTokens: number, positions: PositionsBySlot): number {
  const documentTokens = 128;
  const most = Math.max(0, ...[...positions.values()].map(({ count, as }) => (as === 'tokens' ? count : 0)));
  return maxTokens + most * Math.max(1, Math.ceil(maxTokens / documentTokens));
}

interface Document {
  readonly begin: number;
  readonly end: number;
  /** Virtual tokens in front. */
  readonly added: number;
  /** By which the text's positions move. */
  readonly shift: number;
}

/** The batch with virtual tokens, in as many parts as `limit` tokens each ask for: documents stay whole, rows keep their order. */
export function placeBatch(batch: TrainingMicroBatch, positions: PositionsBySlot, limit: number): PlacedBatch[] {
  if (positions.size === 0) return [{ ...batch, virtualTokens: new Int32Array(batch.tokens.length).fill(-1) }];
  const parts: Document[][] = [];
  let room = 0;
  for (const document of documentsOf(batch, positions)) {
    const size = document.added + document.end - document.begin;
    if (parts.length === 0 || size > room) {
      parts.push([]);
      room = limit;
    }
    parts.at(-1)?.push(document);
    room -= size;
  }
  let row = 0;
  return parts.map((documents) => {
    const end = (documents.at(-1) as Document).end;
    const from = row;
    while (row < batch.rows.length && (batch.rows[row] as number) < end) row++;
    return placed(batch, documents, from, row);
  });
}

function* documentsOf({ first, index }: TrainingMicroBatch, positions: PositionsBySlot): Iterable<Document> {
  for (let begin = 0, end = 0; begin < first.length; begin = end) {
    while (end < first.length && first[end] === first[begin]) end++;
    const virtual = positions.get(index[begin] as number);
    yield { begin, end, added: virtual?.as === 'tokens' ? virtual.count : 0, shift: virtual?.count ?? 0 };
  }
}

function placed(batch: TrainingMicroBatch, documents: readonly Document[], fromRow: number, toRow: number): PlacedBatch {
  const length = documents.reduce((sum, { begin, end, added }) => sum + added + end - begin, 0);
  const tokens = new Int32Array(length).fill(-1);
  const virtualTokens = new Int32Array(length).fill(-1);
  const positions = new Int32Array(length);
  const first = new Int32Array(length);
  const index = new Int32Array(length);
  const rows = batch.rows.slice(fromRow, toRow);
  let at = 0;
  let row = 0;
  for (const { begin, end, added, shift } of documents) {
    const text = at + added;
    const after = text + end - begin;
    first.fill(at, at, after);
    index.fill(batch.index[begin] as number, at, after);
    for (let i = 0; i < added; i++) {
      virtualTokens[at + i] = i;
      positions[at + i] = i;
    }
    tokens.set(batch.tokens.subarray(begin, end), text);
    for (let i = begin; i < end; i++) positions[text + i - begin] = shift + (batch.positions[i] as number);
    for (; row < rows.length && (rows[row] as number) < end; row++) rows[row] = text + (rows[row] as number) - begin;
    at = after;
  }
  return {
    step: batch.step,
    tokens,
    virtualTokens,
    positions,
    first,
    index,
    rows,
    targets: batch.targets.slice(fromRow, toRow),
    rowAdapter: batch.rowAdapter.slice(fromRow, toRow),
    rowWeight: batch.rowWeight.slice(fromRow, toRow),
  };
}
