// The thread that reads a tokenizer and encodes with it.
import * as huggingFace from '@huggingface/tokenizers';
import { parseJson } from '../checkpoint/json.js';
import { FileFormatError, TokenizerError } from '../errors.js';
import type { TokenTable } from './stream_decoder.js';
import { type Moved, serve } from './thread_entry.js';
import { buildTokenTable } from './token_table.js';
import { charactersPerToken } from './token_width.js';
import { type AddedToken, checkTokenizerFile, type TokenizerFile } from './tokenizer_rules.js';

/** What the thread reads. */
export interface TokenizerSetup {
  /** Bytes of tokenizer.json. */
  json: Uint8Array;
  config: TokenizerSettings;
}

/** The parts of tokenizer_config.json that matter. */
export interface TokenizerSettings {
  /** Tokens by role: `bos_token`, `eos_token`, … */
  named: Record<string, string>;
  additional: string[];
  /** `added_tokens_decoder`: tokens that tokenizer.json may lack. */
  added: AddedToken[];
  addBos: boolean | undefined;
  addEos: boolean | undefined;
}

/** What the thread made of it. */
export interface TokenizerReady {
  table: TokenTable;
  /** Ids of the named tokens. */
  named: Record<string, number>;
  /** Ids put before and after a text. */
  before: number[];
  after: number[];
}

/**
 * What the thread is asked: the ids of a text, those of several texts, or the id of a token. A text that must have more than `mostTokens` is
 * refused before the slow part, with how many there are at least.
 */
export type TokenizerJob = { text: string; mostTokens?: number | undefined } | { texts: string[] } | { token: string };

/** Ids of several texts, end to end, and where each text's begin; one more entry than there are texts. */
export interface EncodedTexts {
  ids: Int32Array;
  offsets: Int32Array;
}

interface Library {
  normalizer: NormalizerStep | ((text: string) => string) | null;
  added_tokens_map: ReadonlyMap<string, unknown>;
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  token_to_id(token: string): number | undefined;
}

interface NormalizerStep {
  (text: string): string;
  normalize(text: string): string;
  normalizers?: NormalizerStep[];
}

// The package's type declarations do not resolve under Node's module rules.
const { Tokenizer, ReplaceDecoder, StripDecoder } = huggingFace as unknown as {
  Tokenizer: new (file: object, config: object) => Library;
  ReplaceDecoder: DecoderClass;
  StripDecoder: DecoderClass;
};
type DecoderClass = new (step: object) => { decode_chain(tokens: string[]): string[] };

// A normalizer may make text longer (one ligature becomes 18 characters at most), but not without end.
const maxGrowth = 20;

/** Ends a text that is too long, once it is normalised. */
class LengthLimit {
  /** Characters that may still come. */
  #room = Number.POSITIVE_INFINITY;
  #mostTokens = 0;

  constructor(
    library: Library,
    private readonly width: number | undefined,
  ) {
    const { normalizer } = library;
    library.normalizer = (text) => {
      const normalised = normalizer === null ? text : normalizer(text);
      this.#room -= normalised.length;
      if (this.#room < 0) this.#refuse();
      return normalised;
    };
  }

  begin(mostTokens = Number.POSITIVE_INFINITY): void {
    this.#mostTokens = mostTokens;
    this.#room = this.width === undefined ? Number.POSITIVE_INFINITY : mostTokens * this.width;
  }

  #refuse(): never {
    const atLeast = this.#mostTokens + Math.ceil(-this.#room / (this.width as number));
    throw new TokenizerError(`the text has at least ${atLeast} tokens: expected at most ${this.#mostTokens}`, { rule: 'tokens', atLeast });
  }
}

interface Encoder {
  library: Library;
  limit: LengthLimit;
}

serve<TokenizerSetup, Encoder, TokenizerJob>(
  ({ json, config }) => {
    const file = checkTokenizerFile(parse(json));
    const ids = idsOfTokens(file);
    addMissingTokens(file, config, ids);
    const library = guarded(() => new Tokenizer({ ...file, post_processor: null }, { clean_up_tokenization_spaces: false }));
    boundNormalizer(library);
    const texts: (string | undefined)[] = [];
    const added = new Map<number, AddedToken>();
    for (const [token, id] of ids) texts[id] = token;
    for (const token of file.added_tokens) {
      texts[token.id] = token.content;
      added.set(token.id, token);
    }
    for (let id = 0; id < texts.length; id++) texts[id] ??= undefined;
    const table = guarded(() => buildTokenTable(file, texts, added, decodeOne));
    const named: Record<string, number> = {};
    for (const [role, token] of Object.entries(config.named)) {
      const id = library.token_to_id(token);
      if (id !== undefined) named[role] = id;
    }
    const ready: TokenizerReady = { table, named, ...surroundings(file, config, named) };
    const transfer = [table.bytes.buffer, table.offsets.buffer, table.special.buffer] as ArrayBuffer[];
    const width = charactersPerToken(file, [...ids.keys(), ...library.added_tokens_map.keys()]);
    return { state: { library, limit: new LengthLimit(library, width) }, ready: { value: ready, transfer } };
  },
  ({ library, limit }, job) => {
    if ('token' in job) return { value: library.token_to_id(job.token), transfer: [] };
    limit.begin('text' in job ? job.mostTokens : undefined);
    return 'texts' in job ? encodeAll(library, job.texts) : encode(library, job.text);
  },
);

function encode(library: Library, text: string): Moved {
  const ids = idsOf(library, text);
  return { value: ids, transfer: [ids.buffer as ArrayBuffer] };
}

function encodeAll(library: Library, texts: readonly string[]): Moved {
  const parts = texts.map((text) => idsOf(library, text));
  const offsets = new Int32Array(parts.length + 1);
  parts.forEach((part, i) => {
    offsets[i + 1] = (offsets[i] as number) + part.length;
  });
  const ids = new Int32Array(offsets[parts.length] as number);
  parts.forEach((part, i) => {
    ids.set(part, offsets[i]);
  });
  return { value: { ids, offsets } satisfies EncodedTexts, transfer: [ids.buffer, offsets.buffer] };
}

function idsOf(library: Library, text: string): Int32Array {
  return Int32Array.from(library.encode(text, { add_special_tokens: false }).ids, (id, i) => {
    if (id === undefined)
      throw new TokenizerError(`the text holds characters that the vocabulary lacks, and there is no unknown token (after ${i} tokens)`, {
        rule: 'unknown token',
      });
    return id;
  });
}

function parse(json: Uint8Array): unknown {
  try {
    return parseJson(new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(json)), 'tokenizer.json');
  } catch (error) {
    if (error instanceof FileFormatError) throw new TokenizerError(error.message, error.details);
    throw new TokenizerError(`tokenizer.json is not valid JSON: ${(error as Error).message}`, { rule: 'json' });
  }
}

function guarded<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof TokenizerError) throw error;
    throw new TokenizerError((error as Error).message, { rule: error instanceof SyntaxError ? 'pattern' : 'library' }, { cause: error });
  }
}

function idsOfTokens(file: TokenizerFile): Map<string, number> {
  const { vocab } = file.model;
  if (Array.isArray(vocab)) return new Map(vocab.map(([token], id) => [token as string, id]));
  return new Map(Object.entries(vocab as Record<string, number>));
}

/** As transformers does: tokens named in the config are special even where tokenizer.json does not list them. */
function addMissingTokens(file: TokenizerFile, config: TokenizerSettings, ids: ReadonlyMap<string, number>): void {
  const listed = new Map(file.added_tokens.map((token) => [token.content, token]));
  const add = (token: AddedToken): void => {
    file.added_tokens.push(token);
    listed.set(token.content, token);
  };
  for (const token of config.added) if (!listed.has(token.content)) add(token);
  for (const content of [...Object.values(config.named), ...config.additional]) {
    const known = listed.get(content);
    const id = ids.get(content);
    if (known !== undefined) known.special = true;
    else if (id !== undefined) add({ id, content, special: true, normalized: false });
  }
}

/** The ids that the post-processor puts around a text; as in transformers, add_bos_token and add_eos_token replace it. */
function surroundings(
  file: TokenizerFile,
  config: TokenizerSettings,
  named: Record<string, number>,
): { before: number[]; after: number[] } {
  if (config.addBos !== undefined || config.addEos !== undefined || file.post_processor === null) {
    const one = (wanted: boolean | undefined, role: string): number[] =>
      wanted === true && named[role] !== undefined ? [named[role]] : [];
    return { before: one(config.addBos, 'bos_token'), after: one(config.addEos, 'eos_token') };
  }
  const around = { before: [] as number[], after: [] as number[] };
  surround(file.post_processor, around);
  return around;
}

function surround(step: Record<string, unknown>, around: { before: number[]; after: number[] }): void {
  if (step.type === 'Sequence') {
    for (const inner of step.processors as Record<string, unknown>[]) surround(inner, around);
  } else if (step.type === 'TemplateProcessing') {
    const specials = step.special_tokens as Record<string, { ids: number[] }>;
    const parts = (step.single as { SpecialToken?: { id: string } }[]).map((part) =>
      part.SpecialToken === undefined ? undefined : specials[part.SpecialToken.id]?.ids,
    );
    const middle = parts.indexOf(undefined);
    around.before.unshift(...parts.slice(0, middle).flatMap((ids) => ids ?? []));
    around.after.push(...parts.slice(middle + 1).flatMap((ids) => ids ?? []));
  } else if (step.type !== 'ByteLevel') {
    around.before.unshift((step.cls as [string, number])[1]);
    around.after.push((step.sep as [string, number])[1]);
  }
}

function boundNormalizer(library: Library): void {
  const normalizer = library.normalizer as NormalizerStep | null;
  if (normalizer === null) return;
  const steps = flatten(normalizer);
  normalizer.normalize = (text) => {
    const limit = text.length * maxGrowth + 1024;
    return steps.reduce((result, step) => {
      const next = step(result);
      if (next.length > limit)
        throw new TokenizerError(`the normalizer made ${text.length} characters longer than ${limit}`, { rule: 'growth' });
      return next;
    }, text);
  };
}

function flatten(step: NormalizerStep): ((text: string) => string)[] {
  if (step.normalizers !== undefined) return step.normalizers.flatMap(flatten);
  return [step.normalize.bind(step)];
}

function decodeOne(step: Record<string, unknown>, token: string): string {
  const Decoder = step.type === 'Strip' ? StripDecoder : ReplaceDecoder;
  return new Decoder(step).decode_chain([token])[0] ?? '';
}
