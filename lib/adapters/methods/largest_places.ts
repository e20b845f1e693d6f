import type { AdapterBase, SiteShape } from '../method.js';
import { rowsPerSlice, WorkSlices } from '../work_slices.js';

/**
 * The `count` entries of a weight that are largest in amount, as row times inputs plus column, rising; of equal ones the first. Magnitudes
 * of f32 have the order of their bits, so that two counts of 16 bits each find the smallest that is taken.
 */
export async function largestPlaces(base: AdapterBase, site: SiteShape, count: number): Promise<Float64Array> {
  const { inputs, outputs } = site;
  const slices = new WorkSlices();
  const over = async (use: (bits: Uint32Array, first: number) => void): Promise<void> => {
    const atOnce = rowsPerSlice(inputs);
    for (let row = 0; row < outputs; row += atOnce) {
      const rows = (await base.readRows(site, row, Math.min(atOnce, outputs - row))).slice();
      const bits = new Uint32Array(rows.buffer);
      for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] as number) & 0x7fffffff;
      use(bits, row * inputs);
      await slices.pause(bits.length);
    }
  };
  // The last bucket, from above, that is needed to have `wanted` entries, and how many of it are.
  const fill = (buckets: Float64Array, wanted: number): { bucket: number; left: number } => {
    let left = wanted;
    let bucket = buckets.length - 1;
    while (bucket > 0 && (buckets[bucket] as number) < left) left -= buckets[bucket--] as number;
    return { bucket, left };
  };
  const high = new Float64Array(1 << 15);
  await over((bits) => {
    for (const b of bits) high[b >>> 16] = (high[b >>> 16] as number) + 1;
  });
  const top = fill(high, count);
  const low = new Float64Array(1 << 16);
  await over((bits) => {
    for (const b of bits) if (b >>> 16 === top.bucket) low[b & 0xffff] = (low[b & 0xffff] as number) + 1;
  });
  const rest = fill(low, top.left);
  const smallest = top.bucket * 65_536 + rest.bucket;
  let equal = rest.left;
  let at = 0;
  const places = new Float64Array(count);
  await over((bits, first) => {
    bits.forEach((b, i) => {
      if (b < smallest || (b === smallest && equal-- <= 0)) return;
      places[at++] = first + i;
    });
  });
  return places;
}
