import { PoolExhaustedError } from '../errors.js';
import type { Device } from '../runtime/device.js';
import { type DeviceTensor, emptyTensor } from '../runtime/device_tensor.js';

/**
 * Pages of fixed bytes that caches of keys and values share with adapter factors. A page is free, held by one or more
 * owners, or idle: content that may be wanted again (a cached prefix), given up when a page is needed.
 */
export class PagePool {
  readonly memory: DeviceTensor;
  private readonly free: number[] = [];
  private readonly holders: Int32Array;
  // Idle pages in order of last use, with what to do when one is taken.
  private readonly idle = new Map<number, () => void>();

  constructor(
    readonly pageBytes: number,
    readonly pages: number,
    device?: Device,
  ) {
    this.memory = emptyTensor('u8', [pageBytes * pages], device);
    this.holders = new Int32Array(pages);
    for (let page = pages - 1; page >= 0; page--) this.free.push(page);
  }

  /** Pages that can be had now, idle ones included. */
  get available(): number {
    return this.free.length + this.idle.size;
  }

  /** Pages with at least one holder. */
  get held(): number {
    return this.pages - this.available;
  }

  /** A page for one holder, or undefined when all are held. The idle page unused for longest is given up last. */
  allocate(): number | undefined {
    let page = this.free.pop();
    if (page === undefined) {
      const oldest = this.idle.entries().next();
      if (oldest.done) return undefined;
      const [idlePage, forget] = oldest.value;
      this.idle.delete(idlePage);
      forget();
      page = idlePage;
    }
    this.holders[page] = 1;
    return page;
  }

  /** One more holder of a page that is held or idle. */
  retain(page: number): void {
    this.idle.delete(page);
    this.holders[page] = (this.holders[page] as number) + 1;
  }

  /** One holder less. With `keep`, a page without holders stays as idle content until it is needed; `keep` is called then. */
  release(page: number, keep?: () => void): void {
    const left = (this.holders[page] as number) - 1;
    this.holders[page] = left;
    if (left > 0) return;
    if (keep === undefined) this.free.push(page);
    else this.idle.set(page, keep);
  }

  /** Throws PoolExhaustedError when `pages` could not be had even from an empty pool. */
  assertPossible(pages: number, what: string): void {
    if (pages <= this.pages) return;
    const needs = `${what} needs ${pages} pages of ${this.pageBytes} bytes`;
    throw new PoolExhaustedError(`${needs}: the pool has ${this.pages}. Give loadModel a larger poolBytes`, {
      needed: pages,
      pages: this.pages,
      pageBytes: this.pageBytes,
    });
  }

  dispose(): void {
    this.memory.buffer.dispose();
  }
}
