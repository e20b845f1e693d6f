// How much text one token can stand for: what tells that a text has too many tokens before it is tokenised.
import { byteCharacters } from './token_table.js';
import type { TokenizerFile } from './tokenizer_rules.js';

type Step = Record<string, unknown>;

/**
 * Characters (UTF-16 units) of normalised text that a token stands for at most; `tokens`: every token as text is searched for it. Undefined
 * where a tokenizer may leave text out, or makes one unknown token of any length of it: then no length says how many tokens there are.
 */
export function charactersPerToken(file: TokenizerFile, tokens: Iterable<string>): number | undefined {
  const { model, pre_tokenizer, normalizer, added_tokens } = file;
  if (model.type !== 'BPE' || !keepsText(pre_tokenizer) || !keepsSymbols(model, pre_tokenizer)) return undefined;
  // These take the spaces beside them, after the text was normalised; others do so before.
  if (normalizer !== null && added_tokens.some(({ normalized, lstrip, rstrip }) => normalized && (lstrip || rstrip))) return undefined;
  // A symbol without a token of its own is one code point.
  let longest = 2;
  for (const token of tokens) longest = Math.max(longest, token.length);
  return longest;
}

function keepsText(step: Step | null): boolean {
  if (step === null) return true;
  switch (step.type) {
    case 'ByteLevel':
    case 'Digits':
    case 'Punctuation':
    case 'FixedLength':
      return true;
    case 'Metaspace':
      return step.replacement !== '' || Boolean(step.str_rep);
    case 'Split':
      return step.invert !== true && step.behavior !== 'Removed';
    case 'Sequence':
      return (step.pretokenizers as Step[]).every(keepsText);
    default:
      return false;
  }
}

// Whether every symbol becomes a token: as bytes that all have one, or as an unknown token of its own.
function keepsSymbols(model: TokenizerFile['model'], preTokenizer: Step | null): boolean {
  const vocabulary = model.vocab as Record<string, number>;
  if (model.end_of_word_suffix || model.continuing_subword_suffix) return false;
  if (makesBytes(preTokenizer) && byteCharacters.every((character) => Object.hasOwn(vocabulary, character))) return true;
  if (model.byte_fallback === true && byteNames.every((name) => Object.hasOwn(vocabulary, name))) return true;
  return typeof model.unk_token === 'string' && model.fuse_unk !== true;
}

const byteNames = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);

// Later steps only cut what ByteLevel made of the text.
function makesBytes(step: Step | null): boolean {
  return step?.type === 'ByteLevel' || (step?.type === 'Sequence' && (step.pretokenizers as Step[]).some(makesBytes));
}
