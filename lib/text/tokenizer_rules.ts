// What a tokenizer.json must satisfy before the library sees it. The library trusts its input; these files come from strangers.
import { TokenizerError } from '../errors.js';

type Json = Record<string, unknown>;

/** A token that is matched in the text before anything else. */
export interface AddedToken {
  id: number;
  content: string;
  single_word?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
  normalized?: boolean;
  special?: boolean;
}

/** A checked tokenizer.json. */
export interface TokenizerFile {
  added_tokens: AddedToken[];
  normalizer: Json | null;
  pre_tokenizer: Json | null;
  post_processor: Json | null;
  decoder: Json | null;
  model: Json & { type: string };
}

/** Ids above this are refused: tables are as long as the largest id. */
export const maxTokenId = 1 << 22;
const maxNesting = 8;
const maxSteps = 64;
const maxPattern = 20_000;
// Every replacement multiplies the text's length by at most this.
const maxReplacement = 16;

const modelTypes = ['BPE', 'Unigram', 'WordPiece'];
const normalizerTypes = [
  'BertNormalizer',
  'Precompiled',
  'Sequence',
  'Replace',
  'NFC',
  'NFD',
  'NFKC',
  'NFKD',
  'Strip',
  'StripAccents',
  'Lowercase',
  'Prepend',
];
const preTokenizerTypes = [
  'BertPreTokenizer',
  'Sequence',
  'Whitespace',
  'WhitespaceSplit',
  'Metaspace',
  'ByteLevel',
  'Split',
  'Punctuation',
  'Digits',
  'Replace',
  'FixedLength',
];
const postProcessorTypes = ['TemplateProcessing', 'ByteLevel', 'BertProcessing', 'RobertaProcessing', 'Sequence'];
const decoderTypes = ['ByteLevel', 'WordPiece', 'Metaspace', 'Sequence', 'Replace', 'Fuse', 'Strip', 'ByteFallback'];

/** Throws a TokenizerError with the place and the rule in its details. */
export function refuse(place: string, found: unknown, expected: string, rule: string): never {
  const shown =
    typeof found === 'string' || found === null || typeof found !== 'object'
      ? JSON.stringify(found)
      : Array.isArray(found)
        ? 'an array'
        : 'an object';
  throw new TokenizerError(`${place} is ${(shown ?? 'missing').slice(0, 200)}: expected ${expected}`, { place, expected, rule });
}

/** Checks the structure of a parsed tokenizer.json. */
export function checkTokenizerFile(value: unknown): TokenizerFile {
  const file = object(value, 'tokenizer.json');
  const model = object(file.model, 'model');
  const vocabularyIds = checkModel(model);
  const addedTokens = checkAddedTokens(file.added_tokens ?? [], vocabularyIds);
  const known = (id: number): boolean => vocabularyIds.has(id) || addedTokens.some((token) => token.id === id);
  const checked = (name: string, types: string[], nested: string, check: StepCheck): Json | null => {
    const step = file[name] ?? null;
    if (step === null) return null;
    checkSteps(step, name, types, nested, check, 0);
    return step as Json;
  };
  return {
    added_tokens: addedTokens,
    normalizer: checked('normalizer', normalizerTypes, 'normalizers', checkNormalizer),
    pre_tokenizer: checked('pre_tokenizer', preTokenizerTypes, 'pretokenizers', checkPreTokenizer),
    post_processor: checked('post_processor', postProcessorTypes, 'processors', (step, place) => checkPostProcessor(step, place, known)),
    decoder: checked('decoder', decoderTypes, 'decoders', checkDecoder),
    model: model as TokenizerFile['model'],
  };
}

function checkModel(model: Json): Set<number> {
  if (model.type === undefined || model.type === null) model.type = guessModelType(model);
  oneOf(model.type, modelTypes, 'model.type');
  if (model.type === 'Unigram') return checkUnigram(model);
  const vocabulary = object(model.vocab, 'model.vocab');
  const ids = new Set<number>();
  for (const [token, id] of Object.entries(vocabulary)) {
    const place = `model.vocab[${JSON.stringify(token.slice(0, 50))}]`;
    tokenId(id, place);
    if (ids.has(id as number)) refuse(place, id, 'an id that no other token has', 'duplicate id');
    ids.add(id as number);
  }
  if (ids.size === 0) refuse('model.vocab', model.vocab, 'at least one token', 'empty vocabulary');
  optional(model.unk_token, 'string', 'model.unk_token');
  if (typeof model.unk_token === 'string' && !Object.hasOwn(vocabulary, model.unk_token))
    refuse('model.unk_token', model.unk_token, 'a token of the vocabulary', 'unknown token');
  if (model.type === 'BPE') checkBpe(model, vocabulary);
  else {
    if (typeof model.unk_token !== 'string') refuse('model.unk_token', model.unk_token, 'a string', 'type');
    optional(model.continuing_subword_prefix, 'string', 'model.continuing_subword_prefix');
    // A word costs the square of its length.
    if (model.max_input_chars_per_word !== undefined) integer(model.max_input_chars_per_word, 0, 1000, 'model.max_input_chars_per_word');
  }
  return ids;
}

function guessModelType(model: Json): string {
  if (Array.isArray(model.vocab)) return 'Unigram';
  return model.merges === undefined ? 'WordPiece' : 'BPE';
}

function checkBpe(model: Json, vocabulary: Json): void {
  for (const name of ['byte_fallback', 'fuse_unk', 'ignore_merges']) optional(model[name], 'boolean', `model.${name}`);
  for (const name of ['end_of_word_suffix', 'continuing_subword_prefix']) optional(model[name], 'string', `model.${name}`);
  if (model.continuing_subword_prefix)
    refuse('model.continuing_subword_prefix', model.continuing_subword_prefix, 'none with BPE', 'unsupported');
  const merges = array(model.merges, 'model.merges');
  const pairs: [string, string][] = [];
  for (let i = 0; i < merges.length; i++) {
    const place = `model.merges[${i}]`;
    const merge = merges[i];
    const parts = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(parts) || parts.length !== 2 || typeof parts[0] !== 'string' || typeof parts[1] !== 'string')
      refuse(place, merge, 'two tokens', 'type');
    const [left, right] = parts as [string, string];
    if (left === '' || right === '') refuse(place, merge, 'two tokens that are not empty', 'empty token');
    for (const token of [left, right, left + right]) {
      if (!Object.hasOwn(vocabulary, token)) refuse(place, token.slice(0, 50), 'a token of the vocabulary', 'unknown token');
    }
    pairs.push([left, right]);
  }
  // One spelling, so that the library's guess from the first entry is right for all.
  model.merges = pairs;
}

function checkUnigram(model: Json): Set<number> {
  const vocabulary = array(model.vocab, 'model.vocab');
  if (vocabulary.length === 0 || vocabulary.length > maxTokenId)
    refuse('model.vocab', vocabulary.length, `1 to ${maxTokenId} tokens`, 'size');
  for (let i = 0; i < vocabulary.length; i++) {
    const entry = vocabulary[i];
    if (!Array.isArray(entry) || entry.length !== 2 || typeof entry[0] !== 'string' || typeof entry[1] !== 'number')
      refuse(`model.vocab[${i}]`, entry, 'a token and its score', 'type');
  }
  if (model.unk_id === undefined || model.unk_id === null) refuse('model.unk_id', model.unk_id, 'the id of the unknown token', 'type');
  integer(model.unk_id, 0, vocabulary.length - 1, 'model.unk_id');
  return new Set(vocabulary.keys());
}

function checkAddedTokens(value: unknown, vocabularyIds: Set<number>): AddedToken[] {
  const tokens = array(value, 'added_tokens');
  const contents = new Set<string>();
  for (let i = 0; i < tokens.length; i++) {
    const place = `added_tokens[${i}]`;
    const token = object(tokens[i], place);
    tokenId(token.id, `${place}.id`);
    if (typeof token.content !== 'string' || token.content === '')
      refuse(`${place}.content`, token.content, 'a string that is not empty', 'type');
    for (const name of ['single_word', 'lstrip', 'rstrip', 'normalized', 'special']) optional(token[name], 'boolean', `${place}.${name}`);
    contents.add(token.content as string);
  }
  if (contents.size + vocabularyIds.size > maxTokenId) refuse('added_tokens', contents.size, `fewer than ${maxTokenId} tokens`, 'size');
  return tokens as AddedToken[];
}

type StepCheck = (step: Json, place: string) => void;

function checkSteps(value: unknown, place: string, types: string[], nested: string, check: StepCheck, depth: number): void {
  if (depth > maxNesting) refuse(place, value, `at most ${maxNesting} nested sequences`, 'depth');
  const step = object(value, place);
  oneOf(step.type, types, `${place}.type`);
  if (step.type !== 'Sequence') {
    check(step, place);
    return;
  }
  const steps = array(step[nested], `${place}.${nested}`);
  if (steps.length > maxSteps) refuse(`${place}.${nested}`, steps.length, `at most ${maxSteps} steps`, 'size');
  for (let i = 0; i < steps.length; i++) checkSteps(steps[i], `${place}.${nested}[${i}]`, types, nested, check, depth + 1);
}

function checkNormalizer(step: Json, place: string): void {
  if (step.type === 'Replace') {
    checkPattern(step.pattern, `${place}.pattern`);
    shortText(step.content, `${place}.content`);
  }
  if (step.type === 'Prepend') shortText(step.prepend, `${place}.prepend`);
  if (step.type === 'Precompiled' && step.precompiled_charsmap !== null)
    optional(step.precompiled_charsmap, 'string', `${place}.precompiled_charsmap`);
  for (const name of ['clean_text', 'handle_chinese_chars', 'strip_accents', 'lowercase', 'strip_left', 'strip_right'])
    optional(step[name], 'boolean', `${place}.${name}`);
}

function checkPreTokenizer(step: Json, place: string): void {
  if (step.type === 'Split') {
    checkPattern(step.pattern, `${place}.pattern`);
    oneOf(step.behavior ?? 'Isolated', ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'], `${place}.behavior`);
    optional(step.invert, 'boolean', `${place}.invert`);
    step.invert ??= false;
  }
  if (step.type === 'Replace') {
    checkPattern(step.pattern, `${place}.pattern`);
    shortText(step.content, `${place}.content`);
  }
  if (step.type === 'FixedLength') integer(step.length, 1, 1 << 20, `${place}.length`);
  if (step.type === 'Metaspace') {
    for (const name of ['replacement', 'str_rep'])
      if (step[name] !== undefined && step[name] !== null) shortText(step[name], `${place}.${name}`);
    optional(step.prepend_scheme, 'string', `${place}.prepend_scheme`);
    // Files of older versions say add_prefix_space instead.
    step.prepend_scheme ??= step.add_prefix_space === false ? 'never' : 'always';
  }
  for (const name of ['add_prefix_space', 'use_regex', 'individual_digits']) optional(step[name], 'boolean', `${place}.${name}`);
}

function checkPostProcessor(step: Json, place: string, known: (id: number) => boolean): void {
  const checkId = (id: unknown, where: string): void => {
    tokenId(id, where);
    if (!known(id as number)) refuse(where, id, 'the id of a token', 'unknown token');
  };
  if (step.type === 'TemplateProcessing') {
    const specials = object(step.special_tokens ?? {}, `${place}.special_tokens`);
    const parts = array(step.single, `${place}.single`);
    if (parts.length > maxSteps) refuse(`${place}.single`, parts.length, `at most ${maxSteps} parts`, 'size');
    let sequences = 0;
    for (let i = 0; i < parts.length; i++) {
      const where = `${place}.single[${i}]`;
      const part = object(parts[i], where);
      if (part.Sequence !== undefined) {
        sequences++;
        continue;
      }
      const special = object(part.SpecialToken, `${where}.SpecialToken`);
      if (typeof special.id !== 'string' || !Object.hasOwn(specials, special.id))
        refuse(`${where}.SpecialToken.id`, special.id, 'a key of special_tokens', 'missing special token');
      const ids = array(object(specials[special.id], `${place}.special_tokens`).ids, `${place}.special_tokens.ids`);
      for (const id of ids) checkId(id, `${place}.special_tokens[${JSON.stringify(special.id)}].ids`);
    }
    if (sequences !== 1) refuse(`${place}.single`, sequences, 'the text exactly once', 'template');
  } else if (step.type !== 'ByteLevel') {
    for (const name of ['cls', 'sep']) {
      const pair = array(step[name], `${place}.${name}`);
      if (typeof pair[0] !== 'string') refuse(`${place}.${name}[0]`, pair[0], 'a token', 'type');
      checkId(pair[1], `${place}.${name}[1]`);
    }
  }
}

function checkDecoder(step: Json, place: string): void {
  if (step.type === 'Replace') {
    checkPattern(step.pattern, `${place}.pattern`);
    shortText(step.content, `${place}.content`);
  }
  if (step.type === 'Strip') {
    if (step.content !== ' ') refuse(`${place}.content`, step.content, 'a space', 'unsupported');
    integer(step.start ?? 0, 0, 1000, `${place}.start`);
    integer(step.stop ?? 0, 0, 0, `${place}.stop`);
  }
  if (step.type === 'Metaspace' && step.replacement !== undefined) shortText(step.replacement, `${place}.replacement`);
  if (step.type === 'WordPiece') optional(step.prefix, 'string', `${place}.prefix`);
}

function checkPattern(value: unknown, place: string): void {
  const pattern = object(value, place);
  const text = pattern.Regex ?? pattern.String;
  if (typeof text !== 'string' || text.length > maxPattern)
    refuse(place, text, `a Regex or String of at most ${maxPattern} characters`, 'pattern');
}

function shortText(value: unknown, place: string): void {
  if (typeof value !== 'string' || value.length > maxReplacement)
    refuse(place, value, `a string of at most ${maxReplacement} characters`, 'replacement');
}

function object(value: unknown, place: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(place, value, 'an object', 'type');
  return value as Json;
}

function array(value: unknown, place: string): unknown[] {
  if (!Array.isArray(value)) refuse(place, value, 'an array', 'type');
  return value as unknown[];
}

function optional(value: unknown, type: 'string' | 'boolean', place: string): void {
  if (value !== undefined && value !== null && typeof value !== type) refuse(place, value, `a ${type}`, 'type');
}

function oneOf(value: unknown, allowed: string[], place: string): void {
  if (typeof value !== 'string' || !allowed.includes(value)) refuse(place, value, `one of ${allowed.join(', ')}`, 'unsupported');
}

function integer(value: unknown, from: number, to: number, place: string): void {
  if (!Number.isInteger(value) || (value as number) < from || (value as number) > to)
    refuse(place, value, from === to ? `${from}` : `an integer from ${from} to ${to}`, 'range');
}

function tokenId(value: unknown, place: string): void {
  integer(value, 0, maxTokenId, place);
}
