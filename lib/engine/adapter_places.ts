import { compactFactors } from '../adapters/compact_factors.js';
import type { AdapterParts } from '../adapters/method.js';
import { type PagePlacement, placeAdapter } from '../adapters/placement.js';
import { roundFactors } from '../adapters/round_factors.js';
import { WorkSlices } from '../adapters/work_slices.js';
import { PoolExhaustedError } from '../errors.js';
import { binding } from '../runtime/binding.js';
import { type DeviceTensor, writeBytes } from '../runtime/device_tensor.js';
import type { PagePool } from './page_pool.js';

/** Where an adapter lies in the device's memory. */
export interface AdapterPlace {
  readonly slot: number;
  /** What it holds of the pool and of the row table. */
  readonly pages: readonly number[];
  readonly firstRow: number;
  readonly rowCount: number;
}

/** What an adapter takes besides a slot: pages of the pool, rows of the row table. */
export interface AdapterRoom {
  readonly pages: number;
  readonly rows: number;
}

/** Room for adapters on the device: slots of the entries table, ranges of the row table, pages of the pool. */
export class AdapterPlaces {
  private readonly freeSlots: number[] = [];
  private readonly freeRows: { first: number; count: number }[];

  constructor(
    private readonly pool: PagePool,
    private readonly entries: DeviceTensor,
    private readonly rows: DeviceTensor,
    /** Rows lie as the processor's kernels read them fastest. */
    private readonly onProcessor: boolean,
    /** 'bf16': factors of more bits are rounded. */
    private readonly dtype: 'stored' | 'bf16' = 'stored',
  ) {
    for (let slot = this.slots - 1; slot >= 0; slot--) this.freeSlots.push(slot);
    this.freeRows = [{ first: 0, count: rows.dims[0] as number }];
  }

  get slots(): number {
    return this.entries.dims[0] as number;
  }

  /** The adapter with its factors as this device keeps them, for `take` and `roomOf`. */
  async prepare(loaded: AdapterParts): Promise<AdapterParts> {
    const parts = this.dtype === 'stored' ? loaded : await roundFactors(loaded);
    return this.onProcessor && binding().compactPays() ? await compactFactors(parts, this.pool.pageBytes) : parts;
  }

  /** Takes room for an adapter and says how to fill it. Throws PoolExhaustedError with nothing taken. */
  take(name: string, parts: AdapterParts): { place: AdapterPlace; fill(): Promise<void> } {
    const slot = this.freeSlots.pop();
    if (slot === undefined)
      throw new PoolExhaustedError(`all ${this.slots} adapter slots are taken: unload one, or give loadModel a larger maxAdapters`);
    let placement: PagePlacement;
    try {
      const table = { slot, sites: this.entries.dims[1] as number, takeRows: (count: number) => this.takeRows(count, name) };
      placement = placeAdapter(parts, this.pool, table, this.onProcessor);
    } catch (error) {
      this.freeSlots.push(slot);
      throw error;
    }
    const { pages, firstRow, rows } = placement;
    return { place: { slot, pages, firstRow, rowCount: rows.length }, fill: () => this.fill(slot, placement) };
  }

  give({ slot, pages, firstRow, rowCount }: AdapterPlace): void {
    for (const page of pages) this.pool.release(page);
    this.giveRows(firstRow, rowCount);
    this.freeSlots.push(slot);
  }

  /** Whether the pool has so many pages now. */
  hasPages({ pages }: AdapterRoom): boolean {
    return pages <= this.pool.available;
  }

  /** Whether there is a slot, and rows of the table. */
  hasSlot({ rows }: AdapterRoom): boolean {
    return this.freeSlots.length > 0 && this.freeRows.some(({ count }) => count >= rows);
  }

  /** What the adapter takes. Throws PoolExhaustedError where the pool could not hold it with nothing but `others`, pages of other adapters. */
  roomOf(name: string, parts: AdapterParts, others: number): AdapterRoom {
    let pages = 0;
    const counting = { pageBytes: this.pool.pageBytes, allocate: () => pages++, release: () => {} };
    const table = { slot: 0, sites: this.entries.dims[1] as number, takeRows: () => 0 };
    const { rows } = placeAdapter(parts, counting, table, this.onProcessor);
    this.pool.assertPossible(others + pages, `the adapter '${name}'${others > 0 ? ` beside ${others} pages of loaded adapters` : ''}`);
    return { pages, rows: rows.length };
  }

  // Page by page: a page's bytes are put together when they are asked for, and the event loop runs in between. No request reads the
  // place before it is filled, so a device copies beside the step that is under way.
  private async fill(slot: number, placement: PagePlacement): Promise<void> {
    const slices = new WorkSlices();
    for (const { offset, bytes } of placement.writes) {
      await writeBytes(this.pool.memory, offset, bytes, 'beside');
      await slices.pause(bytes.byteLength);
    }
    await writeBytes(this.rows, placement.firstRow * 4, placement.rows, 'beside');
    await writeBytes(this.entries, slot * placement.entries.byteLength, placement.entries, 'beside');
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
