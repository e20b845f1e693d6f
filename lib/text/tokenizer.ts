// A model's tokenizer: text to token ids and back.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { requiredInside } from '../checkpoint/contained_path.js';
import { readOptionalObject } from '../checkpoint/hugging_face_folder.js';
import { toAccessError } from '../checkpoint/json.js';
import { FileAccessError, HeddleError, TokenizerError } from '../errors.js';
import { type DecodeOptions, decodeTokens, StreamDecoder, type StreamDecoderOptions, type TokenTable } from './stream_decoder.js';
import { ThreadHost } from './thread_host.js';
import type { AddedToken } from './tokenizer_rules.js';
import type { EncodedTexts, TokenizerJob, TokenizerReady, TokenizerSettings, TokenizerSetup } from './tokenizer_thread.js';

/** How a text is encoded. */
export interface EncodeOptions {
  /** Put the ids around the text that the model was trained with, such as the beginning of text. Default: true. */
  addSpecialTokens?: boolean;
}

/** How a text is encoded off the event loop. */
export interface EncodeAsyncOptions extends EncodeOptions {
  /** Gives up waiting. */
  signal?: AbortSignal | undefined;
  /**
   * A text whose length says that it has more tokens is refused before it is tokenised: TokenizerError of rule 'tokens', `details.atLeast` says
   * how many. Not every tokenizer can tell.
   */
  mostTokens?: number | undefined;
}

const maxFileBytes = 128 * 1024 * 1024;
const configLimits = { maxBytes: 8 * 1024 * 1024, maxDepth: 32 };
const maxTextLength = 64 * 1024 * 1024;
const setupMilliseconds = 60_000;
// Ordinary text takes under 0.001 ms per character; a hostile pattern takes for ever.
const baseMilliseconds = 5_000;
const millisecondsPerCharacter = 0.02;

/** A tokenizer read from a model folder. It is read, and encodes, in a thread of its own; decoding happens here. */
export class Tokenizer implements Disposable {
  readonly #host: ThreadHost;
  readonly #ready: TokenizerReady;
  readonly #named: Record<string, string>;

  private constructor(host: ThreadHost, ready: TokenizerReady, named: Record<string, string>) {
    this.#host = host;
    this.#ready = ready;
    this.#named = named;
  }

  /** Reads `tokenizer.json` and `tokenizer_config.json` from a folder. */
  static async load(folder: string): Promise<Tokenizer> {
    const json = await readShared(await requiredInside(folder, 'tokenizer.json'));
    const config = await readSettings(folder);
    const setup: TokenizerSetup = { json, config };
    const host = new ThreadHost({ entry: 'tokenizer_thread', name: `tokenizer of ${folder}`, setup, setupMilliseconds });
    try {
      return new Tokenizer(host, (await host.start()) as TokenizerReady, config.named);
    } catch (error) {
      host.dispose();
      throw error;
    }
  }

  /** Number of rows an embedding needs for this tokenizer: the largest id plus one. */
  get vocabularySize(): number {
    return this.#ready.table.special.length;
  }

  /** Id of the token that begins a text, if there is one. */
  get bosId(): number | undefined {
    return this.#ready.named.bos_token;
  }

  /** Id of the token that ends a text, if there is one. */
  get eosId(): number | undefined {
    return this.#ready.named.eos_token;
  }

  /** Id of the padding token, if there is one. */
  get padId(): number | undefined {
    return this.#ready.named.pad_token;
  }

  /** Text of the tokens that have a role, such as `bos_token`: what chat templates may use. */
  get namedTokens(): Readonly<Record<string, string>> {
    return this.#named;
  }

  /** The ids that are put before and after a text where special tokens are added. */
  get surroundings(): { readonly before: readonly number[]; readonly after: readonly number[] } {
    return { before: this.#ready.before, after: this.#ready.after };
  }

  /** Whether an id stands for a special token. */
  isSpecial(id: number): boolean {
    return this.#ready.table.special[id] === 1;
  }

  /** The ids of a text. The caller's thread waits: on a busy event loop use `encodeAsync`. */
  encode(text: string, options: EncodeOptions = {}): number[] {
    return this.#surround(this.#host.runSync(textJob(text), budget(text)) as Int32Array, options);
  }

  /** The ids of a text, computed while the event loop goes on. */
  async encodeAsync(text: string, options: EncodeAsyncOptions = {}): Promise<number[]> {
    const job: TokenizerJob = { ...textJob(text), mostTokens: options.mostTokens };
    return this.#surround((await this.#host.run(job, budget(text), options.signal)) as Int32Array, options);
  }

  /** The ids of several texts in one crossing, each without special tokens around it, computed while the event loop goes on. */
  async encodeAll(texts: readonly string[], options: { signal?: AbortSignal } = {}): Promise<Int32Array[]> {
    const jobs = texts.map(textJob);
    const time = texts.reduce((sum, text) => sum + text.length * millisecondsPerCharacter, baseMilliseconds);
    const job: TokenizerJob = { texts: jobs.map(({ text }) => text) };
    const { ids, offsets } = (await this.#host.run(job, time, options.signal)) as EncodedTexts;
    return texts.map((_, i) => ids.subarray(offsets[i], offsets[i + 1]));
  }

  /** The text of ids. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    return decodeTokens(this.#ready.table, ids, options);
  }

  /** A decoder for ids that come one at a time. */
  streamDecoder(options: StreamDecoderOptions = {}): StreamDecoder {
    return new StreamDecoder(this.#ready.table, options);
  }

  /** The bytes that a token stands for; they need not be whole characters. */
  tokenBytes(id: number): Uint8Array {
    const { bytes, offsets } = this.#ready.table as TokenTable;
    return bytes.slice(offsets[id] ?? 0, offsets[id + 1] ?? 0);
  }

  /** The id of a token as the vocabulary spells it, such as `<|im_end|>`. */
  idOf(token: string): number | undefined {
    return this.#host.runSync({ token } satisfies TokenizerJob, baseMilliseconds) as number | undefined;
  }

  /** Ends the tokenizer's thread. Decoding goes on working. */
  dispose(): void {
    this.#host.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #surround(ids: Int32Array, { addSpecialTokens = true }: EncodeOptions): number[] {
    const before = addSpecialTokens ? this.#ready.before : [];
    const after = addSpecialTokens ? this.#ready.after : [];
    const result = new Array<number>(before.length + ids.length + after.length);
    // A plain loop: Array.from takes ten times as long, on the event loop.
    for (let i = 0; i < before.length; i++) result[i] = before[i] as number;
    for (let i = 0; i < ids.length; i++) result[before.length + i] = ids[i] as number;
    for (let i = 0; i < after.length; i++) result[before.length + ids.length + i] = after[i] as number;
    return result;
  }
}

function textJob(text: string): { text: string } {
  if (typeof text !== 'string') throw new TokenizerError(`text is of type ${typeof text}: expected a string`, { rule: 'type' });
  if (text.length > maxTextLength)
    throw new TokenizerError(`text has ${text.length} characters: at most ${maxTextLength} are encoded at once`, {
      rule: 'size',
      characters: text.length,
    });
  return { text };
}

function budget(text: string): number {
  return baseMilliseconds + text.length * millisecondsPerCharacter;
}

async function readShared(path: string): Promise<Uint8Array> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK); // a pipe without a writer must not block
    const facts = await file.stat();
    if (!facts.isFile()) throw new FileAccessError(`cannot read ${path}: expected a regular file`, { file: path });
    const { size } = facts;
    if (size > maxFileBytes)
      throw new TokenizerError(`${path} has ${size} bytes: at most ${maxFileBytes} are read`, { file: path, rule: 'size' });
    const bytes = new Uint8Array(new SharedArrayBuffer(size));
    let done = 0;
    while (done < size) {
      const { bytesRead } = await file.read(bytes, done, size - done, done);
      if (bytesRead === 0) throw new TokenizerError(`${path} ended after ${done} of ${size} bytes`, { file: path, rule: 'size' });
      done += bytesRead;
    }
    return bytes;
  } catch (error) {
    const told = toAccessError(error, 'read', path);
    if (told instanceof HeddleError) throw told;
    throw new FileAccessError(`cannot read ${path}: ${told.message}`, { file: path }, { cause: error });
  } finally {
    await file?.close();
  }
}

const roles = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token'];

async function readSettings(folder: string): Promise<TokenizerSettings> {
  // Older folders name their special tokens in a file of their own.
  const config: Record<string, unknown> = {
    ...(await readOptionalObject(folder, 'special_tokens_map.json', configLimits)),
    ...(await readOptionalObject(folder, 'tokenizer_config.json', configLimits)),
  };
  const named: Record<string, string> = {};
  for (const role of roles) {
    const token = tokenText(config[role]);
    if (token !== undefined) named[role] = token;
  }
  const listed = config.additional_special_tokens ?? config.extra_special_tokens;
  const additional = (Array.isArray(listed) ? listed : []).flatMap((token) => tokenText(token) ?? []);
  const flag = (name: string): boolean | undefined => (typeof config[name] === 'boolean' ? (config[name] as boolean) : undefined);
  return {
    named,
    additional,
    added: addedTokens(config.added_tokens_decoder),
    addBos: flag('add_bos_token'),
    addEos: flag('add_eos_token'),
  };
}

function tokenText(value: unknown): string | undefined {
  const text = typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value;
  return typeof text === 'string' && text !== '' ? text : undefined;
}

function addedTokens(value: unknown): AddedToken[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([id, token]) => {
    const content = tokenText(token);
    return content === undefined || !/^\d{1,7}$/.test(id) ? [] : [{ ...(token as object), id: Number(id), content }];
  });
}
