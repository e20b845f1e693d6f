import type { AdapterParts, RowBlock, SiteParts } from './method.js';
import { roundToBf16 } from './narrow.js';
import { toFloat32 } from './rows.js';
import { WorkSlices } from './work_slices.js';

const numbersPerPiece = 1 << 18;
// A number takes about as long as so many multiplications in JavaScript.
const operationsPerNumber = 2;

/**
 * The same adapter with what it brings for linear layers and embeddings, factors and whole weights, rounded to bf16: half the memory of f32.
 * Gains, shifts, norms, keys and values stay as they are. The event loop runs in between.
 */
export async function roundFactors(parts: AdapterParts): Promise<AdapterParts> {
  const slices = new WorkSlices();
  const sites = new Map<string, SiteParts>();
  for (const [path, site] of parts.sites) {
    const rounds = (site.site === 'linear' || site.site === 'embedding') && site.dtype !== 'bf16';
    sites.set(path, rounds ? await roundSite(site, slices) : site);
  }
  return { ...parts, sites };
}

async function roundSite(site: SiteParts, slices: WorkSlices): Promise<SiteParts> {
  const a = await roundBlock(site.a, slices);
  return { ...site, dtype: 'bf16', a, bT: site.bT && (await roundBlock(site.bT, slices)) };
}

async function roundBlock(block: RowBlock, slices: WorkSlices): Promise<RowBlock> {
  const data = new Uint16Array(block.data.length);
  for (let begin = 0; begin < data.length; begin += numbersPerPiece) {
    const piece = block.data.subarray(begin, begin + numbersPerPiece);
    data.set(roundToBf16(toFloat32(block.dtype, piece)), begin);
    await slices.pause(operationsPerNumber * piece.length);
  }
  return { ...block, dtype: 'bf16', data };
}
