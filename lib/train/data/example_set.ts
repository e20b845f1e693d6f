import { createHash } from 'node:crypto';

/**
 * Tokenised examples, many in a few large arrays. Example `e` is the tokens from `starts[e]` on, `lengths[e]` of them.
 *
 * `labels[i]` is what token `i` is trained to be followed by: the id of the token after it in the document, or -1 where nothing is
 * learned (inside a prompt, after the last token of a document). Labels are shifted already; a model compares the logits of position `i`
 * with `labels[i]`. Where a long document is cut, the last token of a piece keeps its label, the first token of the next piece.
 * No label crosses from one document to another.
 */
export interface ExampleSet {
  readonly ids: Int32Array;
  readonly labels: Int32Array;
  readonly starts: Int32Array;
  readonly lengths: Int32Array;
}

/** Label of a token from which nothing is learned. */
export const noLabel = -1;

/** Number of examples. */
export function exampleCount(set: ExampleSet): number {
  return set.starts.length;
}

/** Tokens of all examples. */
export function tokenCount(set: ExampleSet): number {
  return set.lengths.reduce((sum, length) => sum + length, 0);
}

/** Tokens that have a label, of tokens `from` up to `to`. */
export function countLabels(labels: Int32Array, from = 0, to = labels.length): number {
  let count = 0;
  for (let i = from; i < to; i++) if (labels[i] !== noLabel) count++;
  return count;
}

/** Labels of all examples. */
export function labelCount(set: ExampleSet): number {
  let count = 0;
  for (let e = 0; e < set.starts.length; e++) {
    const start = set.starts[e] as number;
    count += countLabels(set.labels, start, start + (set.lengths[e] as number));
  }
  return count;
}

/** A hash of all examples in their order, by which a training that goes on can tell that its data is still the same. */
export function fingerprintOf(set: ExampleSet): string {
  const hash = createHash('sha256');
  const bytes = (numbers: Int32Array): Uint8Array => new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  hash.update(bytes(set.lengths));
  for (let e = 0; e < set.starts.length; e++) {
    const start = set.starts[e] as number;
    const end = start + (set.lengths[e] as number);
    hash.update(bytes(set.ids.subarray(start, end)));
    hash.update(bytes(set.labels.subarray(start, end)));
  }
  return hash.digest('hex');
}
