import { describe, expect, it } from 'vitest';
import { compactFactors } from '../../lib/adapters/compact_factors.ts';
import type { AdapterParts, RowBlock, SiteParts } from '../../lib/adapters/method.ts';
import { placeAdapter } from '../../lib/adapters/placement.ts';
import { binding } from '../../lib/runtime/binding.ts';
import { randomNormal, toBits, uniform } from '../kernels/numbers.ts';
import { partsOf } from './parts.ts';

const pageBytes = 1 << 20;

const block = (count: number, width: number, values: ArrayLike<number> = randomNormal(count * width, count + width)): RowBlock => ({
  ...{ dtype: 'bf16', count, width },
  data: toBits('bf16', values) as Uint16Array,
});
const site = (number: number, rank: number, inputs: number, outputs: number, more: Partial<SiteParts> = {}): SiteParts => ({
  ...{ path: `site${number}`, number, site: 'linear', kind: 'lowRank', dtype: 'bf16', rank, scale: 0.5 },
  ...{ a: block(rank, inputs), bT: block(rank, outputs) },
  ...more,
});
const place = (parts: AdapterParts) => {
  const pages = { pageBytes, next: 0, allocate: () => pages.next++, release: () => {} };
  return placeAdapter(parts, pages, { slot: 0, sites: 4, takeRows: () => 100 }, true);
};
const groupsOf = ({ data, width, count }: RowBlock): (Uint8Array | undefined)[] =>
  Array.from({ length: Math.ceil(count / 16) }, (_, g) => {
    const rows = (data as Uint16Array).subarray(g * 16 * width, Math.min(count, g * 16 + 16) * width);
    return binding().compactRows(rows, rows.length / width);
  });

describe('compactFactors', () => {
  it('puts groups of rows where the entries say', async () => {
    const plain = site(2, 20, 64, 96, { gain: Float32Array.from(randomNormal(96, 1)) });
    const placed = place(await compactFactors(partsOf(plain), pageBytes));
    const entry = placed.entries.subarray(16, 24);
    // Two groups of A, two of B, the gain.
    expect(Array.from(entry.subarray(0, 7))).toEqual([1, 2 + 512, 20, 100, 102, 104, -1]);
    const pool = new Uint8Array(pageBytes);
    for (const { offset, bytes } of placed.writes) pool.set(bytes, offset);
    for (const [column, rows] of [
      [3, plain.a],
      [4, plain.bT as RowBlock],
    ] as const)
      for (const [g, group] of groupsOf(rows).entries()) {
        const at = (placed.rows[(entry[column] as number) - placed.firstRow + g] as number) * 64;
        expect(pool.slice(at, at + (group as Uint8Array).byteLength)).toEqual(group);
      }
  });

  const spread = (count: number): Float64Array => {
    const random = uniform(7);
    return Float64Array.from({ length: count }, () => 2 ** Math.floor(60 * random()));
  };
  const whole = (number: number, rank: number, outputs: number): SiteParts => ({
    ...site(number, rank, 64, outputs, { kind: 'dense', rank: outputs, a: block(outputs, 64) }),
    bT: undefined,
  });
  it.each([
    ['a rank that is no multiple of 4', site(1, 6, 64, 96)],
    ['inputs that are no multiple of 32', site(1, 8, 65, 96)],
    ['outputs that are no multiple of 32', site(1, 8, 64, 95)],
    ['rank 0', site(1, 0, 64, 96)],
    ['exponents far apart in A', site(1, 8, 64, 96, { a: block(8, 64, spread(8 * 64)) })],
    ['exponents far apart in B', site(1, 8, 64, 96, { bT: block(8, 96, spread(8 * 96)) })],
    ['a group of more than half a page', site(1, 16, 64, 24_576)],
    ['an embedding', site(1, 8, 64, 96, { site: 'embedding' })],
    ['a whole weight', whole(1, 8, 96)],
    ['a network', site(1, 8, 64, 96, { kind: 'parallel', activation: 'relu' })],
    ['f32', site(1, 8, 64, 96, { dtype: 'f32', a: { ...block(8, 64), dtype: 'f32', data: new Float32Array(8 * 64) } })],
  ])('leaves as it is: %s', async (_, odd) => {
    const parts = partsOf(odd, site(2, 4, 32, 32));
    const { sites } = await compactFactors(parts, pageBytes);
    expect(sites.get('site1')).toBe(odd);
    expect(sites.get('site2')?.a.groups).toHaveLength(1);
    expect(Array.from(parts.sites.keys())).toEqual(Array.from(sites.keys()));
  });

  it('lets the event loop run', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await compactFactors(partsOf(...[0, 1, 2, 3].map((n) => site(n, 64, 4096, 4096))), pageBytes);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });
});
