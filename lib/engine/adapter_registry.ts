import type { AdapterParts, AdapterSummary } from '../adapters/method.js';
import { type PagePlacement, placeAdapter } from '../adapters/placement.js';
import { MissingAdapterError, OptionError, PoolExhaustedError } from '../errors.js';
import type { CacheLayout } from '../models/serving_paths.js';
import { type DeviceTensor, writeBytes } from '../runtime/device_tensor.js';
import type { PagePool } from './page_pool.js';
import { prefixPages } from './prefix_pages.js';

/** An adapter in native memory. A newer one under the same name does not change it: requests hold the version they began with. */
export interface ResidentAdapter {
  readonly name: string;
  readonly slot: number;
  /** Equal hashes, equal outputs. */
  readonly contentHash: string;
  readonly summary: AdapterSummary;
  /** What it holds of the pool and of the row table. */
  readonly pages: readonly number[];
  readonly firstRow: number;
  readonly rowCount: number;
  /** Positions that it brings in front of the text. */
  readonly virtualTokens: number;
  /** Their keys and values as pages of the cache. */
  readonly prefixPages: readonly Uint8Array[] | undefined;
  /** Requests that use it. */
  uses: number;
  /** No longer to be found by name; freed when the last request that uses it has ended. */
  retired: boolean;
}

/** An adapter with the scale that a request gives it. */
export interface AdapterUse {
  readonly adapter: ResidentAdapter;
  readonly scale: number;
}

/** Adapters by name: loads, replaces and unloads them while requests run. */
export class AdapterRegistry {
  private readonly byName = new Map<string, ResidentAdapter>();
  private held = 0;
  private readonly freeSlots: number[] = [];
  private readonly freeRows: { first: number; count: number }[];

  constructor(
    private readonly pool: PagePool,
    private readonly entries: DeviceTensor,
    private readonly rows: DeviceTensor,
    private readonly layout: CacheLayout,
  ) {
    for (let slot = (entries.dims[0] as number) - 1; slot >= 0; slot--) this.freeSlots.push(slot);
    this.freeRows = [{ first: 0, count: rows.dims[0] as number }];
  }

  names(): string[] {
    return [...this.byName.keys()];
  }

  /** Whether a request holds an adapter. */
  get inUse(): boolean {
    return this.held > 0;
  }

  find(name: string): ResidentAdapter | undefined {
    return this.byName.get(name);
  }

  /** The adapter of this name. Throws MissingAdapterError that lists the loaded ones. */
  get(name: string): ResidentAdapter {
    const found = this.byName.get(name);
    if (found !== undefined) return found;
    const loaded = this.names();
    throw new MissingAdapterError(
      `no adapter named '${name}' is loaded: ${loaded.length === 0 ? 'none is' : `loaded are ${loaded.join(', ')}`}`,
      { name, loaded },
    );
  }

  /** Copies an adapter into the pool and makes it the one of this name; an older one stays for the requests that use it. */
  async add(name: string, parts: AdapterParts): Promise<ResidentAdapter> {
    const slot = this.freeSlots.pop();
    if (slot === undefined)
      throw new PoolExhaustedError(
        `all ${this.entries.dims[0]} adapter slots are taken: unload one, or give loadModel a larger maxAdapters`,
      );
    let placement: PagePlacement;
    try {
      placement = placeAdapter(parts, this.pool, {
        slot,
        sites: this.entries.dims[1] as number,
        takeRows: (count) => this.takeRows(count, name),
      });
    } catch (error) {
      this.freeSlots.push(slot);
      throw error;
    }
    try {
      await this.write(slot, placement);
    } catch (error) {
      this.free(slot, placement.pages, placement.firstRow, placement.rows.length);
      throw error;
    }
    // The factors are in the pool now: the copy in host memory is let go.
    const { pages, firstRow } = placement;
    const { contentHash, summary, virtualTokens, prefix } = parts;
    const adapter: ResidentAdapter = {
      name,
      slot,
      contentHash,
      summary,
      pages,
      firstRow,
      rowCount: placement.rows.length,
      virtualTokens,
      prefixPages: prefix && prefixPages(prefix, this.layout),
      uses: 0,
      retired: false,
    };
    this.retire(name);
    this.byName.set(name, adapter);
    return adapter;
  }

  /** Takes the name away at once, the memory when no request uses it. Throws MissingAdapterError. */
  remove(name: string): void {
    this.get(name);
    this.retire(name);
  }

  /** Resolves what a request names into versions that it holds until `release`. */
  acquire(wanted: readonly { name: string; scale: number }[], limit: number): AdapterUse[] {
    if (wanted.length > limit)
      throw new OptionError(`a request names ${wanted.length} adapters: at most ${limit} are possible, see maxAdaptersPerRequest`, {
        actual: wanted.length,
        expected: limit,
      });
    const uses = wanted.map(({ name, scale }) => ({ adapter: this.get(name), scale }));
    expectOnePrompt(uses);
    for (const { adapter } of uses) adapter.uses++;
    this.held += uses.length;
    return uses;
  }

  release(uses: readonly AdapterUse[]): void {
    this.held -= uses.length;
    for (const { adapter } of uses) {
      adapter.uses--;
      this.freeIfUnused(adapter);
    }
  }

  private retire(name: string): void {
    const old = this.byName.get(name);
    if (old === undefined) return;
    this.byName.delete(name);
    old.retired = true;
    this.freeIfUnused(old);
  }

  private freeIfUnused(adapter: ResidentAdapter): void {
    if (!adapter.retired || adapter.uses > 0) return;
    this.free(adapter.slot, adapter.pages, adapter.firstRow, adapter.rowCount);
  }

  private async write(slot: number, placement: PagePlacement): Promise<void> {
    // Page by page: a page's bytes are put together when they are asked for, and the event loop runs in between.
    for (const page of placement.writes) await writeBytes(this.pool.memory, page.offset, page.bytes);
    await writeBytes(this.rows, placement.firstRow * 4, placement.rows);
    await writeBytes(this.entries, slot * placement.entries.byteLength, placement.entries);
  }

  private free(slot: number, pages: readonly number[], firstRow: number, rowCount: number): void {
    for (const page of pages) this.pool.release(page);
    this.giveRows(firstRow, rowCount);
    this.freeSlots.push(slot);
  }

  private takeRows(count: number, name: string): number {
    const gap = this.freeRows.find((range) => range.count >= count);
    if (gap === undefined)
      throw new PoolExhaustedError(`the table of adapter rows has no room for the ${count} rows of '${name}'`, { needed: count });
    const { first } = gap;
    gap.first += count;
    gap.count -= count;
    return first;
  }

  private giveRows(first: number, count: number): void {
    const after = this.freeRows.findIndex((range) => range.first >= first);
    this.freeRows.splice(after < 0 ? this.freeRows.length : after, 0, { first, count });
    for (let i = this.freeRows.length - 1; i > 0; i--) {
      const left = this.freeRows[i - 1] as { first: number; count: number };
      const right = this.freeRows[i] as { first: number; count: number };
      if (left.first + left.count !== right.first) continue;
      left.count += right.count;
      this.freeRows.splice(i, 1);
    }
  }
}

/** The positions in front of a request's text, and the pages that hold their keys and values. */
export function virtualTokensOf(uses: readonly AdapterUse[]): Pick<ResidentAdapter, 'virtualTokens' | 'prefixPages'> {
  return uses.find(({ adapter }) => adapter.virtualTokens > 0)?.adapter ?? { virtualTokens: 0, prefixPages: undefined };
}

// What stands in front of a text has one order and no half strength.
function expectOnePrompt(uses: readonly AdapterUse[]): void {
  const prompts = uses.filter(({ adapter }) => adapter.virtualTokens > 0);
  const [first, second] = prompts;
  const kindOf = ({ adapter }: AdapterUse): string => `'${adapter.name}' (${adapter.summary.kind})`;
  if (first !== undefined && second !== undefined)
    throw new OptionError(`${kindOf(first)} and ${kindOf(second)} both bring tokens in front of the text: a request can have one of them`, {
      adapters: prompts.map(({ adapter }) => adapter.name),
    });
  if (first !== undefined && first.scale !== 1)
    throw new OptionError(`${kindOf(first)} brings tokens in front of the text, which have no scale: got ${first.scale}, expected 1`, {
      actual: first.scale,
      expected: 1,
    });
}

/** What keys and values depend on besides the tokens: content and scale of the adapters, in order. */
export function adapterKey(uses: readonly AdapterUse[]): string {
  return uses.map(({ adapter, scale }) => `${adapter.contentHash}*${scale}`).join('+');
}
