import { AdapterError, PoolExhaustedError } from '../errors.js';
import { opTable } from '../generated/op_table.js';
import type { Activation } from '../ops/index.js';
import { dtypeCode } from '../runtime/dtype.js';
import type { AdapterParts, RowBlock, SiteParts } from './method.js';

// As in native/kernels/grouped_lora/grouped_lora_layout.h.
const rowUnit = 64;
const embeddingPiece = 4096;
const entryColumns = 8;
export const groupRows = 16;
const inGroups = 256;
const compactRows = 512;
const entryKinds = { lowRank: 1, dense: 2, parallel: 3, series: 4 } as const;
const activations: readonly Activation[] = opTable.activate.attrs.function;

/** Where pages come from: the engine's page pool. */
export interface PageAllocator {
  readonly pageBytes: number;
  allocate(): number | undefined;
  release(page: number): void;
}

/** Where an adapter's table entries go. */
export interface TablePlace {
  readonly slot: number;
  /** Sites of the model. */
  readonly sites: number;
  /** Takes this many consecutive rows of the row table and gives the first. */
  takeRows(count: number): number;
}

/** Bytes for the page pool. */
export interface PageWrite {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Where an adapter lies, and what must be written to have it there. */
export interface PagePlacement {
  readonly pages: readonly number[];
  readonly firstRow: number;
  /** For the row table, from firstRow: addresses of rows, or of groups of rows, in the pool in units of 64 bytes. */
  readonly rows: Int32Array;
  /** The slot's line of the entries table, sites × 8. */
  readonly entries: Int32Array;
  /** For the pool: one write per page, whose bytes are put together when they are asked for. */
  readonly writes: readonly PageWrite[];
}

/**
 * Lays an adapter's rows into pages, none across a border. `grouped`: the rows of B of linear layers lie in groups whose pieces of 64 bytes
 * alternate, the order in which a processor reads them, where such a group fills at most half a page. Throws with everything given
 * back when pages or table rows run out.
 */
export function placeAdapter(parts: AdapterParts, pool: PageAllocator, table: TablePlace, grouped = false): PagePlacement {
  const packer = new RowPacker(pool);
  try {
    const entries = new Int32Array(table.sites * entryColumns);
    const indexes: { at: number; index: number }[] = [];
    for (const site of parts.sites.values()) {
      if (!(site.number >= 0 && site.number < table.sites))
        throw new AdapterError(`${site.path} has site number ${site.number}, expected 0 to ${table.sites - 1}`, { module: site.path });
      placeSite(site, packer, entries, indexes, grouped && canBeGrouped(site, pool.pageBytes));
    }
    const firstRow = table.takeRows(packer.addresses.length);
    // Entries name rows of the table, which was not known to have room before.
    for (const { at, index } of indexes) entries[at] = firstRow + index;
    return {
      pages: packer.pages.map(({ page }) => page),
      firstRow,
      rows: Int32Array.from(packer.addresses),
      entries,
      writes: packer.pages,
    };
  } catch (error) {
    packer.giveBack();
    throw error;
  }
}

/** Bytes that rows of so many take: what lies in the pool begins at multiples of 64. */
export const wholeUnits = (bytes: number): number => Math.ceil(bytes / rowUnit) * rowUnit;

// Larger groups would leave much of a page unused.
function canBeGrouped({ site, kind, rank, a, bT }: SiteParts, pageBytes: number): boolean {
  if (site !== 'linear' || kind === 'dense' || rank === 0 || bT === undefined || a.groups !== undefined) return false;
  return Math.min(rank, groupRows) * wholeUnits(bT.width * bT.data.BYTES_PER_ELEMENT) <= pageBytes / 2;
}

function placeSite(
  site: SiteParts,
  packer: RowPacker,
  entries: Int32Array,
  indexes: { at: number; index: number }[],
  grouped: boolean,
): void {
  const at = site.number * entryColumns;
  const keep = (column: number, index: number): number => indexes.push({ at: at + column, index });
  const place = (column: number, block: RowBlock | undefined, piece = 0): void => {
    if (block === undefined) entries[at + column] = -1;
    else keep(column, packer.add(block, site.path, piece));
  };
  const vector = (data: Float32Array | undefined): RowBlock | undefined => data && { dtype: 'f32', count: 1, width: data.length, data };
  const rowsLie = site.a.groups !== undefined ? compactRows : grouped ? inGroups : 0;
  entries.set([entryKinds[site.kind], dtypeCode[site.dtype] + rowsLie, site.rank], at);
  place(3, site.a, site.site === 'embedding' && site.kind === 'lowRank' ? embeddingPiece : 0);
  if (site.bT !== undefined) {
    if (grouped) keep(4, packer.addGroups(site.bT, site.path));
    else place(4, site.bT);
  }
  if (site.activation === undefined) place(5, vector(site.gain));
  else entries[at + 5] = activations.indexOf(site.activation);
  place(6, vector(site.shift));
  entries[at + 7] = new Int32Array(Float32Array.of(site.scale).buffer)[0] as number;
}

/** What lies at one address: some rows of one width, their pieces of 64 bytes in turns; or the bytes of a compact group, as one row. */
interface PlacedRows {
  readonly data: Float32Array | Uint16Array | Uint8Array;
  readonly count: number;
}

const placedBytes = ({ data, count }: PlacedRows): number => count * wholeUnits(data.byteLength / count);

function writeRows({ data, count }: PlacedRows, bytes: Uint8Array, at: number): void {
  if (count === 1) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    return;
  }
  const into = data instanceof Float32Array ? new Float32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
  const piece = rowUnit / data.BYTES_PER_ELEMENT;
  const width = data.length / count;
  for (let row = 0; row < count; row++) {
    let to = at / data.BYTES_PER_ELEMENT + row * piece;
    for (let from = 0; from < width; from += piece, to += count * piece) {
      const stop = Math.min(piece, width - from);
      for (let i = 0; i < stop; i++) into[to + i] = data[row * width + from + i] as number;
    }
  }
}

/** One page that is being filled. */
class OpenPage implements PageWrite {
  private readonly content: { rows: PlacedRows; at: number }[] = [];
  used = 0;

  constructor(
    readonly page: number,
    readonly offset: number,
  ) {}

  take(rows: PlacedRows): number {
    const at = this.used;
    this.content.push({ rows, at });
    this.used += placedBytes(rows);
    return this.offset + at;
  }

  get bytes(): Uint8Array {
    const bytes = new Uint8Array(this.used);
    for (const { rows, at } of this.content) writeRows(rows, bytes, at);
    return bytes;
  }
}

/** Fills pages with rows, first fit. */
class RowPacker {
  readonly addresses: number[] = [];
  readonly pages: OpenPage[] = [];

  constructor(private readonly pool: PageAllocator) {}

  /**
   * Adds compact groups; or rows, cut into pieces of `piece` elements (0: whole): first piece of every row, then the second, … Gives the
   * index of the first.
   */
  add({ count, width, data, groups }: RowBlock, path: string, piece: number): number {
    const first = this.addresses.length;
    if (groups !== undefined) {
      for (const group of groups) this.addRows({ data: group, count: 1 }, path);
      return first;
    }
    const step = piece === 0 ? Math.max(width, 1) : piece;
    for (let from = 0; from < width; from += step)
      for (let row = 0; row < count; row++)
        this.addRows({ data: data.subarray(row * width + from, row * width + Math.min(width, from + step)), count: 1 }, path);
    return first;
  }

  /** Adds rows in groups. Gives the index of the first group. */
  addGroups({ count, width, data }: RowBlock, path: string): number {
    const first = this.addresses.length;
    for (let row = 0; row < count; row += groupRows) {
      const end = Math.min(count, row + groupRows);
      this.addRows({ data: data.subarray(row * width, end * width), count: end - row }, path);
    }
    return first;
  }

  giveBack(): void {
    for (const { page } of this.pages) this.pool.release(page);
  }

  private addRows(rows: PlacedRows, path: string): void {
    const { pageBytes } = this.pool;
    const needed = placedBytes(rows);
    // A group fills half a page at most, so this is a single row.
    if (needed > pageBytes)
      throw new AdapterError(`a row of ${path} has ${rows.data.byteLength} bytes, more than a page of ${pageBytes}`, {
        module: path,
        actual: rows.data.byteLength,
        expected: pageBytes,
      });
    // Few sizes of rows exist: what is left in all but the newest pages is seldom worth a search.
    const page = this.pages.slice(-4).find(({ used }) => used + needed <= pageBytes) ?? this.openPage();
    this.addresses.push(page.take(rows) / rowUnit);
  }

  private openPage(): OpenPage {
    const { pageBytes } = this.pool;
    const number = this.pool.allocate();
    if (number === undefined)
      throw new PoolExhaustedError(
        `the page pool is full: an adapter took ${this.pages.length} pages of ${pageBytes} bytes and needs more`,
        { pages: this.pages.length, pageBytes },
      );
    const page = new OpenPage(number, number * pageBytes);
    this.pages.push(page);
    return page;
  }
}
