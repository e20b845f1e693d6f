import type { AdapterParts, AdapterSummary } from '../adapters/method.js';
import { MissingAdapterError, OptionError, PoolExhaustedError } from '../errors.js';
import type { CacheLayout } from '../models/serving_paths.js';
import { abortErrorOf, throwIfAborted, whenAborted } from '../runtime/abort_signal.js';
import { didYouMean } from '../runtime/suggest.js';
import type { AdapterPlace, AdapterPlaces, AdapterRoom } from './adapter_places.js';
import { prefixPages } from './prefix_pages.js';

/** A loaded adapter. A newer one under the same name does not change it: requests hold the version they began with. */
export interface LoadedAdapter {
  readonly name: string;
  /** Equal hashes, equal outputs. */
  readonly contentHash: string;
  readonly summary: AdapterSummary;
  /** Positions that it brings in front of the text. */
  readonly virtualTokens: number;
  /** Their keys and values as pages of the cache. */
  readonly prefixPages: readonly Uint8Array[] | undefined;
  /** Its factors in host memory, where adapters move in and out of the device's. */
  readonly parts: AdapterParts | undefined;
  /** Where it lies on the device; undefined while it is in host memory only. */
  place: AdapterPlace | undefined;
  /** Settles when `place` is filled; undefined when nothing is on the way. */
  arrival: Promise<void> | undefined;
  /** Requests that hold it, and how many of them run. */
  uses: number;
  running: number;
  /** When a request last ran with it, by a clock that only counts. */
  lastRun: number;
  /** No longer to be found by name; freed when the last request that uses it has ended. */
  retired: boolean;
}

/** An adapter with the scale that a request gives it. */
export interface AdapterUse {
  readonly adapter: LoadedAdapter;
  readonly scale: number;
}

// An adapter that is loaded when there is room for it.
interface WaitingLoad {
  readonly adapter: LoadedAdapter;
  readonly parts: AdapterParts;
  readonly room: AdapterRoom;
  /** Requests that would not fit beside it. */
  readonly blockers: Set<object>;
  placed(): void;
  refuse(error: unknown): void;
}

/** Adapters by name: loads, replaces and unloads them while requests run, and brings them to the device before they are needed. */
export class AdapterRegistry {
  /** Called when an adapter that was on the way has arrived. */
  onArrival: () => void = () => {};
  /** Called when an adapter waits for room: `placeWaiting` or `refuseWaiting` is to follow. */
  onWanted: () => void = () => {};
  /** The requests so far that can reach their full length, and could not if adapters took so many pages more. */
  blockers: (pages: number) => Set<object> = () => new Set();
  /** Adapters copied to the device, and taken off it for others, since the model was loaded. */
  readonly moves = { in: 0, out: 0 };
  private readonly byName = new Map<string, LoadedAdapter>();
  private readonly placed = new Set<LoadedAdapter>();
  private readonly waiting: WaitingLoad[] = [];
  // Adapters that are being loaded, waiting ones among them, and the pages that they take.
  private readonly coming = new Map<LoadedAdapter, number>();
  private held = 0;
  private clock = 0;

  constructor(
    private readonly places: AdapterPlaces,
    private readonly layout: CacheLayout,
    /** Factors are kept in host memory and adapters that do not run give up their place to others. */
    private readonly moving: boolean,
    /** Adapters that can be loaded at the same time, without moving. */
    private readonly most: number,
  ) {}

  names(): string[] {
    return [...this.byName.keys()];
  }

  /** Whether a request holds an adapter. */
  get inUse(): boolean {
    return this.held > 0;
  }

  /** Adapters on the device. */
  get residents(): number {
    return this.placed.size;
  }

  find(name: string): LoadedAdapter | undefined {
    return this.byName.get(name);
  }

  /** The adapter of this name. Throws MissingAdapterError that lists the loaded ones. */
  get(name: string): LoadedAdapter {
    const found = this.byName.get(name);
    if (found !== undefined) return found;
    const loaded = this.names();
    throw new MissingAdapterError(
      `no adapter named '${name}' is loaded: ${loaded.length === 0 ? 'none is' : `loaded are ${loaded.join(', ')}.${didYouMean(name, loaded)}`}`,
      { name, loaded },
    );
  }

  /**
   * Makes an adapter the one of this name; an older one stays for the requests that use it. It is copied to the device at once where there is
   * room; without moving it waits for room that requests or older versions have. Throws PoolExhaustedError, AbortError; then nothing has
   * changed.
   */
  async add(name: string, loaded: AdapterParts, signal?: AbortSignal): Promise<LoadedAdapter> {
    const parts = await this.places.prepare(loaded);
    throwIfAborted(signal);
    const { contentHash, summary, virtualTokens, prefix } = parts;
    const adapter: LoadedAdapter = {
      name,
      contentHash,
      summary,
      virtualTokens,
      prefixPages: prefix && prefixPages(prefix, this.layout),
      // Without moving the factors are in the pool for good: the copy in host memory is let go.
      parts: this.moving ? parts : undefined,
      place: undefined,
      arrival: undefined,
      uses: 0,
      running: 0,
      lastRun: this.clock,
      retired: false,
    };
    await (this.moving ? this.placeOrKeep(adapter, parts) : this.place(adapter, parts, signal));
    return adapter;
  }

  private async placeOrKeep(adapter: LoadedAdapter, parts: AdapterParts): Promise<void> {
    try {
      this.bringIn(adapter, parts, () => this.register(adapter));
    } catch (error) {
      if (!(error instanceof PoolExhaustedError)) throw error;
      // Room for it comes when others leave, unless it could not be held alone.
      this.places.roomOf(adapter.name, parts, 0);
      this.register(adapter);
    }
    await adapter.arrival;
  }

  private async place(adapter: LoadedAdapter, parts: AdapterParts, signal?: AbortSignal): Promise<void> {
    const { name } = adapter;
    const newest = this.pagesByName();
    // The version that it replaces stays until the new one is there: requests may begin with it.
    const room = this.places.roomOf(name, parts, total(newest.values()));
    if (!newest.has(name) && newest.size >= this.most)
      throw new PoolExhaustedError(`all ${this.most} adapter slots are taken: unload one, or give loadModel a larger maxAdapters`);
    const old = this.byName.get(name);
    const ahead = total(this.waiting.map((load) => load.room.pages));
    const blockers = this.blockers(ahead + room.pages - (old?.uses === 0 ? pagesAt(old) : 0));
    this.coming.set(adapter, room.pages);
    try {
      if (this.waiting.length > 0 || blockers.size > 0 || !this.tryPlace({ adapter, parts, room }))
        await this.waitForRoom({ adapter, parts, room, blockers }, signal);
      await adapter.arrival;
    } finally {
      this.coming.delete(adapter);
    }
  }

  // Pages of the adapter that each name will have.
  private pagesByName(): Map<string, number> {
    const pages = new Map([...this.byName].map(([name, adapter]) => [name, pagesAt(adapter)]));
    for (const [{ name }, own] of this.coming) pages.set(name, own);
    return pages;
  }

  private waitForRoom(wanted: Omit<WaitingLoad, 'placed' | 'refuse'>, signal: AbortSignal | undefined): Promise<void> {
    const { adapter } = wanted;
    return new Promise((resolve, reject) => {
      const letGo = whenAborted(signal, () => {
        this.waiting.splice(this.waiting.indexOf(load), 1);
        reject(abortErrorOf(signal));
      });
      const load: WaitingLoad = {
        ...wanted,
        placed: () => {
          letGo();
          // With its failure: that may come before anybody looks.
          resolve(adapter.arrival);
        },
        refuse: (error) => {
          letGo();
          reject(error);
        },
      };
      this.waiting.push(load);
      this.onWanted();
    });
  }

  // False where there is no room now.
  private tryPlace({ adapter, parts, room }: Pick<WaitingLoad, 'adapter' | 'parts' | 'room'>): boolean {
    // Looked at before: taking pages gives up cached ones.
    if (!this.places.hasSlot(room) || !this.places.hasPages(room)) return false;
    try {
      this.bringIn(adapter, parts, () => this.register(adapter));
      return true;
    } catch (error) {
      if (error instanceof PoolExhaustedError) return false;
      throw error;
    }
  }

  /** Whether adapters wait for room to be loaded. */
  get wanted(): boolean {
    return this.waiting.length > 0;
  }

  /** Whether an adapter is on the way to the device. */
  get arriving(): boolean {
    return [...this.placed].some(({ arrival }) => arrival !== undefined);
  }

  /** Pages of the pool that adapters hold. */
  get heldPages(): number {
    return total([...this.placed].map(pagesAt));
  }

  /**
   * Places adapters that wait for room, in order, when the requests that would not have fitted beside them have ended. `giveUp` is asked for
   * room for so many pages, piece by piece, until it says false; slots and rows come back when requests end.
   */
  placeWaiting(hasEnded: (request: object) => boolean, giveUp: (pages: number) => boolean): void {
    for (let load = this.waiting[0]; load !== undefined; load = this.waiting[0]) {
      for (const request of load.blockers) if (hasEnded(request)) load.blockers.delete(request);
      if (load.blockers.size > 0) return;
      try {
        if (!this.tryPlace(load)) {
          if (this.places.hasSlot(load.room) && giveUp(load.room.pages)) continue;
          return;
        }
        this.waiting.shift();
        load.placed();
      } catch (error) {
        this.waiting.shift();
        load.refuse(error);
      }
    }
  }

  /** No room will come for the adapter that waits for it longest. */
  refuseFirst(reason: unknown): void {
    this.waiting.shift()?.refuse(reason);
  }

  /** Nor for any other. */
  refuseAll(reason: unknown): void {
    for (const load of this.waiting.splice(0)) load.refuse(reason);
  }

  // From now on requests that name it get this version.
  private register(adapter: LoadedAdapter): void {
    this.retire(adapter.name);
    this.byName.set(adapter.name, adapter);
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

  /**
   * Whether a request's adapters are on the device; those that are not are sent for. `first`: the request is the next to run, and adapters that
   * only wait give up their room for it; other requests take only what nobody holds. 'full': there is no room at present.
   */
  bring(uses: readonly AdapterUse[], first: boolean): 'ready' | 'coming' | 'full' {
    let state: 'ready' | 'coming' = 'ready';
    const wanted = new Set(uses.map(({ adapter }) => adapter));
    for (const adapter of wanted) {
      if (adapter.place === undefined && !this.fetch(adapter, wanted, first)) return 'full';
      if (adapter.arrival !== undefined) state = 'coming';
    }
    return state;
  }

  /** Takes the adapter that ran longest ago off the device, of those that no request holds. False where there is none. */
  makeRoom(): boolean {
    return this.moveOut(new Set(), false);
  }

  /** A request begins to run: its adapters stay where they are until `leave`. */
  enter(uses: readonly AdapterUse[]): void {
    for (const { adapter } of uses) adapter.running++;
  }

  leave(uses: readonly AdapterUse[]): void {
    this.clock++;
    for (const { adapter } of uses) {
      adapter.running--;
      adapter.lastRun = this.clock;
    }
  }

  /** Settles when the first adapter on the way has arrived; undefined when none is. */
  nextArrival(): Promise<void> | undefined {
    const arrivals = [...this.placed].flatMap(({ arrival }) => (arrival === undefined ? [] : [arrival]));
    return arrivals.length === 0 ? undefined : Promise.race(arrivals);
  }

  // `arrived` is called before anybody is told.
  private bringIn(adapter: LoadedAdapter, parts: AdapterParts, arrived: () => void = () => {}): void {
    const { place, fill } = this.places.take(adapter.name, parts);
    this.moves.in++;
    adapter.place = place;
    this.placed.add(adapter);
    adapter.arrival = fill().then(
      () => {
        adapter.arrival = undefined;
        arrived();
        this.freeIfUnused(adapter);
        this.onArrival();
      },
      (error) => {
        adapter.arrival = undefined;
        this.giveUp(adapter);
        this.onArrival();
        throw error;
      },
    );
    // Whoever waits for it sees the error; where nobody does, the next request that needs it meets the same.
    adapter.arrival.catch(() => {});
  }

  private fetch(adapter: LoadedAdapter, wanted: ReadonlySet<LoadedAdapter>, first: boolean): boolean {
    const { parts } = adapter;
    if (parts === undefined) return false;
    for (;;) {
      try {
        this.bringIn(adapter, parts);
        return true;
      } catch (error) {
        if (!(error instanceof PoolExhaustedError)) throw error;
        if (!this.moveOut(wanted, first)) return false;
      }
    }
  }

  private moveOut(wanted: ReadonlySet<LoadedAdapter>, heldToo: boolean): boolean {
    const victim = this.leastRecent(wanted, heldToo);
    if (victim === undefined) return false;
    this.moves.out++;
    this.giveUp(victim);
    return true;
  }

  // Of those that could leave, the one that ran longest ago, held ones last.
  private leastRecent(wanted: ReadonlySet<LoadedAdapter>, heldToo: boolean): LoadedAdapter | undefined {
    let best: LoadedAdapter | undefined;
    for (const adapter of this.placed) {
      if (adapter.running > 0 || adapter.arrival !== undefined || adapter.parts === undefined || wanted.has(adapter)) continue;
      if (adapter.uses > 0 && !heldToo) continue;
      const sooner = best === undefined || (adapter.uses === 0) !== (best.uses === 0) ? adapter.uses === 0 : adapter.lastRun < best.lastRun;
      if (best === undefined || sooner) best = adapter;
    }
    return best;
  }

  private giveUp(adapter: LoadedAdapter): void {
    if (adapter.place === undefined) return;
    this.places.give(adapter.place);
    adapter.place = undefined;
    this.placed.delete(adapter);
  }

  private retire(name: string): void {
    const old = this.byName.get(name);
    if (old === undefined) return;
    this.byName.delete(name);
    old.retired = true;
    this.freeIfUnused(old);
  }

  // What is still being copied is freed when it has arrived: its pages may not be given to others before.
  private freeIfUnused(adapter: LoadedAdapter): void {
    if (adapter.retired && adapter.uses === 0 && adapter.arrival === undefined) this.giveUp(adapter);
  }
}

const total = (numbers: Iterable<number>): number => [...numbers].reduce((sum, one) => sum + one, 0);

const pagesAt = ({ place }: LoadedAdapter): number => place?.pages.length ?? 0;

/** The positions in front of a request's text, and the pages that hold their keys and values. */
export function virtualTokensOf(uses: readonly AdapterUse[]): Pick<LoadedAdapter, 'virtualTokens' | 'prefixPages'> {
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
