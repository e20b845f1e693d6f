import type { StopStrings } from '../text/stop_strings.js';
import type { StreamDecoder } from '../text/stream_decoder.js';
import type { AdapterUse } from './adapter_registry.js';
import type { Sampling } from './sampling.js';

/** Why a request ended. `abort`: its signal was aborted, or its consumer left. */
export type FinishReason = 'stop' | 'length' | 'abort';

/** A token that was drawn, with its log-probability under the model's own distribution. */
export interface DrawnToken {
  /** Token id. */
  readonly token: number;
  /** Natural logarithm of its probability. */
  readonly logprob: number;
  /** Most likely tokens and their log-probabilities; empty unless asked for. */
  readonly top: readonly { token: number; logprob: number }[];
}

/** What a running request hands to its consumer. */
export interface RequestPiece {
  readonly tokens: readonly DrawnToken[];
  readonly text: string;
  readonly finishReason?: FinishReason;
}

/** What a generation and a scoring request share: a text, whose keys and values are computed from the front. */
interface SequenceState {
  /** The model's name, for messages. */
  readonly model: string;
  /** Prompt, then what was generated. */
  readonly tokens: number[];
  readonly promptLength: number;
  readonly adapters: readonly AdapterUse[];
  /** Content and scale of the adapters, and the prompt's length where positions depend on it: what cached keys and values depend on besides the tokens. */
  readonly adapterKey: string;
  /** Positions in front of the text that an adapter brings. */
  readonly virtualTokens: number;
  /** Pages of their keys and values, where those are not computed from embeddings. */
  readonly prefixPages: readonly Uint8Array[] | undefined;
  /** Positions whose keys and values are in the cache, virtual ones included. */
  computed: number;
  /** Pages in order of position. */
  pages: number[];
  fail(error: unknown): void;
}

/** A request that generates. */
export interface GenerationRequest extends SequenceState {
  readonly kind: 'generate';
  readonly sampling: Sampling & { seed: number };
  readonly stopTokens: readonly number[];
  /** Total tokens at which it ends. */
  readonly maxLength: number;
  readonly decoder: StreamDecoder | undefined;
  readonly stopStrings: StopStrings | undefined;
  /** Row of the history table, -1 while waiting. */
  slot: number;
  finished: boolean;
  /** Keys of the complete pages, for the prefix cache. */
  pageKeys: string[];
  aborted: boolean;
  deliver(piece: RequestPiece): void;
}

/** A request for the log-probability of every token given those before it. */
export interface ScoreRequest extends SequenceState {
  readonly kind: 'score';
  readonly logprobs: Float64Array;
  aborted: boolean;
  finish(): void;
  abort(): void;
}

/** Anything the scheduler runs. */
export type Sequence = GenerationRequest | ScoreRequest;

/** Positions of a request so far: virtual tokens, then its text. */
export const lengthOf = (sequence: Sequence): number => sequence.virtualTokens + sequence.tokens.length;
