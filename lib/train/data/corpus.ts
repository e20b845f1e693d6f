// Documents of tokens, gathered in large arrays, parted into what is learned and what is held out, and cut to length.
import { OptionError } from '../../errors.js';
import { permutation, purposes } from '../counter_random.js';
import { countLabels, type ExampleSet, noLabel } from './example_set.js';

/** Whole documents, before they are cut. */
export interface Documents extends ExampleSet {
  /** 1: the document is a continuous text, whose last part is held out; 0: it is held out whole or not at all. */
  readonly continuous: Uint8Array;
  /** 1: a document longer than an example may be is cut into several. */
  readonly splittable: Uint8Array;
}

const maxTokens = 2 ** 31 - 1;

/** Gathers documents. */
export class CorpusBuilder {
  #ids = new Int32Array(1024);
  #labels = new Int32Array(1024);
  #used = 0;
  #open = 0;
  readonly #starts: number[] = [];
  readonly #continuous: number[] = [];
  readonly #splittable: number[] = [];

  /** Tokens so far. */
  get tokens(): number {
    return this.#used;
  }

  /** Documents so far. */
  get documents(): number {
    return this.#starts.length;
  }

  /** Adds tokens to the document that is being written. */
  append(ids: ArrayLike<number>, labels: ArrayLike<number>): void {
    this.#reserve(this.#used + ids.length);
    this.#ids.set(ids, this.#used);
    this.#labels.set(labels, this.#used);
    this.#used += ids.length;
  }

  /** Adds tokens, each of which is learned from the one before it. */
  appendLearned(ids: ArrayLike<number>): void {
    this.append(ids, new Int32Array(ids.length).fill(noLabel));
    for (let i = Math.max(this.#open, this.#used - ids.length - 1); i + 1 < this.#used; i++) this.#labels[i] = this.#ids[i + 1] as number;
  }

  /** Cuts the document that is being written off after `length` tokens. */
  cutOff(length: number): void {
    this.#used = Math.min(this.#used, this.#open + length);
    if (this.#used > this.#open) this.#labels[this.#used - 1] = noLabel;
  }

  /** Drops the document that is being written. */
  drop(): void {
    this.#used = this.#open;
  }

  /** Tokens and labels of the document that is being written. */
  get openSize(): { tokens: number; labels: number } {
    return { tokens: this.#used - this.#open, labels: countLabels(this.#labels, this.#open, this.#used) };
  }

  /** Ends the document that is being written. */
  end({ continuous, splittable }: { continuous: boolean; splittable: boolean }): void {
    this.#starts.push(this.#open);
    this.#continuous.push(continuous ? 1 : 0);
    this.#splittable.push(splittable ? 1 : 0);
    this.#open = this.#used;
  }

  /** All documents. */
  finish(): Documents {
    const ends = [...this.#starts.slice(1), this.#open];
    return {
      ids: this.#ids.slice(0, this.#open),
      labels: this.#labels.slice(0, this.#open),
      starts: Int32Array.from(this.#starts),
      lengths: Int32Array.from(this.#starts, (start, i) => (ends[i] as number) - start),
      continuous: Uint8Array.from(this.#continuous),
      splittable: Uint8Array.from(this.#splittable),
    };
  }

  #reserve(size: number): void {
    if (size > maxTokens)
      throw new OptionError(`the data has more than ${maxTokens} tokens, which is the most one training takes`, { option: 'data' });
    if (size <= this.#ids.length) return;
    const grown = (old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const next = new Int32Array(Math.min(maxTokens, Math.max(size, Math.ceil(old.length * 1.5))));
      next.set(old);
      return next;
    };
    this.#ids = grown(this.#ids);
    this.#labels = grown(this.#labels);
  }
}

/**
 * Parts documents into what is learned and what is held out. Of continuous texts the last `share` of the tokens is held out, and the label
 * that would reach over the cut goes; of all others `share` of the documents, drawn by the seed, one at least. No token is in both.
 * Both parts lie in the same arrays. Throws OptionError where one part would be empty.
 */
export function holdOut(documents: Documents, share: number, seed: number): { training: Documents; heldOut: Documents } {
  const { starts, lengths, continuous } = documents;
  const whole = [...starts.keys()].filter((d) => continuous[d] === 0);
  const count = whole.length < 2 ? 0 : Math.min(whole.length - 1, Math.max(1, Math.round(whole.length * share)));
  const drawn = new Set([...permutation(whole.length, seed, purposes.heldOut).subarray(0, count)].map((place) => whole[place] as number));
  const training: Piece[] = [];
  const heldOut: Piece[] = [];
  for (let d = 0; d < starts.length; d++) {
    const start = starts[d] as number;
    const length = lengths[d] as number;
    const splittable = documents.splittable[d] as number;
    if (continuous[d] === 0) {
      (drawn.has(d) ? heldOut : training).push({ start, length, splittable });
      continue;
    }
    const kept = length - Math.round(length * share);
    training.push({ start, length: kept, splittable });
    heldOut.push({ start: start + kept, length: length - kept, splittable });
    if (kept > 0) documents.labels[start + kept - 1] = noLabel;
  }
  const parts = { training: withPieces(documents, training), heldOut: withPieces(documents, heldOut) };
  for (const part of Object.values(parts))
    if (!hasLabel(part))
      throw new OptionError(
        `evaluation is ${share}: of ${starts.length} examples with ${documents.ids.length} tokens that leaves nothing to ${part === parts.training ? 'train on' : 'evaluate'}`,
        { option: 'evaluation', actual: share, examples: starts.length },
      );
  return parts;
}

interface Piece {
  start: number;
  length: number;
  splittable: number;
}

function withPieces({ ids, labels }: ExampleSet, pieces: readonly Piece[]): Documents {
  return {
    ids,
    labels,
    starts: Int32Array.from(pieces, ({ start }) => start),
    lengths: Int32Array.from(pieces, ({ length }) => length),
    continuous: new Uint8Array(pieces.length),
    splittable: Uint8Array.from(pieces, ({ splittable }) => splittable),
  };
}

function hasLabel({ labels, starts, lengths }: ExampleSet): boolean {
  return starts.some((start, d) => countLabels(labels, start, start + (lengths[d] as number)) > 0);
}

/** Examples of a length that a model can take, and what the cutting did. */
export interface CutDocuments {
  readonly examples: ExampleSet;
  /** Documents that became several examples. */
  readonly split: number;
  /** Pieces of them without any label, such as the middle of a long prompt: they are left out. */
  readonly withoutLabel: number;
}

/** Cuts documents into examples of at most `maxLength` tokens. A cut takes no label away: see ExampleSet. */
export function cutDocuments(documents: Documents, maxLength: number): CutDocuments {
  const starts: number[] = [];
  const lengths: number[] = [];
  let split = 0;
  let withoutLabel = 0;
  documents.starts.forEach((start, d) => {
    const length = documents.lengths[d] as number;
    if (length > maxLength) {
      if (documents.splittable[d] === 0)
        throw new OptionError(`an example has ${length} tokens: expected at most ${maxLength}`, { option: 'maxLength' });
      split++;
    }
    for (let from = 0; from < length; from += maxLength) {
      const size = Math.min(maxLength, length - from);
      if (countLabels(documents.labels, start + from, start + from + size) === 0) {
        withoutLabel++;
        continue;
      }
      starts.push(start + from);
      lengths.push(size);
    }
  });
  const examples = { ids: documents.ids, labels: documents.labels, starts: Int32Array.from(starts), lengths: Int32Array.from(lengths) };
  return { examples, split, withoutLabel };
}
