import { describe, expect, it } from 'vitest';
import { AbortError } from '../../lib/errors.js';
import { BadExample } from '../../lib/train/data/example_line.js';
import { encodeLongText } from '../../lib/train/data/long_text.js';
import { labelTokens, type TextDraft, type TokenisedExample, tokeniseDrafts } from '../../lib/train/data/tokenise.js';
import { random } from '../text/random.js';
import { randomText, tokenizerNames, useTokenizer } from './tokenizers.js';

const completion = (prompt: string, answer: string): TextDraft => ({
  segments: [
    { text: prompt, learned: false },
    { text: answer, learned: true },
  ],
  document: true,
});
const document = (text: string): TextDraft => ({ segments: [{ text, learned: true }], document: true });

/** Ids that are learned. */
function learned({ ids, labels }: TokenisedExample): number[] {
  expect(labels).toHaveLength(ids.length);
  labels.forEach((label, i) => {
    if (label !== -1) expect(label).toBe(ids[i + 1]);
  });
  return [...labels].filter((label) => label !== -1);
}

describe.each(tokenizerNames)('tokeniseDrafts with %s', (name) => {
  const tokenizer = useTokenizer(name);
  const tokenise = async (drafts: TextDraft[], endOfText?: boolean): Promise<TokenisedExample[]> =>
    (await tokeniseDrafts(drafts, tokenizer.get(), endOfText)) as TokenisedExample[];

  it('gives a document the ids of the tokenizer and an end', async () => {
    const { eosId, surroundings } = tokenizer.get();
    const text = 'the whale and Ahab';
    const plain = tokenizer.get().encode(text, { addSpecialTokens: false });
    const end = surroundings.after.length > 0 ? surroundings.after : eosId === undefined ? [] : [eosId];
    const [ended, open] = [(await tokenise([document(text)]))[0], (await tokenise([document(text)], false))[0]] as TokenisedExample[];
    expect([...(ended as TokenisedExample).ids]).toEqual([...surroundings.before, ...plain, ...end]);
    expect([...(open as TokenisedExample).ids]).toEqual([...surroundings.before, ...plain]);
    const skipped = surroundings.before.length > 0 ? 0 : 1;
    expect(learned(ended as TokenisedExample)).toEqual([...plain, ...end].slice(skipped));
  });

  it('learns completions and no prompt, and keeps the text', async () => {
    const next = random(21);
    const drafts = Array.from({ length: 60 }, () => completion(randomText(1 + (next() % 40), next), randomText(1 + (next() % 40), next)));
    const results = await tokenise(drafts, false);
    const { surroundings } = tokenizer.get();
    results.forEach((result, i) => {
      const [prompt, answer] = (drafts[i] as TextDraft).segments.map(({ text }) => text) as [string, string];
      const plain = result.ids.subarray(surroundings.before.length);
      const whole = tokenizer.get().encode(prompt + answer, { addSpecialTokens: false });
      const decode = (ids: ArrayLike<number>): string => tokenizer.get().decode(ids, { skipSpecialTokens: false });
      expect(decode(plain)).toBe(decode(whole));
      // All but a prefix is learned, and what is learned spells the answer, or begins a token earlier.
      const answerIds = learned(result);
      expect(answerIds).toEqual([...result.ids.slice(result.ids.length - answerIds.length)]);
      const promptIds = tokenizer.get().encode(prompt, { addSpecialTokens: false });
      const count = plain.length - answerIds.length;
      if (promptIds.every((id, k) => whole[k] === id)) {
        expect(count).toBe(promptIds.length);
        expect([...plain]).toEqual(whole);
      } else expect(count).toBeLessThanOrEqual(promptIds.length);
    });
  });

  it('gives the same for examples together and alone', async () => {
    const next = random(5);
    const drafts = Array.from({ length: 20 }, () => completion(randomText(20, next), randomText(20, next)));
    const together = await tokenise(drafts);
    for (const [i, draft] of drafts.entries()) expect((await tokenise([draft]))[0]).toEqual(together[i]);
  });
});

describe('tokeniseDrafts', () => {
  const tokenizer = useTokenizer('storyteller');

  it('does not end a text twice, and learns no token without one before', async () => {
    const [spelled, one] = (await tokeniseDrafts([document('the<|end|>'), document('the')], tokenizer.get(), undefined)) as [
      TokenisedExample,
      TokenisedExample,
    ];
    expect([...spelled.ids].filter((id) => id === 0)).toHaveLength(1);
    expect(one.ids.length).toBeGreaterThan(1);
    expect(one.ids.at(-1)).toBe(0);
    const [alone] = (await tokeniseDrafts([document('a')], tokenizer.get(), false)) as [TokenisedExample];
    expect(alone).toEqual({ ids: Int32Array.from(tokenizer.get().encode('a')), labels: Int32Array.of(-1) });
  });

  it('tells which of several cannot be tokenised, and stops when told', async () => {
    const refusing = new Proxy(tokenizer.get(), {
      get(target, key) {
        if (key !== 'encodeAll') return Reflect.get(target, key, target);
        return async (texts: string[]) => {
          if (texts.some((text) => text.includes('bad'))) texts = [...texts, 7 as unknown as string];
          return target.encodeAll(texts);
        };
      },
    });
    const results = await tokeniseDrafts([document('one'), document('bad two'), document('three')], refusing, undefined);
    expect(results.map((result) => result instanceof BadExample)).toEqual([false, true, false]);
    await expect(tokeniseDrafts([document('x')], tokenizer.get(), undefined, AbortSignal.abort())).rejects.toThrow(AbortError);
  });

  it('tokenises an answer as the model will write it: after the prompt’s own tokens', async () => {
    const encode = (text: string): number[] => tokenizer.get().encode(text);
    const [prompt, answer] = ['It was the wh', 'ale again'];
    expect(encode(prompt + answer).length).toBeLessThan(encode(prompt).length + encode(answer).length);
    const [result] = (await tokeniseDrafts([completion(prompt, answer)], tokenizer.get(), false)) as [TokenisedExample];
    expect([...result.ids]).toEqual([...encode(prompt), ...encode(answer)]);
    expect(learned(result)).toEqual(encode(answer));
  });

  it('moves given labels to the token before', () => {
    expect(labelTokens([5, 6, 7])).toEqual({ ids: Int32Array.of(5, 6, 7), labels: Int32Array.of(6, 7, -1) });
    expect(labelTokens([5, 6, 7], [5, -100, 9])).toEqual({ ids: Int32Array.of(5, 6, 7), labels: Int32Array.of(-1, 9, -1) });
    expect(labelTokens([5], [5])).toEqual({ ids: Int32Array.of(5), labels: Int32Array.of(-1) });
  });
});

async function* piecesOf(text: string, next: () => number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; ) {
    const size = 1 + (next() % 700);
    yield text.slice(at, at + size);
    at += size;
  }
}

describe.each(tokenizerNames)('encodeLongText with %s', (name) => {
  const tokenizer = useTokenizer(name);

  it('gives the ids of the whole text', async () => {
    const next = random(17);
    for (const length of [1, 300, 5000, 20_000]) {
      const text = randomText(length, next);
      const parts: number[][] = [];
      for await (const ids of encodeLongText(piecesOf(text, next), tokenizer.get(), undefined, { piece: 600, context: 64, most: 1e9 }))
        parts.push([...ids]);
      expect(parts.flat()).toEqual(tokenizer.get().encode(text, { addSpecialTokens: false }));
      // Where a tokenizer puts something before every text, no place is good for a cut.
      if (length > 4000 && name !== 'llama2' && name !== 'unigram') expect(parts.length).toBeGreaterThan(4);
    }
  });
});

describe('tokeniseDrafts with a space put before every text', () => {
  const tokenizer = useTokenizer('llama2');

  it('puts none between prompt and answer', async () => {
    const [result] = (await tokeniseDrafts([completion('the whale', ' sleeps')], tokenizer.get(), false)) as [TokenisedExample];
    expect([...result.ids]).toEqual(tokenizer.get().encode('the whale sleeps'));
    expect(tokenizer.get().decode(learned(result)).trim()).toBe('sleeps');
  });
});

describe('encodeLongText', () => {
  const tokenizer = useTokenizer('storyteller');

  it('cuts somewhere where there is no good place, but through no character', async () => {
    const text = '🙂'.repeat(3000);
    const next = random(3);
    const parts: number[][] = [];
    for await (const ids of encodeLongText(piecesOf(text, next), tokenizer.get(), undefined, { piece: 500, context: 64, most: 1001 }))
      parts.push([...ids]);
    expect(parts.length).toBeGreaterThan(3);
    expect(tokenizer.get().decode(parts.flat())).toBe(text);
  });
});
