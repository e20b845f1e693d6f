import { createHash } from 'node:crypto';
import { blockTokens } from '../ops/index.js';
import type { PagePool } from './page_pool.js';

/**
 * Finds pages whose keys and values a new request can use as they are. A page's key covers every token up to its end and
 * the content of the adapters (with their scales) that made it, never their names: an adapter replaced under the same
 * name, or the same prompt under another adapter, can not meet it.
 */
export class PrefixCache {
  private readonly pageOf = new Map<string, number>();
  private readonly keyOf = new Map<number, string>();
  /** Content of the weights where they are not the checkpoint's: part of every key. */
  weights = '';

  constructor(
    private readonly pool: PagePool,
    private readonly enabled = true,
  ) {}

  /**
   * Pages held that carry the longest known prefix of full blocks of `tokens`, each retained for the caller. `virtual`: positions
   * in front of them, whose content `adapters` tells.
   */
  take(tokens: readonly number[], adapters: string, virtual = 0): { pages: number[]; keys: string[] } {
    const pages: number[] = [];
    const keys: string[] = [];
    // The last token is always computed: its logits are wanted.
    const blocks = Math.floor((virtual + tokens.length - 1) / blockTokens);
    let key = this.weights + adapters;
    for (let block = 0; block < blocks; block++) {
      key = nextKey(key, tokens, block, virtual);
      const page = this.pageOf.get(key);
      if (page === undefined) break;
      this.pool.retain(page);
      pages.push(page);
      keys.push(key);
    }
    return { pages, keys };
  }

  /** Notes that `page` holds block number `keys.length` of `tokens`, complete, and returns its key. */
  note(page: number, tokens: readonly number[], adapters: string, keys: readonly string[], virtual = 0): string {
    const key = nextKey(keys.at(-1) ?? this.weights + adapters, tokens, keys.length, virtual);
    if (this.enabled && !this.pageOf.has(key) && !this.keyOf.has(page)) {
      this.pageOf.set(key, page);
      this.keyOf.set(page, key);
    }
    return key;
  }

  /** Gives a page back; a noted one stays findable while nobody needs its memory. */
  release(page: number): void {
    this.pool.release(page, this.keyOf.has(page) ? () => this.forget(page) : undefined);
  }

  private forget(page: number): void {
    const key = this.keyOf.get(page);
    if (key === undefined) return;
    this.keyOf.delete(page);
    this.pageOf.delete(key);
  }
}

function nextKey(previous: string, tokens: readonly number[], block: number, virtual: number): string {
  const at = (position: number): number => Math.max(0, position - virtual);
  const hash = createHash('sha256').update(previous);
  hash.update(Int32Array.from(tokens.slice(at(block * blockTokens), at((block + 1) * blockTokens))));
  return hash.digest('base64');
}
