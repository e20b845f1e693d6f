// Watches streamed text for stop strings, holding back only what may still become one.
import { OptionError } from '../errors.js';

/** What a push releases. */
export interface StopResult {
  /** Text that is safe to deliver. */
  text: string;
  /** The stop string that was found, if one was; nothing more is delivered after it. */
  stopped: string | undefined;
}

/** How a stop string is treated. */
export interface StopOptions {
  /** Deliver the stop string too. Default: false. */
  include?: boolean;
}

interface Node {
  next: Map<number, Node>;
  fail: Node;
  /** Characters from the root to here: how much text may still become a stop string. */
  depth: number;
  /** Longest stop string that ends here, on this path or on a suffix of it. */
  found: string | undefined;
}

/**
 * Finds the stop string that ends first; of several that end together, the longest, so that none of it is delivered.
 * An automaton over all stop strings: one transition per character, however many and long they are.
 */
export class StopStrings {
  readonly #root: Node;
  readonly #include: boolean;
  #state: Node;
  #held = '';
  #stopped: string | undefined;

  constructor(stops: readonly string[], options: StopOptions = {}) {
    this.#root = buildAutomaton(stops);
    this.#state = this.#root;
    this.#include = options.include ?? false;
  }

  /** Takes the next piece of text. */
  push(piece: string): StopResult {
    if (this.#stopped !== undefined) return { text: '', stopped: this.#stopped };
    let state = this.#state;
    for (let i = 0; i < piece.length; i++) {
      state = step(state, piece.charCodeAt(i), this.#root);
      if (state.found === undefined) continue;
      this.#stopped = state.found;
      const all = this.#held + piece.slice(0, i + 1);
      this.#held = '';
      return { text: this.#include ? all : all.slice(0, all.length - state.found.length), stopped: state.found };
    }
    this.#state = state;
    const all = this.#held + piece;
    // A lone first half of a surrogate pair waits for its other half.
    let keep = state.depth;
    if (keep < all.length && isLowSurrogate(all.charCodeAt(all.length - keep)) && isHighSurrogate(all.charCodeAt(all.length - keep - 1)))
      keep++;
    this.#held = keep === 0 ? '' : all.slice(all.length - keep);
    return { text: keep === 0 ? all : all.slice(0, all.length - keep), stopped: undefined };
  }

  /** The end of the text: what was held back turned out not to be a stop string. */
  flush(): string {
    const text = this.#held;
    this.#held = '';
    this.#state = this.#root;
    return text;
  }
}

function step(state: Node, code: number, root: Node): Node {
  for (let at = state; ; at = at.fail) {
    const next = at.next.get(code);
    if (next !== undefined) return next;
    if (at === root) return root;
  }
}

function newNode(depth: number): Node {
  const node: Node = { next: new Map(), fail: undefined as unknown as Node, depth, found: undefined };
  node.fail = node;
  return node;
}

function buildAutomaton(stops: readonly string[]): Node {
  const root = newNode(0);
  for (const stop of stops) {
    if (typeof stop !== 'string' || stop === '')
      throw new OptionError(`stop holds ${JSON.stringify(stop)}: expected non-empty strings`, { option: 'stop' });
    let node = root;
    for (let i = 0; i < stop.length; i++) {
      const code = stop.charCodeAt(i);
      let next = node.next.get(code);
      if (next === undefined) {
        next = newNode(i + 1);
        node.next.set(code, next);
      }
      node = next;
    }
    node.found = stop;
  }
  // Breadth first: a node's fail link is shallower than the node, so it is complete when it is needed.
  const order = [root];
  for (const node of order) {
    for (const [code, next] of node.next) {
      next.fail = node === root ? root : step(node.fail, code, root);
      next.found ??= next.fail.found;
      order.push(next);
    }
  }
  return root;
}

function isHighSurrogate(code: number): boolean {
  return code >= 0xd800 && code < 0xdc00;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000;
}
