// Parts of text to token ids and labels.
import type { Tokenizer } from '../../text/tokenizer.js';
import { BadExample } from './example_line.js';
import { noLabel } from './example_set.js';
import { endsReading, type Segment } from './segments.js';

/** What is used of a Tokenizer. */
export type ExampleTokenizer = Pick<Tokenizer, 'encodeAll' | 'decode' | 'eosId' | 'isSpecial' | 'surroundings' | 'vocabularySize'>;

/** Text that is to become tokens. */
export interface TextDraft {
  readonly segments: readonly Segment[];
  /** A document: it gets the ids around it that the model knows, and an end. A chat has its own. */
  readonly document: boolean;
}

/** Ids and labels of an example; see ExampleSet. */
export interface TokenisedExample {
  readonly ids: Int32Array;
  readonly labels: Int32Array;
}

/** Ids, and where each segment's begin; one more entry than there are segments. */
interface CutIds {
  readonly ids: Int32Array;
  readonly cuts: readonly number[];
}

/** The ids that come before and after a document. @param endOfText whether it is ended; default: where the tokenizer has an end of text */
export function documentEnds(
  tokenizer: ExampleTokenizer,
  endOfText: boolean | undefined,
): { before: readonly number[]; after: readonly number[] } {
  const { before, after } = tokenizer.surroundings;
  if (endOfText === false) return { before, after: [] };
  const end = tokenizer.eosId;
  return { before, after: after.length > 0 || end === undefined ? after : [end] };
}

/** Tokenises drafts together; one that cannot be comes back as a BadExample. Other errors are thrown. */
export async function tokeniseDrafts(
  drafts: readonly TextDraft[],
  tokenizer: ExampleTokenizer,
  endOfText: boolean | undefined,
  signal?: AbortSignal,
): Promise<(TokenisedExample | BadExample)[]> {
  const ends = documentEnds(tokenizer, endOfText);
  const finish = (draft: TextDraft, cut: CutIds): TokenisedExample => label(draft, cut, tokenizer, draft.document ? ends : undefined);
  try {
    const cut = await cutAll(drafts, tokenizer, signal);
    return drafts.map((draft, i) => finish(draft, cut[i] as CutIds));
  } catch (error) {
    if (endsReading(error)) throw error;
    // One of them cannot be tokenised: which?
    const results: (TokenisedExample | BadExample)[] = [];
    for (const draft of drafts) {
      try {
        results.push(finish(draft, (await cutAll([draft], tokenizer, signal))[0] as CutIds));
      } catch (reason) {
        if (endsReading(reason)) throw reason;
        results.push(new BadExample((reason as Error).message));
      }
    }
    return results;
  }
}

/**
 * Ids as the whole text gives them, cut where its segments meet. Where a token reaches over such a place, the segments are tokenised one by one,
 * as they are when the model is asked to go on after the first; and where that would change the text, the token is of the later segment.
 */
async function cutAll(drafts: readonly TextDraft[], tokenizer: ExampleTokenizer, signal?: AbortSignal): Promise<CutIds[]> {
  const texts = drafts.map(({ segments }) => segments.map(({ text }) => text));
  const ids = await encodeGroups(
    texts.map((parts) => [parts.join(''), ...parts.slice(0, -1)]),
    tokenizer,
    signal,
  );
  const results = ids.map(([whole, ...parts]): CutIds | undefined => {
    const joined = join(parts);
    const isClean = commonLength(joined.ids, whole as Int32Array) === joined.ids.length;
    return isClean ? { ids: whole as Int32Array, cuts: [...joined.cuts, (whole as Int32Array).length] } : undefined;
  });
  const unclear = results.flatMap((result, i) => (result === undefined ? [i] : []));
  const more = await encodeGroups(
    unclear.map((i) => {
      const parts = texts[i] as string[];
      return [parts.at(-1) as string, ...parts.slice(1).map((_, k) => parts.slice(0, k + 1).join(''))];
    }),
    tokenizer,
    signal,
  );
  unclear.forEach((i, u) => {
    const [whole, ...parts] = ids[i] as [Int32Array, ...Int32Array[]];
    const [last, ...beginnings] = more[u] as [Int32Array, ...Int32Array[]];
    const common = beginnings.map((beginning) => commonLength(beginning, whole));
    const isClean = common.every((length, k) => length === beginnings[k]?.length);
    const joined = join([...parts, last]);
    const keepsText = (): boolean => spell(joined.ids, tokenizer) === spell(whole, tokenizer);
    results[i] = !isClean && keepsText() ? joined : { ids: whole, cuts: [0, ...ascending(common), whole.length] };
  });
  return results as CutIds[];
}

async function encodeGroups(groups: readonly string[][], tokenizer: ExampleTokenizer, signal?: AbortSignal): Promise<Int32Array[][]> {
  if (groups.length === 0) return [];
  const ids = await tokenizer.encodeAll(groups.flat(), { signal });
  let at = 0;
  return groups.map((group) => {
    at += group.length;
    return ids.slice(at - group.length, at);
  });
}

function join(parts: readonly Int32Array[]): CutIds {
  const cuts = [0];
  for (const part of parts) cuts.push((cuts.at(-1) as number) + part.length);
  const ids = new Int32Array(cuts.at(-1) as number);
  parts.forEach((part, i) => {
    ids.set(part, cuts[i]);
  });
  return { ids, cuts };
}

function commonLength(a: Int32Array, b: Int32Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}

function ascending(cuts: readonly number[]): number[] {
  let most = 0;
  return cuts.map((cut) => {
    most = Math.max(most, cut);
    return most;
  });
}

function spell(ids: ArrayLike<number>, tokenizer: ExampleTokenizer): string {
  return tokenizer.decode(ids, { skipSpecialTokens: false });
}

function label(
  { segments }: TextDraft,
  { ids: inner, cuts }: CutIds,
  tokenizer: ExampleTokenizer,
  ends: { before: readonly number[]; after: readonly number[] } | undefined,
): TokenisedExample {
  const learned = new Uint8Array(inner.length);
  segments.forEach((segment, s) => {
    const from = cuts[s] as number;
    const to = cuts[s + 1] as number;
    if (segment.learned) learned.fill(1, from, ends === undefined ? answerEnd(inner, from, to, tokenizer) : to);
  });
  const { before, after } = ends ?? { before: [], after: [] };
  // A text that spells its end out has it already.
  const end = after.length > 0 && inner.at(-1) === after.at(-1) ? [] : after;
  const ids = new Int32Array(before.length + inner.length + end.length);
  ids.set(before);
  ids.set(inner, before.length);
  ids.set(end, before.length + inner.length);
  const labels = new Int32Array(ids.length).fill(noLabel);
  for (let i = 0; i + 1 < ids.length; i++) {
    const next = i + 1 - before.length;
    const isLearned = next < 0 ? false : next < inner.length ? learned[next] === 1 : true;
    if (isLearned) labels[i] = ids[i + 1] as number;
  }
  return { ids, labels };
}

// Templates put a line break after the special token that ends a turn: the model is stopped before it would write it.
function answerEnd(ids: Int32Array, from: number, to: number, tokenizer: ExampleTokenizer): number {
  let last = to - 1;
  while (last >= from && !tokenizer.isSpecial(ids[last] as number)) last--;
  return last >= from && spell(ids.subarray(last + 1, to), tokenizer).trim() === '' ? last + 1 : to;
}

/** Labels of raw ids: those given (beside the token they name, -100 for none) moved to the token before, or every next token. */
export function labelTokens(tokens: readonly number[], given?: readonly number[]): TokenisedExample {
  const ids = Int32Array.from(tokens);
  const labels = new Int32Array(ids.length).fill(noLabel);
  for (let i = 0; i + 1 < ids.length; i++) {
    const next = (given ?? tokens)[i + 1] as number;
    labels[i] = next < 0 ? noLabel : next;
  }
  return { ids, labels };
}
