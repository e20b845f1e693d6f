import { describe, expect, it } from 'vitest';
import type { RowBlock, SiteParts } from '../../lib/adapters/method.ts';
import { type PageAllocator, placeAdapter } from '../../lib/adapters/placement.ts';
import { partsOf } from './parts.ts';

class Pages implements PageAllocator {
  readonly held = new Set<number>();
  constructor(
    readonly pageBytes: number,
    private readonly count: number,
  ) {}
  allocate(): number | undefined {
    // From the end and every other one: pages of an adapter need not be neighbours.
    for (let page = this.count - 1; page >= 0; page -= 2) if (!this.held.has(page)) return this.held.add(page) && page;
    return undefined;
  }
  release(page: number): void {
    this.held.delete(page);
  }
}

const block = (count: number, width: number, from: number): RowBlock => ({
  dtype: 'f32',
  count,
  width,
  data: Float32Array.from({ length: count * width }, (_, i) => from + i),
});
const site = (number: number, more: Partial<SiteParts> = {}): SiteParts => ({
  path: `site${number}`,
  number,
  site: 'linear',
  kind: 'lowRank',
  dtype: 'f32',
  rank: 3,
  scale: 0.5,
  a: block(3, 20, 0),
  bT: block(3, 10, 1000),
  ...more,
});
const table = (slot = 0, first = 100) => ({ slot, sites: 4, takeRows: () => first });

/** What the kernels would read. */
function rowReader(placed: ReturnType<typeof placeAdapter>, pageBytes: number, pages: number) {
  const pool = new Uint8Array(pageBytes * pages);
  for (const { offset, bytes } of placed.writes) pool.set(bytes, offset);
  return (index: number, width: number): number[] =>
    Array.from(new Float32Array(pool.buffer, (placed.rows[index - placed.firstRow] as number) * 64, width));
}

describe('placeAdapter', () => {
  it('lays rows where the entries say', () => {
    const placed = placeAdapter(partsOf(site(2, { gain: Float32Array.of(7, 8), shift: undefined })), new Pages(256, 20), table());
    const entry = placed.entries.subarray(16, 24);
    expect(Array.from(entry.subarray(0, 7))).toEqual([1, 0, 3, 100, 103, 106, -1]);
    expect(new Float32Array(Int32Array.of(entry[7] as number).buffer)[0]).toBe(0.5);
    const read = rowReader(placed, 256, 20);
    expect(read(entry[3] as number, 20)).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(read((entry[3] as number) + 2, 20)[0]).toBe(40);
    expect(read((entry[4] as number) + 1, 10)[0]).toBe(1010);
    expect(read(entry[5] as number, 2)).toEqual([7, 8]);
    expect(Array.from(placed.entries.subarray(0, 16))).toEqual(new Array(16).fill(0));
  });

  it('lays rows of B in groups of sixteen and what is left, in turns of 64 bytes', () => {
    const ranks = site(1, { rank: 18, a: block(18, 20, 0), bT: block(18, 21, 1000) });
    const placed = placeAdapter(partsOf(ranks), new Pages(8192, 8), table(), true);
    const entry = placed.entries.subarray(8, 16);
    expect(Array.from(entry.subarray(0, 5))).toEqual([1, 256, 18, 100, 118]);
    expect(placed.rows.length).toBe(18 + 2);
    const read = rowReader(placed, 8192, 8);
    expect(read((entry[3] as number) + 17, 1)).toEqual([340]);
    const whole = read(entry[4] as number, 16 * 32);
    const rest = read((entry[4] as number) + 1, 2 * 32);
    for (let row = 0; row < 18; row++) {
      const [group, count] = row < 16 ? [whole, 16] : [rest, 2];
      const expected = Array.from({ length: 21 }, (_, i) => 1000 + row * 21 + i);
      const at = (piece: number): number => (piece * count + (row % 16)) * 16;
      expect(group.slice(at(0), at(0) + 16)).toEqual(expected.slice(0, 16));
      expect(group.slice(at(1), at(1) + 16)).toEqual([...expected.slice(16), ...new Array(11).fill(0)]);
    }
  });

  it('lays rows one by one where a group would fill more than half a page, and where no linear layer reads them', () => {
    const wide = site(0, { rank: 16, a: block(16, 20, 0), bT: block(16, 80, 0) });
    const dtypes = (pageBytes: number, ...sites: SiteParts[]): number[] =>
      sites.map((_, i) => placeAdapter(partsOf(...sites), new Pages(pageBytes, 200), table(), true).entries[i * 8 + 1] as number);
    // 16 rows of 320 bytes.
    expect(dtypes(10_240, wide)).toEqual([256]);
    expect(dtypes(10_176, wide)).toEqual([0]);
    const embedding = site(0, { site: 'embedding' });
    const dense = site(1, { kind: 'dense', rank: 10, a: block(10, 20, 0), bT: undefined });
    const empty = site(2, { rank: 0, a: block(0, 20, 0), bT: block(0, 10, 0) });
    const network = site(3, { kind: 'parallel', activation: 'relu' });
    expect(dtypes(16_384, embedding, dense, empty, network)).toEqual([0, 0, 0, 256]);
  });

  it('never lets a row cross the end of a page', () => {
    const placed = placeAdapter(partsOf(...[0, 1, 2, 3].map((n) => site(n))), new Pages(320, 40), table());
    const sizes = [0, 1, 2, 3].flatMap(() => [80, 80, 80, 40, 40, 40]);
    placed.rows.forEach((address, i) => {
      expect(Math.floor((address * 64) / 320)).toBe(Math.floor((address * 64 + (sizes[i] as number) - 1) / 320));
    });
    expect(placed.pages.length).toBe(new Set(placed.pages).size);
    // 24 rows of two units and of one, five units to a page.
    expect(placed.pages.length).toBeLessThanOrEqual(9);
  });

  it('cuts the rows of an embedding into pieces', () => {
    const placed = placeAdapter(
      partsOf(site(0, { site: 'embedding', rank: 2, a: block(2, 5000, 0), bT: block(2, 8, 0) })),
      new Pages(16_384, 20),
      table(0, 0),
    );
    expect(placed.rows.length).toBe(2 + 2 + 2);
    const read = rowReader(placed, 16_384, 20);
    expect(read(1, 1)).toEqual([5000]);
    expect(read(2, 1)).toEqual([4096]);
    expect(read(3, 904)[903]).toBe(9999);
    expect(placed.entries[4]).toBe(4);
  });

  it('places whole weights and norms', () => {
    const norm = site(1, {
      site: 'norm',
      kind: 'dense',
      rank: 1,
      a: block(1, 6, 5),
      bT: undefined,
      shift: Float32Array.of(1, 2, 3, 4, 5, 6),
    });
    const placed = placeAdapter(
      partsOf(site(0, { kind: 'dense', rank: 10, a: block(10, 20, 0), bT: undefined }), norm),
      new Pages(256, 30),
      table(0, 0),
    );
    expect(Array.from(placed.entries.subarray(0, 7))).toEqual([2, 0, 10, 0, 0, -1, -1]);
    expect(Array.from(placed.entries.subarray(8, 15))).toEqual([2, 0, 1, 10, 0, -1, 11]);
  });

  it('gives all pages back when the pool runs out', () => {
    const pool = new Pages(128, 4);
    expect(() => placeAdapter(partsOf(site(0)), pool, table())).toThrow(expect.objectContaining({ code: 'ERR_HEDDLE_POOL_EXHAUSTED' }));
    expect(pool.held.size).toBe(0);
  });

  it('gives all pages back when the table runs out', () => {
    const pool = new Pages(1024, 20);
    const full = {
      slot: 0,
      sites: 4,
      takeRows: () => {
        throw new Error('no rows');
      },
    };
    expect(() => placeAdapter(partsOf(site(0)), pool, full)).toThrow('no rows');
    expect(pool.held.size).toBe(0);
  });

  it('refuses a row that no page can hold, and a site that is not there', () => {
    const pool = new Pages(64, 20);
    expect(() => placeAdapter(partsOf(site(0)), pool, table())).toThrow(/a row of site0 has 80 bytes, more than a page of 64/);
    expect(() => placeAdapter(partsOf(site(4)), new Pages(1024, 4), table())).toThrow(/site number 4, expected 0 to 3/);
    expect(pool.held.size).toBe(0);
  });
});
