import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AbortError, DisposedError, FileAccessError, TokenizerError } from '../../lib/errors.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { random } from './random.js';

const fixtures = join(import.meta.dirname, '../fixtures');
const storyteller = join(import.meta.dirname, '../../examples/storyteller/base');

function readJson<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(fixtures, ...path), 'utf8')) as T;
}

describe('Tokenizer of storyteller', () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await Tokenizer.load(storyteller);
  });
  afterAll(() => tokenizer.dispose());

  it('gives the ids of transformers', async () => {
    const cases = readJson<{ tokenizer: Record<string, { text: string; tokens: number[] }> }>('storyteller', 'expected.json').tokenizer;
    expect(Object.keys(cases).length).toBeGreaterThan(5);
    for (const { text, tokens } of Object.values(cases)) {
      expect(tokenizer.encode(text)).toEqual(tokens);
      expect(await tokenizer.encodeAsync(text)).toEqual(tokens);
      expect(tokenizer.decode(tokens, { skipSpecialTokens: false })).toBe(text);
    }
  });

  it('encodes several texts at once, without special tokens', async () => {
    const texts = ['It was a dark night', '', 'naïve 🙂', 'before<|end|>after'];
    const all = await tokenizer.encodeAll(texts);
    expect(all.map((ids) => [...ids])).toEqual(texts.map((text) => tokenizer.encode(text, { addSpecialTokens: false })));
    expect(await tokenizer.encodeAll([])).toEqual([]);
    await expect(tokenizer.encodeAll(['a', 7 as unknown as string])).rejects.toThrow(/text is of type number/);
    await expect(tokenizer.encodeAll(['a'], { signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
    expect(tokenizer.surroundings).toEqual({ before: [], after: [] });
  });

  it('knows its vocabulary and special tokens', () => {
    expect(tokenizer.vocabularySize).toBe(2048);
    expect(tokenizer.bosId).toBeUndefined();
    expect(tokenizer.eosId).toBe(0);
    expect(tokenizer.padId).toBe(1);
    expect(tokenizer.isSpecial(0)).toBe(true);
    expect(tokenizer.isSpecial(2)).toBe(false);
    expect(tokenizer.idOf('<|end|>')).toBe(0);
    expect(tokenizer.idOf('no such token')).toBeUndefined();
    expect(tokenizer.namedTokens).toEqual({ eos_token: '<|end|>', pad_token: '<|pad|>' });
    expect(new TextDecoder().decode(tokenizer.tokenBytes(300))).toBe(tokenizer.decode([300]));
  });

  it('leaves special tokens out of text unless asked', () => {
    const ids = [...tokenizer.encode('one'), 0, ...tokenizer.encode(' two')];
    expect(tokenizer.decode(ids)).toBe('one two');
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe('one<|end|> two');
  });

  it('takes rows past its vocabulary for no text, and refuses what is no id', () => {
    expect(tokenizer.decode([2048, 100_000])).toBe('');
    expect(() => tokenizer.decode([-1])).toThrow(/token id -1: expected an integer from 0 to 2047/);
    expect(() => tokenizer.decode([1.5])).toThrow(/token id 1.5/);
  });

  it('streams random ids piece by piece into the text of all of them', () => {
    const next = random(11);
    for (let round = 0; round < 300; round++) {
      const ids = Array.from({ length: 1 + (next() % 200) }, () => next() % 2048);
      const skipSpecialTokens = next() % 2 === 0;
      const decoder = tokenizer.streamDecoder({ skipSpecialTokens });
      const pieces = ids.map((id) => decoder.push(id));
      pieces.push(decoder.flush());
      const bytes = Buffer.concat(ids.filter((id) => !skipSpecialTokens || !tokenizer.isSpecial(id)).map((id) => tokenizer.tokenBytes(id)));
      expect(pieces.join('')).toBe(bytes.toString('utf8'));
      expect(pieces.join('')).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
    }
  });

  it('streams every writing system without splitting a character', () => {
    const text = 'naïve e\u0301 n\u0303 日本語 🧑🏽‍🚀👩‍👩‍👧 مرحبا नमस्ते 𝔘𝔫𝔦 \u200b\ufeff ½ end';
    const ids = tokenizer.encode(text);
    const decoder = tokenizer.streamDecoder();
    const pieces = ids.map((id) => decoder.push(id));
    expect(pieces.join('')).toBe(text);
    expect(decoder.flush()).toBe('');
    for (const piece of pieces) {
      expect(piece).not.toContain('\ufffd');
      expect(piece).not.toMatch(/^[\udc00-\udfff]|[\ud800-\udbff]$/);
    }
  });

  it('gives U+FFFD for bytes that never become a character, at once', () => {
    const byte = new Map<number, number>();
    for (let id = 0; id < tokenizer.vocabularySize; id++) {
      const bytes = tokenizer.tokenBytes(id);
      if (bytes.length === 1) byte.set(bytes[0] as number, id);
    }
    const id = (value: number): number => byte.get(value) as number;
    const decoder = tokenizer.streamDecoder();
    expect(decoder.push(id(0xff))).toBe('\ufffd');
    expect(decoder.push(id(0xe2))).toBe('');
    expect(decoder.push(id(0x82))).toBe('');
    expect(decoder.push(id(0xac))).toBe('€');
    expect(decoder.push(id(0xe2))).toBe('');
    expect(decoder.push(id(0x41))).toBe('\ufffdA');
    expect(decoder.push(id(0xf0))).toBe('');
    expect(decoder.flush()).toBe('\ufffd');
    expect(decoder.push(id(0x42))).toBe('B');
  });

  it('continues a prompt that ends inside a character', () => {
    const ids = tokenizer.encode('日本');
    for (let cut = 1; cut < ids.length; cut++) {
      const decoder = tokenizer.streamDecoder({ after: ids.slice(0, cut) });
      const rest =
        ids
          .slice(cut)
          .map((id) => decoder.push(id))
          .join('') + decoder.flush();
      expect('日本'.endsWith(rest)).toBe(true);
      expect(rest).not.toContain('\ufffd');
    }
  });

  it('encodes runs of one character in close to linear time', async () => {
    for (const character of ['a', ' ', '^', '\n', '1', '😀']) {
      const times: number[] = [];
      for (const length of [65_536, 131_072]) {
        const start = performance.now();
        const ids = await tokenizer.encodeAsync(character.repeat(length));
        times.push(performance.now() - start);
        expect(tokenizer.decode(ids)).toBe(character.repeat(length));
      }
      // Doubling the text may not square the time; the allowance is for a busy machine.
      expect(times[1]).toBeLessThan(10_000);
    }
    expect((await tokenizer.encodeAsync('a'.repeat(1 << 20))).length).toBe(1 << 20);
  });

  it('does not block the event loop with a long text', async () => {
    const text = 'It was the best of times, it was the worst of times. '.repeat(8000);
    const expected = tokenizer.encode(text);
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const ids = await tokenizer.encodeAsync(text);
    loop.disable();
    expect(ids).toEqual(expected);
    expect(loop.percentile(50) / 1e6).toBeLessThan(20);
    expect(loop.max / 1e6).toBeLessThan(200);
  });

  it('encodes while other texts wait, in order, and stops waiting when told to', async () => {
    const abort = new AbortController();
    const long = tokenizer.encodeAsync('word '.repeat(50_000));
    const aborted = tokenizer.encodeAsync('never', { signal: abort.signal });
    const short = tokenizer.encodeAsync('short');
    abort.abort();
    await expect(aborted).rejects.toBeInstanceOf(AbortError);
    expect(tokenizer.encode('between')).toEqual(await tokenizer.encodeAsync('between'));
    expect(await short).toEqual(tokenizer.encode('short'));
    expect((await long).length).toBeGreaterThan(50_000);
    await expect(tokenizer.encodeAsync('x', { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AbortError);
  });

  it('does not keep others waiting for a text that was given up', async () => {
    const text = 'word '.repeat(400_000);
    const start = performance.now();
    await tokenizer.encodeAsync(text);
    const whole = performance.now() - start;
    const abort = new AbortController();
    const long = tokenizer.encodeAsync(text, { signal: abort.signal });
    long.catch(() => {});
    await delay(20);
    const began = performance.now();
    abort.abort();
    await expect(long).rejects.toBeInstanceOf(AbortError);
    expect((await tokenizer.encodeAsync('short')).length).toBeGreaterThan(0);
    expect(performance.now() - began).toBeLessThan(whole * 0.7);
  });

  it('refuses what is no text', async () => {
    expect(() => tokenizer.encode(5 as unknown as string)).toThrow(TokenizerError);
    await expect(tokenizer.encodeAsync(undefined as unknown as string)).rejects.toBeInstanceOf(TokenizerError);
  });
});

describe.each(['llama3', 'qwen2', 'llama2', 'gemma', 'unigram', 'wordpiece'])('Tokenizer like %s', (name) => {
  interface Expected {
    vocabularySize: number;
    bos: number | null;
    eos: number | null;
    cases: { text: string; ids: number[]; plain: number[]; decoded: string; skipped: string }[];
  }
  const expected = readJson<Expected>('tokenizers', name, 'expected.json');
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await Tokenizer.load(join(fixtures, 'tokenizers', name));
  });
  afterAll(() => tokenizer.dispose());

  it('encodes and decodes as transformers does', () => {
    expect(tokenizer.vocabularySize).toBe(expected.vocabularySize);
    expect(tokenizer.bosId ?? null).toBe(expected.bos);
    expect(tokenizer.eosId ?? null).toBe(expected.eos);
    for (const { text, ids, plain, decoded, skipped } of expected.cases) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(plain);
      expect(tokenizer.decode(plain, { skipSpecialTokens: false })).toBe(decoded);
      expect(tokenizer.decode(ids)).toBe(skipped);
    }
  });

  it('tells by its length that a text has too many tokens, where it can, and never of one that has not', async () => {
    const text = `${expected.cases.map((one) => one.text).join(' ')}   \u0041\u030a\u212b ${'\u1112\u1161\u11ab'.repeat(9)}${'word '.repeat(40)}`;
    const words = text.split(/(?<=\s)/);
    const next = random(3);
    for (let round = 0; round < 60; round++) {
      const some = Array.from({ length: 1 + (next() % 40) }, () => words[next() % words.length]).join('');
      const ids = await tokenizer.encodeAsync(some, { addSpecialTokens: false });
      expect(await tokenizer.encodeAsync(some, { addSpecialTokens: false, mostTokens: ids.length })).toEqual(ids);
    }
    const long = 'word '.repeat(10_000);
    const { length } = await tokenizer.encodeAsync(long, { addSpecialTokens: false });
    const limited = tokenizer.encodeAsync(long, { addSpecialTokens: false, mostTokens: 20 });
    if (['unigram', 'wordpiece'].includes(name)) expect(await limited).toHaveLength(length);
    else {
      const error = await limited.catch((reason: TokenizerError) => reason);
      expect(error).toBeInstanceOf(TokenizerError);
      const { rule, atLeast } = (error as TokenizerError).details;
      expect(rule).toBe('tokens');
      expect(atLeast).toBeGreaterThan(1000);
      expect(atLeast).toBeLessThanOrEqual(length);
    }
  });

  it('streams what it decodes', () => {
    const next = random(5);
    for (let round = 0; round < 200; round++) {
      const ids = Array.from({ length: 1 + (next() % 60) }, () => next() % tokenizer.vocabularySize);
      const decoder = tokenizer.streamDecoder();
      expect(ids.map((id) => decoder.push(id)).join('') + decoder.flush()).toBe(tokenizer.decode(ids));
    }
  });

  it('continues a prompt as if it had been decoded with it', () => {
    for (const { plain } of expected.cases) {
      for (let cut = 1; cut < plain.length; cut++) {
        const decoder = tokenizer.streamDecoder({ after: plain.slice(0, cut), skipSpecialTokens: false });
        const rest =
          plain
            .slice(cut)
            .map((id) => decoder.push(id))
            .join('') + decoder.flush();
        expect(tokenizer.decode(plain, { skipSpecialTokens: false }).endsWith(rest)).toBe(true);
        const start = tokenizer.decode(plain.slice(0, cut), { skipSpecialTokens: false });
        if (!start.endsWith('\ufffd')) expect(start + rest).toBe(tokenizer.decode(plain, { skipSpecialTokens: false }));
      }
    }
  });
});

describe('Tokenizer settings', () => {
  const source = join(fixtures, 'tokenizers', 'llama3');
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-tokenizer-'));
    writeFileSync(join(folder, 'tokenizer.json'), readFileSync(join(source, 'tokenizer.json')));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const load = async (config: object): Promise<Tokenizer> => {
    writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(config));
    return Tokenizer.load(folder);
  };

  it('lets add_bos_token and add_eos_token replace the post-processor', async () => {
    using both = await load({
      bos_token: '<|begin_of_text|>',
      eos_token: { content: '<|eot_id|>' },
      add_bos_token: true,
      add_eos_token: true,
    });
    const plain = both.encode('hi', { addSpecialTokens: false });
    expect(both.encode('hi')).toEqual([both.bosId, ...plain, both.eosId]);
    using none = await load({ bos_token: '<|begin_of_text|>', add_bos_token: false });
    expect(none.encode('hi')).toEqual(plain);
    using silent = await load({});
    expect(silent.encode('hi')).toEqual([both.bosId, ...plain]);
    expect(silent.bosId).toBeUndefined();
  });

  it('takes tokens named in the config for special ones', async () => {
    const added_tokens_decoder = { 703: { content: '<|new|>', special: true } };
    using tokenizer = await load({ eos_token: 'ing', additional_special_tokens: ['the'], added_tokens_decoder });
    expect(tokenizer.isSpecial(tokenizer.eosId as number)).toBe(true);
    expect(tokenizer.decode(tokenizer.encode('swimthe'))).toBe('swim');
    expect(tokenizer.idOf('<|new|>')).toBe(703);
    expect(tokenizer.vocabularySize).toBe(704);
    expect(tokenizer.encode('a<|new|>b', { addSpecialTokens: false })).toContain(703);
  });

  it('works without tokenizer_config.json, reads special_tokens_map.json, and names a missing tokenizer.json', async () => {
    rmSync(join(folder, 'tokenizer_config.json'), { force: true });
    writeFileSync(join(folder, 'special_tokens_map.json'), JSON.stringify({ eos_token: '<|eot_id|>' }));
    using tokenizer = await Tokenizer.load(folder);
    expect(tokenizer.eosId).toBe(702);
    await expect(Tokenizer.load(join(folder, 'nowhere'))).rejects.toThrow(FileAccessError);
    mkdirSync(join(folder, 'odd', 'tokenizer.json'), { recursive: true });
    await expect(Tokenizer.load(join(folder, 'odd'))).rejects.toThrow(FileAccessError);
  });

  it('decodes after dispose, and encodes no more', async () => {
    const tokenizer = await load({});
    const ids = tokenizer.encode('still here');
    tokenizer.dispose();
    tokenizer.dispose();
    expect(tokenizer.decode(ids)).toBe('still here');
    expect(() => tokenizer.encode('x')).toThrow(DisposedError);
    await expect(tokenizer.encodeAsync('x')).rejects.toThrow(DisposedError);
  });
});
