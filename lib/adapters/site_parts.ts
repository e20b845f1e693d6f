import { AdapterError } from '../errors.js';
import { attentionParts } from './attention_prompt.js';
import { mergeAllRows, mergedWeight, projectionFactors, type RowReader } from './merged_weight.js';
import type {
  AdapterBase,
  AdapterTensor,
  Bottleneck,
  MergedWeight,
  NewRows,
  RowBlock,
  SiteChange,
  SiteParts,
  SiteRequest,
  SiteShape,
  WeightChange,
} from './method.js';
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
  change: SiteChange | undefined,
): Promise<SiteParts | undefined> {
  const { site, adapter } = request;
  const whole: SavedModule = change?.kind === 'norm' ? { ...saved, ...change } : saved;
  if (whole.weight) expectTensorShape(whole.weight, weightShape(site), request);
  if (whole.bias) {
    if (!site.bias)
      throw new AdapterError(`${adapter} does not fit ${base.name}: ${whole.bias.name} is a bias, but ${site.path} has none`, {
        tensor: whole.bias.name,
        base: base.name,
      });
    expectTensorShape(whole.bias, [site.outputs], request);
  }
  if (site.kind === 'norm') return normParts(site, base, whole);
  if (change?.kind === 'virtual') return dense({ path: site.path, number: site.number, site: site.kind, shift: undefined }, change.rows);
  if (change?.kind === 'attentionPrompt') return attentionParts(request, base, change);
  // Keys and values go into the cache, not to a site.
  if (change?.kind === 'prefix') return undefined;
  if (change?.kind === 'bottleneck') return bottleneckParts(request, base, saved, change);
  if (change?.kind === 'norm') throw new AdapterError(`${adapter}: ${site.path} is no norm`, { module: site.path });

  // Files may hold unchanged copies of the base's embeddings: those cost nothing.
  const own = whole.weight && ownRows(whole.weight, site);
  const replaced = own !== undefined && !(await equalsBase(own, site, base)) ? own : undefined;
  const weights: Pick<AdapterBase, 'readRows'> =
    replaced === undefined ? base : { readRows: async (_: SiteShape, first: number, count: number) => sliceRows(replaced, first, count) };
  const known = change?.kind === 'lowRank' && own === undefined ? await withBaseChange(change, site, base, adapter) : change;
  const gain = await gainOf(known, site, weights, adapter);
  const common = { path: site.path, number: site.number, site: site.kind, shift: await shiftOf(site, base, whole, known) };
  const [count, width] = site.kind === 'embedding' ? [site.inputs, site.outputs] : [site.outputs, site.inputs];
  const read = (first: number, rows: number): Promise<Float32Array> => weights.readRows(site, first, rows);
  if (known !== undefined && (replaced !== undefined || known.kind === 'weight'))
    return dense(common, await mergeAllRows(mergedWeight(known, site, gain), read, count, width));
  if (replaced !== undefined) return dense(common, replaced);
  const factors = known && (await smallestFactors(known, site, read));
  if (factors) return { ...common, kind: 'lowRank', dtype: factors.a.dtype, rank: factors.a.count, ...factors, gain };
  if (common.shift === undefined && gain === undefined) return undefined;
  const none = (columns: number): RowBlock => ({ dtype: 'f32', count: 0, width: columns, data: new Float32Array(0) });
  return { ...common, kind: 'lowRank', dtype: 'f32', rank: 0, scale: 1, a: none(site.inputs), bT: none(site.outputs), gain };
}

const dense = (common: Pick<SiteParts, 'path' | 'number' | 'site' | 'shift'>, a: RowBlock): SiteParts => ({
  ...common,
  kind: 'dense',
  dtype: a.dtype,
  rank: a.count,
  scale: 1,
  a,
});

function bottleneckParts(
  { adapter, site }: SiteRequest,
  base: AdapterBase,
  saved: SavedModule,
  { mode, activation, scale, a, bT }: Bottleneck,
): SiteParts {
  const whole = saved.weight ?? saved.bias;
  if (whole !== undefined)
    throw new AdapterError(
      `${adapter} does not fit ${base.name}: ${whole.name} replaces what ${site.path} has, which stays beside a bottleneck`,
      {
        tensor: whole.name,
        module: site.path,
      },
    );
  const { path, number, kind } = site;
  return { path, number, site: kind, kind: mode, dtype: a.dtype, rank: a.count, scale, a, bT, activation };
}

/** Factors of what is not merged as a whole weight; undefined where none are needed. */
async function smallestFactors(
  change: Exclude<WeightChange, MergedWeight>,
  site: SiteShape,
  read: RowReader,
): Promise<{ scale: number; a: RowBlock; bT: RowBlock } | undefined> {
  switch (change.kind) {
    case 'lowRank':
      return { scale: change.scale, a: change.a, bT: change.bT };
    case 'projected':
      return { scale: 1, a: widen(change.a), bT: await projectionFactors(change, read, site.outputs, site.inputs) };
    case 'rows':
      return rowFactors(change, site, read);
    case 'scale':
      return undefined;
  }
}

// New rows as the difference from the old ones, picked by rows that are one at a single place.
async function rowFactors({ ids, rows }: NewRows, site: SiteShape, read: RowReader) {
  const embeds = site.kind === 'embedding';
  const places = embeds ? site.inputs : site.outputs;
  const difference = widen({ ...rows, data: rows.data.slice() });
  const pick = new Float32Array(ids.length * places);
  for (const [j, id] of ids.entries()) {
    const before = await read(id, 1);
    for (let i = 0; i < rows.width; i++)
      difference.data[j * rows.width + i] = (difference.data[j * rows.width + i] as number) - (before[i] as number);
    pick[j * places + id] = 1;
  }
  const picks: RowBlock = { dtype: 'f32', count: ids.length, width: places, data: pick };
  return embeds ? { scale: 1, a: picks, bT: difference } : { scale: 1, a: difference, bT: picks };
}

async function gainOf(
  change: WeightChange | undefined,
  site: SiteShape,
  weights: Pick<AdapterBase, 'readRows'>,
  adapter: string,
): Promise<Float32Array | undefined> {
  if (change?.kind === 'scale') return change.factors;
  return change?.kind === 'lowRank' && change.magnitude !== undefined ? magnitudeGain(change, site, weights, adapter) : undefined;
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
  change: WeightChange | undefined,
): Promise<Float32Array | undefined> {
  const scaled = change?.kind === 'lowRank' ? change.bias?.map((x) => x * change.scale) : undefined;
  const mergeBias = change && change.kind !== 'lowRank' ? mergedWeight(change, site).mergeBias : undefined;
  if (saved.bias === undefined && (mergeBias === undefined || !site.bias)) return scaled;
  const before = await base.readBias(site);
  const after = Float64Array.from(saved.bias ? toFloat32(saved.bias.dtype, saved.bias.data) : before);
  mergeBias?.(after);
  const shift = Float32Array.from(after, (x, n) => x - (before[n] as number) + (scaled?.[n] ?? 0));
  return shift.some((x) => x !== 0) ? shift : undefined;
}
