// A text of any length to token ids, piece by piece.
import type { ExampleTokenizer } from './tokenise.js';

/** Sizes in characters; smaller ones are for tests. */
export interface LongTextSizes {
  /** Text that is tokenised at once. */
  readonly piece: number;
  /** Text on both sides of a cut by which it is judged. */
  readonly context: number;
  /** Text after which one cuts at any place. */
  readonly most: number;
}

const defaultSizes: LongTextSizes = { piece: 256 * 1024, context: 256, most: 16 * 1024 * 1024 };
const maxTries = 8;

/**
 * The ids of a text that comes in pieces: those of the whole text, without special tokens around it. It is cut only where the text
 * around gives the same ids with the cut and without; where there is no such place in 16 Mi characters, somewhere.
 */
export async function* encodeLongText(
  pieces: AsyncIterable<string>,
  tokenizer: Pick<ExampleTokenizer, 'encodeAll'>,
  signal?: AbortSignal,
  sizes: LongTextSizes = defaultSizes,
): AsyncGenerator<Int32Array> {
  let held = '';
  let wanted = sizes.piece;
  for await (const piece of pieces) {
    held += piece;
    while (held.length >= wanted) {
      const cut = (await findCut(held, tokenizer, sizes, signal)) ?? (held.length >= sizes.most ? betweenCharacters(held, held.length) : 0);
      if (cut > 0) yield* encode(held.slice(0, cut), tokenizer, signal);
      held = held.slice(cut);
      wanted = cut > 0 ? sizes.piece : held.length + sizes.piece;
    }
  }
  if (held !== '') yield* encode(held, tokenizer, signal);
}

async function* encode(text: string, tokenizer: Pick<ExampleTokenizer, 'encodeAll'>, signal?: AbortSignal): AsyncGenerator<Int32Array> {
  yield (await tokenizer.encodeAll([text], { signal }))[0] as Int32Array;
}

// Best between a line's end and the next line's beginning, else before a space.
async function findCut(
  text: string,
  tokenizer: Pick<ExampleTokenizer, 'encodeAll'>,
  { piece, context }: LongTextSizes,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const tries = [...places(text, piece, context, '\n', 1), ...places(text, piece, context, ' ', 0)];
  for (const cut of tries) {
    const left = text.slice(betweenCharacters(text, cut - context), cut);
    const right = text.slice(cut, betweenCharacters(text, cut + context));
    const [a, b, both] = (await tokenizer.encodeAll([left, right, left + right], { signal })) as [Int32Array, Int32Array, Int32Array];
    if (a.length + b.length === both.length && both.every((id, i) => id === (i < a.length ? a[i] : b[i - a.length]))) return cut;
  }
  return undefined;
}

function places(text: string, piece: number, context: number, mark: string, after: number): number[] {
  const found: number[] = [];
  const lowest = Math.max(context, text.length - piece);
  for (
    let at = text.lastIndexOf(mark, text.length - context - 1);
    at >= lowest && found.length < maxTries;
    at = text.lastIndexOf(mark, at - 1)
  )
    if (!isSpace(text[at - 1]) && !isSpace(text[at + 1])) found.push(at + after);
  return found;
}

function isSpace(character: string | undefined): boolean {
  return character === undefined || /\s/.test(character);
}

function betweenCharacters(text: string, at: number): number {
  const last = text.charCodeAt(at - 1);
  return last >= 0xd800 && last <= 0xdbff ? at - 1 : at;
}
