// tokenizer.json files made to break their reader: each must give a TokenizerError in bounded time and leave the process as it was.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TokenizerError } from '../../lib/errors.js';
import { Tokenizer } from '../../lib/text/tokenizer.js';
import { random } from './random.js';

// biome-ignore lint/suspicious/noExplicitAny: the point is to break the structure
type Loose = any;
const fixture = readFileSync(join(import.meta.dirname, '../fixtures/tokenizers/llama3/tokenizer.json'), 'utf8');
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'heddle-hostile-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function write(change: (file: Loose) => unknown): void {
  const file = JSON.parse(fixture);
  const made = change(file);
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(typeof made === 'object' ? made : file));
}

const sequence = (depth: number): object => (depth === 0 ? { type: 'NFC' } : { type: 'Sequence', normalizers: [sequence(depth - 1)] });
const split = (pattern: unknown): object => ({ type: 'Split', pattern, behavior: 'Isolated', invert: false });
const set =
  (path: string, value: unknown) =>
  (file: Loose): void => {
    const keys = path.split('.');
    const last = keys.pop() as string;
    keys.reduce((at, key) => at[key], file)[last] = value;
  };

const refused: Record<string, [change: (file: Loose) => unknown, message: RegExp]> = {
  'not an object': [() => [1, 2], /tokenizer.json is an array/],
  'no model': [set('model', undefined), /model is missing/],
  'unknown model': [set('model.type', 'Oracle'), /model.type is "Oracle": expected one of BPE/],
  'vocabulary of the wrong type': [set('model.vocab', 'abc'), /model.vocab is "abc"/],
  'empty vocabulary': [set('model.vocab', {}), /at least one token/],
  'negative id': [set('model.vocab.a', -1), /model.vocab\["a"\] is -1/],
  'huge id': [set('model.vocab.a', 2 ** 40), /model.vocab\["a"\] is 1099511627776/],
  'fractional id': [set('model.vocab.a', 0.5), /is 0.5/],
  'duplicate id': [set('model.vocab.a', 3), /no other token has/],
  'merge of unknown tokens': [
    (file) => file.model.merges.push(['qq', 'zz']),
    /model.merges\[\d+\] is "qq": expected a token of the vocabulary/,
  ],
  'merge longer than any token': [(file) => file.model.merges.push(['the', 'the']), /is "thethe"/],
  'merge of one token': [(file) => file.model.merges.unshift('the'), /model.merges\[0\] is "the": expected two tokens/],
  'merge of three tokens': [(file) => file.model.merges.unshift('a b c'), /two tokens/],
  'merge of an empty token': [(file) => file.model.merges.unshift(['', 'a']), /not empty/],
  'merges of numbers': [set('model.merges', [[1, 2]]), /two tokens/],
  'merges missing': [set('model.merges', undefined), /model.merges is missing/],
  'prefix longer than its tokens': [set('model.continuing_subword_prefix', '#####'), /none with BPE/],
  'unknown token that is unknown': [set('model.unk_token', '<nope>'), /model.unk_token is "<nope>"/],
  'unigram without scores': [set('model', { type: 'Unigram', unk_id: 0, vocab: ['a'] }), /model.vocab\[0\]/],
  'unigram with unk_id out of range': [set('model', { type: 'Unigram', unk_id: 9, vocab: [['a', 0]] }), /model.unk_id is 9/],
  'unigram without tokens': [set('model', { type: 'Unigram', unk_id: 0, vocab: [] }), /model.vocab is 0/],
  'WordPiece with square-cost words': [
    set('model', { type: 'WordPiece', unk_token: 'a', vocab: { a: 0 }, max_input_chars_per_word: 1e9 }),
    /max_input_chars_per_word/,
  ],
  'added token without content': [(file) => file.added_tokens.push({ id: 1 }), /added_tokens\[3\].content/],
  'added token with an id of the wrong type': [(file) => file.added_tokens.push({ id: '7', content: 'x' }), /added_tokens\[3\].id is "7"/],
  'added tokens of the wrong type': [set('added_tokens', { a: 1 }), /added_tokens is an object/],
  'unknown normalizer': [set('normalizer', { type: 'Eval' }), /normalizer.type is "Eval"/],
  'normalizer nested 1,000 deep': [set('normalizer', sequence(1000)), /nested deeper than 64/],
  'normalizer nested 20 deep': [set('normalizer', sequence(20)), /at most 8 nested/],
  'normalizer of 10,000 steps': [
    set('normalizer', { type: 'Sequence', normalizers: Array(10_000).fill({ type: 'NFC' }) }),
    /at most 64 steps/,
  ],
  'replacement that multiplies text': [
    set('normalizer', { type: 'Replace', pattern: { String: 'a' }, content: 'a'.repeat(100_000) }),
    /at most 16 characters/,
  ],
  'charsmap of the wrong type': [set('normalizer', { type: 'Precompiled', precompiled_charsmap: { a: 1 } }), /precompiled_charsmap/],
  'regex that does not compile': [set('pre_tokenizer', split({ Regex: '(((' })), /tokenizer of/],
  'regex of the wrong type': [set('pre_tokenizer', split({ Regex: 5 })), /pre_tokenizer.pattern/],
  'pattern missing': [set('pre_tokenizer', split(undefined)), /pre_tokenizer.pattern is missing/],
  'regex of 100,000 characters': [set('pre_tokenizer', split({ Regex: 'a'.repeat(100_000) })), /pre_tokenizer.pattern/],
  'unknown split behaviour': [
    set('pre_tokenizer', { type: 'Split', pattern: { String: 'a' }, behavior: 'Explode' }),
    /behavior is "Explode"/,
  ],
  'pieces of length zero': [set('pre_tokenizer', { type: 'FixedLength', length: 0 }), /pre_tokenizer.length is 0/],
  'unknown pre-tokenizer': [set('pre_tokenizer', { type: '__proto__' }), /pre_tokenizer.type/],
  'template with a missing special token': [
    set('post_processor', {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '[X]', type_id: 0 } }, { Sequence: { id: 'A' } }],
      special_tokens: {},
    }),
    /post_processor.single\[0\].SpecialToken.id is "\[X\]": expected a key of special_tokens/,
  ],
  'template with a special token that has no such id': [
    set('post_processor', {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: 'X' } }, { Sequence: { id: 'A' } }],
      special_tokens: { X: { id: 'X', ids: [99_999], tokens: ['X'] } },
    }),
    /the id of a token/,
  ],
  'template without the text': [
    set('post_processor', { type: 'TemplateProcessing', single: [], special_tokens: {} }),
    /the text exactly once/,
  ],
  'template of the wrong type': [set('post_processor', { type: 'TemplateProcessing', single: '$A' }), /post_processor.single is "\$A"/],
  'BERT processing without tokens': [set('post_processor', { type: 'BertProcessing' }), /post_processor.cls/],
  'strip decoder of another character': [set('decoder', { type: 'Strip', content: 7, start: 1, stop: 0 }), /decoder.content is 7/],
  'strip decoder of the end': [set('decoder', { type: 'Strip', content: ' ', start: 0, stop: 1e9 }), /decoder.stop/],
  'unknown decoder': [set('decoder', { type: 'CTC' }), /decoder.type is "CTC"/],
  'decoder on joined text': [
    set('decoder', { type: 'Sequence', decoders: [{ type: 'Fuse' }, { type: 'Replace', pattern: { String: 'a' }, content: 'b' }] }),
    /decoder.decoders\[1\]/,
  ],
};

describe('hostile tokenizer.json', () => {
  it.each(Object.entries(refused))('refuses: %s', async (_, [change, message]) => {
    write(change);
    const error = await Tokenizer.load(folder).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(TokenizerError);
    expect((error as TokenizerError).code).toBe('ERR_HEDDLE_TOKENIZER');
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain(folder);
  });

  it('refuses text that is no JSON, and JSON nested a million deep', async () => {
    for (const text of ['', '{', 'null', '\ud800', '{"model":{}}x', '['.repeat(1 << 20)]) {
      writeFileSync(join(folder, 'tokenizer.json'), text);
      await expect(Tokenizer.load(folder)).rejects.toBeInstanceOf(TokenizerError);
    }
  });

  it('refuses what is nested without end, where nothing reads it', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    writeFileSync(join(folder, 'tokenizer.json'), fixture.replace(/\}\s*$/, `,"x":${deep}}`));
    const loaded = Tokenizer.load(folder);
    await expect(loaded).rejects.toBeInstanceOf(TokenizerError);
    await expect(loaded).rejects.toThrow(/tokenizer\.json: line \d+, column \d+: nested deeper than 64$/);
  });

  it.each(['tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'])(
    'refuses %s where it is a link that leads out of the folder',
    async (name) => {
      const own = join(folder, `linked ${name}`);
      mkdirSync(own);
      writeFileSync(join(own, 'tokenizer.json'), fixture);
      writeFileSync(join(folder, `outside ${name}`), name === 'tokenizer.json' ? fixture : '{}');
      rmSync(join(own, name), { force: true });
      symlinkSync(`../outside ${name}`, join(own, name));
      await expect(Tokenizer.load(own)).rejects.toMatchObject({ code: 'ERR_HEDDLE_FILE', details: { rule: 'link-outside' } });
      rmSync(join(own, name));
      writeFileSync(join(own, 'real'), name === 'tokenizer.json' ? fixture : '{}');
      symlinkSync('real', join(own, name));
      (await Tokenizer.load(own)).dispose();
    },
  );

  it('ignores padding and truncation, whatever they ask for', async () => {
    write((file) => {
      file.padding = { strategy: { Fixed: 2 ** 40 }, direction: 'Right', pad_id: 0, pad_type_id: 0, pad_token: 'a' };
      file.truncation = { max_length: 0, strategy: 'LongestFirst', stride: 2 ** 40 };
    });
    using tokenizer = await Tokenizer.load(folder);
    expect(tokenizer.encode('a b').length).toBeLessThan(6);
  });

  it('stops a pattern that backtracks for ever, and serves the next text', async () => {
    write(
      set('pre_tokenizer', {
        type: 'Sequence',
        pretokenizers: [split({ Regex: '(a+)+$' }), { type: 'ByteLevel', add_prefix_space: false, use_regex: false }],
      }),
    );
    using tokenizer = await Tokenizer.load(folder);
    const before = tokenizer.encode('hello');
    const bomb = `${'a'.repeat(60)}b`;
    const waiting = tokenizer.encodeAsync(bomb);
    const after = tokenizer.encodeAsync('hello');
    await expect(waiting).rejects.toThrow(/stopped after \d+ ms/);
    expect(await after).toEqual(before);
    const queued = [tokenizer.encodeAsync('hello'), tokenizer.encodeAsync('hello')];
    expect(() => tokenizer.encode(bomb)).toThrow(/stopped after \d+ ms/);
    expect(await Promise.all(queued)).toEqual([before, before]);
    expect(tokenizer.encode('hello')).toEqual(before);
  });

  it('bounds what normalizers make of a text', async () => {
    const double = { type: 'Replace', pattern: { String: 'a' }, content: 'aa' };
    write(set('normalizer', { type: 'Sequence', normalizers: Array(60).fill(double) }));
    using tokenizer = await Tokenizer.load(folder);
    expect(() => tokenizer.encode('a'.repeat(5000))).toThrow(/the normalizer made 5000 characters longer than/);
    expect(tokenizer.encode('b').length).toBeGreaterThan(0);
  });

  it('leaves out characters that the vocabulary cannot spell, as the reference does', async () => {
    write((file) => {
      file.model.merges = [];
      file.model.vocab = Object.fromEntries(Object.entries(file.model.vocab as Record<string, number>).filter(([token]) => token !== 'q'));
    });
    using tokenizer = await Tokenizer.load(folder);
    expect(tokenizer.encode('q', { addSpecialTokens: false })).toEqual([]);
  });

  it('survives random damage', async () => {
    const next = random(3);
    for (let round = 0; round < 60; round++) {
      const bytes = Buffer.from(fixture);
      for (let i = 0; i < 1 + (next() % 8); i++) {
        const at = next() % 3000;
        bytes[next() % 2 === 0 ? at : bytes.length - 1 - at] = 32 + (next() % 95);
      }
      writeFileSync(join(folder, 'tokenizer.json'), bytes);
      try {
        using tokenizer = await Tokenizer.load(folder);
        tokenizer.decode(tokenizer.encode('Some text 123'));
      } catch (error) {
        expect(error).toBeInstanceOf(TokenizerError);
      }
    }
  });
});
