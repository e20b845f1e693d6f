// Token ids to text, one at a time, without ever splitting a character.
import { OptionError } from '../errors.js';

/** How a vocabulary becomes text: the bytes of every token, and what depends on a token's place. */
export interface TokenTable {
  /** Bytes of all tokens, end to end. */
  bytes: Uint8Array;
  /** Where each token starts; one more entry than there are tokens. */
  offsets: Uint32Array;
  /** 1 where a token is special. */
  special: Uint8Array;
  /** Leading spaces of the whole text that are dropped: how many at most. */
  dropSpaces: number;
  /** The first token loses all its leading spaces. */
  dropSpacesOfFirst: boolean;
  /** 1 where a token begins a word and gets a space before it, unless it is the first. */
  spaced: Uint8Array | undefined;
}

/** How text is made. */
export interface DecodeOptions {
  /** Leave special tokens (end of text, roles of a chat) out of the text. Default: true. */
  skipSpecialTokens?: boolean;
}

/** Options of an incremental decoder. */
export interface StreamDecoderOptions extends DecodeOptions {
  /** Ids that come before, such as a prompt's: their text is not emitted, but what follows continues it. */
  after?: ArrayLike<number>;
}

const space = 0x20;
// A character has at most four bytes, so no more tokens than that can matter to the next one.
const contextTokens = 8;

/**
 * Pieces put together are the text of all ids. A character whose bytes are spread over several tokens is emitted with
 * its last byte; bytes that can no longer become a character give U+FFFD at once.
 */
export class StreamDecoder {
  readonly #table: TokenTable;
  readonly #skip: boolean;
  readonly #utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  #first = true;
  #toDrop: number;

  constructor(table: TokenTable, options: StreamDecoderOptions = {}) {
    this.#table = table;
    this.#skip = options.skipSpecialTokens ?? true;
    this.#toDrop = table.dropSpaces;
    if (options.after !== undefined) this.#continue(options.after);
  }

  /** The text that this token completes; empty while a character is unfinished. */
  push(id: number): string {
    const { bytes, offsets, special, spaced } = this.#table;
    const count = special.length;
    if (!Number.isInteger(id) || id < 0)
      throw new OptionError(`token id ${id}: expected an integer from 0 to ${count - 1}`, { id, vocabularySize: count });
    // Models round their vocabulary up: rows past the tokenizer's own stand for no text.
    if (id >= count || (this.#skip && special[id] === 1)) return '';
    let start = offsets[id] as number;
    const end = offsets[id + 1] as number;
    let lead = '';
    if (this.#first) {
      if (this.#table.dropSpacesOfFirst) while (start < end && bytes[start] === space) start++;
    } else if (spaced !== undefined && spaced[id] === 1) {
      lead = ' ';
    }
    this.#first = false;
    while (this.#toDrop > 0 && start < end) {
      if (bytes[start] !== space) this.#toDrop = 0;
      else {
        start++;
        this.#toDrop--;
      }
    }
    if (lead !== '') lead = this.#utf8.decode(spaceBytes, { stream: true });
    return lead + this.#utf8.decode(bytes.subarray(start, end), { stream: true });
  }

  /** The end of the ids: an unfinished character becomes U+FFFD. */
  flush(): string {
    const text = this.#utf8.decode();
    this.#first = true;
    this.#toDrop = this.#table.dropSpaces;
    return text;
  }

  #continue(ids: ArrayLike<number>): void {
    // Only the last tokens can leave a character open; anything that has text before them ends the start of the text.
    const from = Math.max(0, ids.length - contextTokens);
    for (let i = from - 1; i >= 0 && this.#first; i--) {
      const id = ids[i] as number;
      if (id < this.#table.special.length && !(this.#skip && this.#table.special[id] === 1)) {
        this.#first = false;
        this.#toDrop = 0;
      }
    }
    for (let i = from; i < ids.length; i++) this.push(ids[i] as number);
  }
}

const spaceBytes = Uint8Array.of(space);

/** The text of ids. */
export function decodeTokens(table: TokenTable, ids: ArrayLike<number>, options: DecodeOptions = {}): string {
  const decoder = new StreamDecoder(table, options);
  const pieces: string[] = [];
  for (let i = 0; i < ids.length; i++) pieces.push(decoder.push(ids[i] as number));
  pieces.push(decoder.flush());
  return pieces.join('');
}
