import { AdapterError } from '../errors.js';
import type { AdapterBase, AdapterTensor, LowRank, RowBlock, SiteParts, SiteRequest, SiteShape } from './method.js';
import { magnitudeGain } from './methods/dora.js';
import { withBaseChange } from './methods/pissa.js';
import { toFloat32, transpose, widen } from './rows.js';
import { expectTensorShape } from './tensor_shape.js';
import { rowsPerSlice, WorkSlices } from './work_slices.js';

/** Whole weights that an adapter brings for a module. */
export interface SavedModule {
  readonly weight?: AdapterTensor | undefined;
  readonly bias?: AdapterTensor | undefined;
}

/** Joins what an adapter brings for one site into what the kernels take; undefined when it changes nothing there. */
export async function siteParts(
  request: SiteRequest,
  base: AdapterBase,
  saved: SavedModule,
  lowRank: LowRank | undefined,
): Promise<SiteParts | undefined> {
  const { site, adapter } = request;
  if (saved.weight) expectTensorShape(saved.weight, weightShape(site), request);
  if (saved.bias) {
    if (!site.bias)
      throw new AdapterError(`${adapter} does not fit ${base.name}: ${saved.bias.name} is a bias, but ${site.path} has none`, {
        tensor: saved.bias.name,
        base: base.name,
      });
    expectTensorShape(saved.bias, [site.outputs], request);
  }
  if (site.kind === 'norm') return normParts(site, base, saved);

  // Files may hold unchanged copies of the base's embeddings: those cost nothing.
  const own = saved.weight && ownRows(saved.weight, site);
  const replaced = own !== undefined && !(await equalsBase(own, site, base)) ? own : undefined;
  const weights =
    replaced === undefined ? base : { readRows: async (_: SiteShape, first: number, count: number) => sliceRows(replaced, first, count) };
  const factors = lowRank && (own === undefined ? await withBaseChange(lowRank, site, base, adapter) : lowRank);
  const gain = factors?.magnitude && (await magnitudeGain(factors, site, weights, adapter));
  const shift = await shiftOf(site, base, saved, factors);
  const common = { path: site.path, number: site.number, site: site.kind, shift };
  if (replaced !== undefined) {
    const a = factors ? await merged(replaced, factors, gain, site) : replaced;
    return { ...common, kind: 'dense', dtype: a.dtype, rank: a.count, scale: 1, a };
  }
  if (factors)
    return {
      ...common,
      kind: 'lowRank',
      dtype: factors.a.dtype,
      rank: factors.a.count,
      scale: factors.scale,
      a: factors.a,
      bT: factors.bT,
      gain,
    };
  if (shift === undefined) return undefined;
  const none = (width: number): RowBlock => ({ dtype: 'f32', count: 0, width, data: new Float32Array(0) });
  return { ...common, kind: 'lowRank', dtype: 'f32', rank: 0, scale: 1, a: none(site.inputs), bT: none(site.outputs) };
}

function weightShape({ kind, inputs, outputs, transposed }: SiteShape): readonly number[] {
  if (kind === 'norm') return [outputs];
  if (kind === 'embedding' || transposed) return [inputs, outputs];
  return [outputs, inputs];
}

async function normParts(site: SiteShape, base: AdapterBase, saved: SavedModule): Promise<SiteParts> {
  const weight = saved.weight ? toFloat32(saved.weight.dtype, saved.weight.data) : await base.readRows(site, 0, 1);
  const bias = saved.bias ? toFloat32(saved.bias.dtype, saved.bias.data) : site.bias ? await base.readBias(site) : undefined;
  const a: RowBlock = { dtype: 'f32', count: 1, width: site.outputs, data: weight };
  return { path: site.path, number: site.number, site: 'norm', kind: 'dense', dtype: 'f32', rank: 1, scale: 1, a, shift: bias };
}

function ownRows(tensor: AdapterTensor, site: SiteShape): RowBlock {
  const block: RowBlock = { dtype: tensor.dtype, count: tensor.shape[0] as number, width: tensor.shape[1] as number, data: tensor.data };
  return site.kind === 'linear' && site.transposed ? transpose(block) : block;
}

function sliceRows(block: RowBlock, first: number, count: number): Float32Array {
  return toFloat32(block.dtype, block.data.subarray(first * block.width, (first + count) * block.width));
}

async function equalsBase(own: RowBlock, site: SiteShape, base: AdapterBase): Promise<boolean> {
  const slices = new WorkSlices();
  const atOnce = rowsPerSlice(own.width);
  for (let first = 0; first < own.count; first += atOnce) {
    const count = Math.min(atOnce, own.count - first);
    const mine = sliceRows(own, first, count);
    const theirs = await base.readRows(site, first, count);
    for (let i = 0; i < mine.length; i++) if (mine[i] !== theirs[i]) return false;
    await slices.pause(count * own.width);
  }
  return true;
}

// What remains to be added to an output: the bias of B, and the difference between the adapter's and the base's own bias.
async function shiftOf(
  site: SiteShape,
  base: AdapterBase,
  saved: SavedModule,
  factors: LowRank | undefined,
): Promise<Float32Array | undefined> {
  const scaled = factors?.bias?.map((x) => x * factors.scale);
  if (saved.bias === undefined) return scaled;
  const before = await base.readBias(site);
  const shift = toFloat32(saved.bias.dtype, saved.bias.data).map((x, n) => x - (before[n] as number) + (scaled?.[n] ?? 0));
  return shift.some((x) => x !== 0) ? shift : undefined;
}

// gain (W + scale · B A) as rows: where an adapter has factors on top of a weight of its own, one product does for both.
async function merged(own: RowBlock, { a, bT, scale }: LowRank, gain: Float32Array | undefined, site: SiteShape): Promise<RowBlock> {
  const rows = widen({ ...own, data: own.data.slice() });
  const slices = new WorkSlices();
  // Row r of an embedding's table is B A[:, r], of a linear layer's weight B[r, :] A.
  const [across, down] = site.kind === 'embedding' ? [widen(a), widen(bT)] : [widen(bT), widen(a)];
  for (let r = 0; r < own.count; r++) {
    const row = rows.data.subarray(r * own.width, (r + 1) * own.width);
    const sum = Float64Array.from(row);
    for (let j = 0; j < a.count; j++) {
      const factor = scale * (across.data[j * across.width + r] as number);
      for (let i = 0; i < own.width; i++) sum[i] = (sum[i] as number) + factor * (down.data[j * own.width + i] as number);
    }
    for (let i = 0; i < own.width; i++)
      row[i] = (sum[i] as number) * (gain === undefined ? 1 : (gain[site.kind === 'embedding' ? i : r] as number));
    await slices.pause(own.width * (a.count + 1));
  }
  return rows;
}
