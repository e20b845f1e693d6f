import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { Tokenizer } from '../../lib/text/tokenizer.js';

const test = join(import.meta.dirname, '..');
const folders: Record<string, string> = {
  storyteller: join(test, '../examples/storyteller/base'),
  ...Object.fromEntries(['gemma', 'llama2', 'llama3', 'qwen2', 'unigram'].map((name) => [name, join(test, 'fixtures/tokenizers', name)])),
};

/** Tokenizers of all kinds. */
export const tokenizerNames = Object.keys(folders);

/** Loads a tokenizer for a suite. */
export function useTokenizer(name: string): { get(): Tokenizer } {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await Tokenizer.load(folders[name] as string);
  });
  afterAll(() => tokenizer.dispose());
  return { get: () => tokenizer };
}

/** Pseudo-random prose with the things that tokenizers trip over. */
export function randomText(length: number, next: () => number): string {
  const words = [
    'the',
    'whale',
    'Ahab',
    ' ',
    '  ',
    '\n',
    '\n\n',
    '\n \n',
    '.',
    ', ',
    '…',
    '“so”',
    'naïve',
    '你好',
    '🙂',
    '👩‍👩‍👧',
    '42',
    '\t',
    'don’t',
    ' a',
  ];
  let text = '';
  while (text.length < length) text += words[next() % words.length] + (next() % 3 === 0 ? '' : ' ');
  return text;
}
