import type { HuggingFaceFolder } from '../checkpoint/hugging_face_folder.js';
import type { ModelConfig, RopeSettings } from '../checkpoint/model_config.js';
import { DisposedError, OptionError } from '../errors.js';
import type { Site } from '../models/model_builder.js';
import type { WeightStore } from '../models/weight_store.js';
import { abortErrorOf, throwIfAborted, whenAborted } from '../runtime/abort_signal.js';
import type { Device } from '../runtime/device.js';
import { parseOptions } from '../runtime/parse_options.js';
import type { Program } from '../runtime/program.js';
import type { ChatTemplate } from '../text/chat_template.js';
import { StopStrings } from '../text/stop_strings.js';
import type { Tokenizer } from '../text/tokenizer.js';
import { type AdapterRegistry, type AdapterUse, adapterKey, virtualTokensOf } from './adapter_registry.js';
import { type AdapterLoader, ModelAdapters } from './adapters.js';
import {
  adapterList,
  type CallOptions,
  callSchema,
  type GenerateRequest,
  generateSchema,
  type ScoreRequestOptions,
  scoreSchema,
} from './generate_options.js';
import { MergeBoundary } from './merge_boundary.js';
import type { WeightMerger } from './merged_adapter.js';
import type { ModelGraphs, ModelState, StepLimits } from './model_programs.js';
import { nonFinite } from './non_finite.js';
import type { PagePool } from './page_pool.js';
import { PrefixCache } from './prefix_cache.js';
import { PromptReader } from './prompt_reader.js';
import type { DrawnToken, FinishReason, GenerationRequest, RequestPiece, ScoreRequest } from './request.js';
import { randomSeed } from './sampling.js';
import { Scheduler, type SchedulerStats } from './scheduler.js';
import { Stream } from './stream.js';

/** A part of an answer as it is made. The last one has a finish reason. */
export type GeneratedPiece = RequestPiece;

/** A finished answer. */
export interface Completion {
  /** The answer, without the stop string that ended it. */
  readonly text: string;
  /** Ids of the tokens drawn, the one that ended the answer included. */
  readonly tokens: readonly number[];
  /** Every token with its log-probability, and the most likely others where `topLogprobs` asked for them. */
  readonly logprobs: readonly DrawnToken[];
  /** Why it ended. */
  readonly finishReason: FinishReason;
  /** Length of the prompt in tokens. */
  readonly promptTokens: number;
}

/** Log-probabilities of a text. */
export interface Score {
  /** The ids that were scored. */
  readonly tokens: readonly number[];
  /** Natural logarithm of each token's probability given those before it; the first is null. */
  readonly logprobs: readonly (number | null)[];
  /** Tokens that were predicted: all but the first. */
  readonly count: number;
  /** Sum of the negative log-probabilities. */
  readonly nll: number;
  /** e to the mean negative log-probability; 1 where no token was predicted. */
  readonly perplexity: number;
}

/** Memory of a model, in bytes. */
export interface ModelMemory {
  /** Weights as they lie in native memory, padding included. */
  readonly weights: number;
  /** The pages that keys, values and adapters share. */
  readonly pool: { readonly bytes: number; readonly pages: number; readonly heldPages: number; readonly pageBytes: number };
  /** Intermediates and scratch memory of the compiled programs. */
  readonly programs: number;
  /** Adapters that are loaded, those of them on the device, and how many copies went there and gave up their place so far. */
  readonly adapters: { readonly loaded: number; readonly resident: number; readonly movedIn: number; readonly movedOut: number };
}

/** What `loadModel` puts together. */
export interface ModelParts {
  readonly device: Device;
  readonly folder: HuggingFaceFolder;
  readonly config: ModelConfig;
  readonly tokenizer: Tokenizer | undefined;
  readonly chatTemplate: ChatTemplate | undefined;
  readonly weights: WeightStore;
  readonly sites: readonly Site[];
  readonly graphs: ModelGraphs;
  readonly pool: PagePool;
  readonly state: ModelState;
  readonly limits: StepLimits;
  readonly registry: AdapterRegistry;
  readonly loader: AdapterLoader;
  readonly merger: WeightMerger;
  readonly contextLength: number;
  readonly prefixCache: boolean;
}

// HEDDLE_DECODE_PADDING=0 or 1 decides for any device, to tell whether something depends on it.
const padsDecodeSteps = ({ ordinal }: Device): boolean =>
  (process.env.HEDDLE_DECODE_PADDING ?? (ordinal === undefined ? '0' : '1')) === '1';

// Programs are compiled when they are first wanted, once each.
class ProgramCache {
  readonly compiled: Program[] = [];
  private closed = false;
  private readonly wanted = new Map<string, Promise<Program>>();

  get(name: string, compile: () => Promise<Program>): Promise<Program> {
    let program = this.wanted.get(name);
    if (program === undefined) {
      program = compile().then(
        (done) => {
          if (this.closed) done.dispose();
          else this.compiled.push(done);
          return done;
        },
        (error) => {
          // Memory that lacks now may be free later.
          this.wanted.delete(name);
          throw error;
        },
      );
      this.wanted.set(name, program);
    }
    return program;
  }

  dispose(): void {
    this.closed = true;
    for (const program of this.compiled.splice(0)) program.dispose();
  }
}

/** A loaded model: one base, any number of adapters, requests of all of them in shared steps. Made by `loadModel`. */
export class Model {
  /** Adapters by name: load, replace, list, unload, while requests run. */
  readonly adapters: ModelAdapters;
  private readonly scheduler: Scheduler;
  private readonly merging: MergeBoundary;
  private readonly reader: PromptReader;
  private readonly programs = new ProgramCache();
  private ended = false;

  /** @internal */
  constructor(private readonly parts: ModelParts) {
    this.reader = new PromptReader({ ...parts, name: parts.folder.name, vocabularySize: parts.config.vocabularySize });
    const prefixes = new PrefixCache(parts.pool, parts.prefixCache);
    this.scheduler = new Scheduler({
      limits: parts.limits,
      state: parts.state,
      pool: parts.pool,
      prefixes,
      adapters: parts.registry,
      padsDecodeSteps: padsDecodeSteps(parts.device),
      generation: () => this.programs.get('generation', () => parts.graphs.generation(parts.state)),
      scoring: () => this.programs.get('scoring', () => parts.graphs.scoring(parts.state)),
    });
    this.merging = new MergeBoundary(parts.folder.name, parts.merger, this.scheduler, prefixes, parts.registry);
    this.adapters = new ModelAdapters(parts.registry, parts.loader, this.merging, () => this.assertUsable());
  }

  /** config.json with one spelling of every setting. */
  get config(): ModelConfig {
    return this.parts.config;
  }

  /** What it runs on; `reason` says why 'auto' took no CUDA device. */
  get device(): Device {
    return this.parts.device;
  }

  /** The folder's name, for messages and lists. */
  get name(): string {
    return this.parts.folder.name;
  }

  /** Undefined when the folder has no tokenizer: requests then give token ids. */
  get tokenizer(): Tokenizer | undefined {
    return this.parts.tokenizer;
  }

  /** Tokens of a request at most. */
  get contextLength(): number {
    return this.parts.contextLength;
  }

  /**
   * Continues a text, piece by piece. Leaving the loop ends the request. Throws OptionError, MissingAdapterError, PromptTooLongError,
   * PoolExhaustedError where it can never run, NonFiniteError where the model gives no numbers, DisposedError, and AbortError when `signal`
   * is aborted.
   */
  generate(request: GenerateRequest, options: CallOptions = {}): AsyncGenerator<GeneratedPiece, void, undefined> {
    return this.stream(request, options);
  }

  /** Continues a text and gives the whole answer. Throws as `generate` does. */
  async complete(request: GenerateRequest, options: CallOptions = {}): Promise<Completion> {
    let text = '';
    let finishReason: FinishReason = 'abort';
    const logprobs: DrawnToken[] = [];
    let promptTokens = 0;
    const pieces = this.stream(request, options, (sequence) => {
      promptTokens = sequence.promptLength;
    });
    for await (const piece of pieces) {
      text += piece.text;
      logprobs.push(...piece.tokens);
      finishReason = piece.finishReason ?? finishReason;
    }
    return { text, tokens: logprobs.map((t) => t.token), logprobs, finishReason, promptTokens };
  }

  /** Answers many requests in shared steps, in the order given. One that fails ends and rejects them all. */
  async generateBatch(requests: readonly GenerateRequest[], options: CallOptions = {}): Promise<Completion[]> {
    const { signal } = parseOptions(callSchema, options, 'generateBatch');
    if (!Array.isArray(requests)) throw new OptionError(`generateBatch: requests is of type ${typeof requests}: expected an array`);
    const ended = new AbortController();
    const end = (): void => ended.abort(signal?.reason);
    if (signal?.aborted) end();
    const letGo = whenAborted(signal, end);
    try {
      return await Promise.all(requests.map((request) => this.complete(request, { signal: ended.signal })));
    } catch (error) {
      ended.abort(error);
      throw error;
    } finally {
      letGo();
    }
  }

  /** The natural log-probability of every token of a text given those before it. Throws as `generate` does. */
  async score(request: ScoreRequestOptions, options: CallOptions = {}): Promise<Score> {
    this.assertUsable();
    const { signal } = parseOptions(callSchema, options, 'score');
    throwIfAborted(signal);
    const parsed = parseOptions(scoreSchema, request, 'score');
    if ((parsed.text === undefined) === (parsed.tokens === undefined)) throw new OptionError('score: expected one of text and tokens');
    const reading = { signal, most: this.parts.contextLength };
    const tokens = parsed.tokens ? this.reader.tokens(parsed.tokens, reading) : await this.reader.text(parsed.text as string, reading);
    this.assertUsable();
    if (tokens.length === 0) throw new OptionError('the text is empty: expected at least one token');
    const adapters = this.acquire(adapterList(parsed.adapter));
    const { virtualTokens, prefixPages } = this.expectRoom(adapters, tokens.length, this.parts.contextLength);
    const logprobs = new Float64Array(tokens.length);
    let forget = (): void => {};
    try {
      await new Promise<void>((resolve, reject) => {
        const sequence: ScoreRequest = {
          kind: 'score',
          model: this.name,
          tokens,
          promptLength: tokens.length,
          adapters,
          adapterKey: adapterKey(adapters),
          virtualTokens,
          prefixPages,
          computed: 0,
          pages: [],
          aborted: false,
          logprobs,
          finish: () => {
            const broken = logprobs.findIndex((value) => !Number.isFinite(value));
            if (broken < 0) resolve();
            else reject(nonFinite(sequence, broken));
          },
          fail: reject,
          abort: () => reject(abortErrorOf(signal)),
        };
        forget = this.submit(sequence, signal);
      });
    } finally {
      forget();
    }
    let nll = 0;
    for (let i = 1; i < logprobs.length; i++) nll -= logprobs[i] as number;
    const count = tokens.length - 1;
    return {
      tokens,
      logprobs: Array.from(logprobs, (value, i) => (i === 0 ? null : value)),
      count,
      nll,
      perplexity: Math.exp(nll / Math.max(1, count)),
    };
  }

  /** Token ids of a request's prompt, as it would be run, however many they are. */
  async promptTokens(request: GenerateRequest): Promise<number[]> {
    this.assertUsable();
    return this.reader.prompt(parseOptions(generateSchema, request, 'generate'), {});
  }

  /** Counters since the model was loaded. */
  stats(): Readonly<SchedulerStats> & { runningRequests: number; waitingRequests: number } {
    return { ...this.scheduler.stats, runningRequests: this.scheduler.runningRequests, waitingRequests: this.scheduler.waitingRequests };
  }

  /** Time by op, from when `setProfiling(true)` was called. */
  profile(): { op: string; calls: number; nanoseconds: number }[] {
    return this.programs.compiled.flatMap((program) => program.profile());
  }

  /** Collects time by op in the generation program. */
  async setProfiling(on: boolean): Promise<void> {
    this.assertUsable();
    const program = await this.programs.get('generation', () => this.parts.graphs.generation(this.parts.state));
    program.setProfiling(on);
  }

  /** What the model holds in native memory, in bytes. Throws DisposedError after `dispose()`. */
  memory(): ModelMemory {
    this.assertUsable();
    const { pool, weights, registry } = this.parts;
    const programs = this.programs.compiled.reduce((sum, p) => sum + p.memory.arenaBytes + p.memory.workspaceBytes, 0);
    return {
      weights: [...weights.requests.values()].reduce((sum, r) => sum + r.tensor.buffer.heldBytes, 0),
      pool: { bytes: pool.pages * pool.pageBytes, pages: pool.pages, heldPages: pool.held, pageBytes: pool.pageBytes },
      programs,
      adapters: {
        loaded: registry.names().length,
        resident: registry.residents,
        movedIn: registry.moves.in,
        movedOut: registry.moves.out,
      },
    };
  }

  /** Whether `dispose()` was called. */
  get disposed(): boolean {
    return this.ended;
  }

  /** Ends all requests with DisposedError and frees the memory. A step under way finishes first. */
  dispose(): void {
    if (this.ended) return;
    this.ended = true;
    const { parts } = this;
    this.scheduler.close(new DisposedError(`${this.name} was disposed while a request ran`));
    this.programs.dispose();
    for (const tensor of Object.values(parts.state) as { buffer: { dispose(): void } }[]) tensor.buffer.dispose();
    parts.weights.dispose();
    parts.graphs.dispose();
    parts.tokenizer?.dispose();
    parts.folder.dispose();
  }

  /** Same as `dispose()`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  private stream(
    request: GenerateRequest,
    options: CallOptions,
    started: (sequence: GenerationRequest) => void = () => {},
  ): Stream<GeneratedPiece> {
    return new Stream(async (stream) => {
      const { signal } = parseOptions(callSchema, options, 'generate');
      const sequence = await this.prepare(request, stream, signal);
      started(sequence);
      return { leave: () => this.stop(sequence), close: this.submit(sequence, signal) };
    });
  }

  // Gives what lets go of the signal. The signal may have been aborted while the prompt was read.
  private submit(sequence: GenerationRequest | ScoreRequest, signal: AbortSignal | undefined): () => void {
    try {
      throwIfAborted(signal);
      this.scheduler.submit(sequence);
    } catch (error) {
      this.parts.registry.release(sequence.adapters);
      throw error;
    }
    return whenAborted(signal, () => this.stop(sequence));
  }

  private stop(sequence: GenerationRequest | ScoreRequest): void {
    sequence.aborted = true;
    this.scheduler.poke();
  }

  private async prepare(request: GenerateRequest, stream: Stream<GeneratedPiece>, signal?: AbortSignal): Promise<GenerationRequest> {
    this.assertUsable();
    throwIfAborted(signal);
    const parsed = parseOptions(generateSchema, request, 'generate');
    this.reader.check(parsed.stopTokens, 'stopTokens');
    this.reader.check(Object.keys(parsed.logitBias).map(Number), 'logitBias');
    const { contextLength, tokenizer, config } = this.parts;
    const tokens = await this.reader.prompt(parsed, { signal, most: contextLength - 1 });
    this.assertUsable();
    if (tokens.length === 0) throw new OptionError('the prompt is empty: expected at least one token');
    const stop = typeof parsed.stop === 'string' ? [parsed.stop] : parsed.stop;
    if (stop.length > 0 && tokenizer === undefined)
      throw new OptionError(`${this.name} has no tokenizer: stop strings cannot be seen, give stopTokens`);
    const adapters = this.acquire(adapterList(parsed.adapter));
    const { virtualTokens, prefixPages } = this.expectRoom(adapters, tokens.length, contextLength - 1);
    return {
      kind: 'generate',
      model: this.name,
      tokens,
      promptLength: tokens.length,
      adapters,
      adapterKey: adapterKey(adapters) + lengthKey(config.rope, virtualTokens + tokens.length),
      virtualTokens,
      prefixPages,
      computed: 0,
      pages: [],
      sampling: { ...parsed, seed: parsed.seed ?? randomSeed() },
      stopTokens: [...new Set([...(parsed.ignoreEos ? [] : config.eosTokenIds), ...parsed.stopTokens])],
      maxLength: Math.min(contextLength - virtualTokens, tokens.length + (parsed.maxTokens ?? contextLength)),
      decoder: tokenizer?.streamDecoder({ after: tokens }),
      stopStrings: stop.length > 0 ? new StopStrings(stop) : undefined,
      slot: -1,
      pageKeys: [],
      aborted: false,
      finished: false,
      deliver: (piece) => {
        if (piece.finishReason === 'abort' && signal?.aborted) return stream.fail(abortErrorOf(signal));
        stream.push(piece);
        if (piece.finishReason !== undefined) stream.end();
      },
      fail: (error) => stream.fail(error),
    };
  }

  private acquire(wanted: readonly { name: string; scale: number }[]): AdapterUse[] {
    this.merging.assertFree(wanted);
    return this.parts.registry.acquire(wanted, this.parts.limits.maxAdaptersPerRequest);
  }

  // What an adapter puts in front of the text takes room of the context.
  private expectRoom(adapters: readonly AdapterUse[], actual: number, most: number): ReturnType<typeof virtualTokensOf> {
    const virtual = virtualTokensOf(adapters);
    const expected = most - virtual.virtualTokens;
    if (actual <= expected) return virtual;
    this.parts.registry.release(adapters);
    throw this.reader.tooLong({ actual, expected, virtualTokens: virtual.virtualTokens });
  }

  private assertUsable(): void {
    if (this.ended) throw new DisposedError(`${this.name} was used after dispose()`);
  }
}

// Under these position schemes the keys of a long prompt depend on its length too.
function lengthKey(rope: RopeSettings, length: number): string {
  if ((rope.type !== 'dynamic' && rope.type !== 'longrope') || length <= rope.originalMaxPositions) return '';
  return rope.type === 'dynamic' ? ` of ${length}` : ' long';
}
