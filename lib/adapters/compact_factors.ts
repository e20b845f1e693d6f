import { binding } from '../runtime/binding.js';
import type { AdapterParts, RowBlock, SiteParts } from './method.js';
import { groupRows } from './placement.js';
import { WorkSlices } from './work_slices.js';

// A number takes about as long as so many multiplications in JavaScript.
const operationsPerNumber = 3;

/**
 * The same adapter with the bf16 factors of its linear layers as compact rows, 12 bits a number without loss, wherever both factors of a
 * layer can be: ranks that are multiples of 4 and widths that are multiples of 32, exponents close together, and groups that fill at
 * most half a page. The event loop runs in between.
 */
export async function compactFactors(parts: AdapterParts, pageBytes: number): Promise<AdapterParts> {
  const slices = new WorkSlices();
  const sites = new Map<string, SiteParts>();
  for (const [path, site] of parts.sites) sites.set(path, await compactSite(site, pageBytes / 2, slices));
  return { ...parts, sites };
}

async function compactSite(site: SiteParts, mostBytes: number, slices: WorkSlices): Promise<SiteParts> {
  if (site.site !== 'linear' || site.kind !== 'lowRank' || site.dtype !== 'bf16' || site.bT === undefined) return site;
  const a = await compactBlock(site.a, mostBytes, slices);
  if (a === undefined) return site;
  const bT = await compactBlock(site.bT, mostBytes, slices);
  return bT === undefined ? site : { ...site, a, bT };
}

async function compactBlock(block: RowBlock, mostBytes: number, slices: WorkSlices): Promise<RowBlock | undefined> {
  const { count, width, data } = block;
  if (count === 0 || !(data instanceof Uint16Array)) return undefined;
  const groups: Uint8Array[] = [];
  for (let row = 0; row < count; row += groupRows) {
    const end = Math.min(count, row + groupRows);
    const group = binding().compactRows(data.subarray(row * width, end * width), end - row);
    if (group === undefined || group.byteLength > mostBytes) return undefined;
    groups.push(group);
    await slices.pause(operationsPerNumber * (end - row) * width);
  }
  return { ...block, data: new Uint16Array(0), groups };
}
