// An adapter as changes of the base's own tensors: what a merged model holds.
import { AdapterError } from '../errors.js';
import { mergedWeight, type RowReader } from './merged_weight.js';
import type { AdapterBase, AdapterParts, FloatDType, MergedWeight, RowBlock, SiteParts, SiteShape } from './method.js';
import { narrow } from './narrow.js';
import { toFloat32, transpose } from './rows.js';
import { rowsPerSlice, WorkSlices } from './work_slices.js';

/** A tensor of the checkpoint with an adapter merged in. */
export interface MergedTensor {
  readonly name: string;
  readonly dtype: FloatDType;
  /** In the checkpoint's layout; 16-bit floats as their bits. */
  readonly data: Float32Array | Uint16Array;
}

/** What a merge works on. */
export interface MergeRequest {
  /** Name of the adapter in messages. */
  readonly adapter: string;
  readonly parts: AdapterParts;
  /** Multiplies what the adapter changes. */
  readonly scale: number;
  readonly base: AdapterBase;
  /** dtype of a tensor of the checkpoint. */
  dtypeOf(tensor: string): FloatDType;
}

/** A tensor of the checkpoint that a merge replaces. */
interface Change {
  readonly tensor: string;
  make(): Promise<MergedTensor>;
}

/**
 * The tensors that hold an adapter when it is merged: W + scale · (W' - W), computed in float64 and rounded once to the tensor's dtype; biases
 * and norms alike. Each is made when it is asked for. Throws AdapterError, before the first is made, for prompts and prefixes, where the base has
 * no place for a bias, or modules share a weight that the adapter changes for some of them only; and while they are made, where shared weights
 * would differ or a number leaves its dtype.
 */
export function mergedTensors(request: MergeRequest): readonly Change[] {
  const { adapter, parts, base } = request;
  if (parts.virtualTokens > 0)
    throw new AdapterError(
      `${adapter} cannot be merged: it brings ${parts.virtualTokens} positions in front of the text, which no weight holds`,
      {
        adapter,
        actual: parts.virtualTokens,
      },
    );
  const beside = base.sites.find(({ kind, path }) => !isWeight(kind) && parts.sites.has(path));
  if (beside !== undefined)
    throw new AdapterError(
      `${adapter} cannot be merged: it brings keys and values beside the text to ${beside.path}, which no weight holds`,
      {
        adapter,
        module: beside.path,
      },
    );
  const changes: Change[] = [];
  const done = new Set<string>();
  for (const site of base.sites) {
    const own = parts.sites.get(site.path);
    if (own === undefined || !isWeight(site.kind)) continue;
    if (own.activation !== undefined)
      throw new AdapterError(
        `${adapter} cannot be merged: it puts ${own.activation} between two layers at ${site.path}, which no weight holds`,
        {
          adapter,
          module: site.path,
        },
      );
    checkBias(request, site, own);
    if (own.shift !== undefined) changes.push({ tensor: `${site.path}.bias`, make: () => mergedBias(request, site, own) });
    if (!changesWeight(own) || done.has(site.weight)) continue;
    done.add(site.weight);
    const sharing = base.sites.filter(({ kind, weight }) => isWeight(kind) && weight === site.weight);
    const members = sharing.map((other) => ({ site: other, own: memberOf(request, site, other) }));
    changes.push({ tensor: site.weight, make: () => mergedShared(request, members) });
  }
  return changes;
}

const isWeight = (kind: SiteShape['kind']): boolean => kind === 'linear' || kind === 'embedding' || kind === 'norm';

function changesWeight({ site, kind, rank, gain }: SiteParts): boolean {
  return site === 'norm' || kind === 'dense' || rank > 0 || gain !== undefined;
}

function checkBias({ adapter, base }: MergeRequest, site: SiteShape, own: SiteParts): void {
  if (own.shift === undefined || site.bias) return;
  throw new AdapterError(`${adapter} cannot be merged: it adds a bias to ${site.path}, which has none in ${base.name}`, {
    adapter,
    module: site.path,
  });
}

function memberOf({ adapter, parts, base }: MergeRequest, site: SiteShape, other: SiteShape): SiteParts {
  const own = parts.sites.get(other.path);
  if (own !== undefined && changesWeight(own)) return own;
  throw new AdapterError(
    `${adapter} cannot be merged: it changes ${site.path} and not ${other.path}, which has the same weight in ${base.name}`,
    { adapter, module: site.path, tied: other.path },
  );
}

async function mergedShared(request: MergeRequest, members: readonly { site: SiteShape; own: SiteParts }[]): Promise<MergedTensor> {
  const [first, ...others] = members as [(typeof members)[number], ...(typeof members)[number][]];
  const merged = await mergedMatrix(request, first.site, first.own);
  for (const { site, own } of others) {
    const other = await mergedMatrix(request, site, own);
    const apart = merged.data.findIndex((value, i) => value !== other.data[i]);
    if (apart >= 0)
      throw new AdapterError(
        `${request.adapter} cannot be merged: ${first.site.path} and ${site.path} have one weight in ${request.base.name}, and the adapter makes them differ`,
        { adapter: request.adapter, module: first.site.path, tied: site.path, element: apart },
      );
  }
  return merged;
}

async function mergedMatrix(request: MergeRequest, site: SiteShape, own: SiteParts): Promise<MergedTensor> {
  const { base, scale, adapter } = request;
  const [count, width] =
    site.kind === 'linear' ? [site.outputs, site.inputs] : site.kind === 'norm' ? [1, site.outputs] : [site.inputs, site.outputs];
  const dtype = request.dtypeOf(site.weight);
  const read: RowReader = (first, rows) => base.readRows(site, first, rows);
  const merge = rowsOf(own, site);
  const data = dtype === 'f32' ? new Float32Array(count * width) : new Uint16Array(count * width);
  const slices = new WorkSlices();
  const step = merge.rowGroup * Math.max(1, Math.floor(rowsPerSlice(merge.workPerRow + 4 * width) / merge.rowGroup));
  for (let first = 0; first < count; first += step) {
    const before = await read(first, Math.min(step, count - first));
    const rows = Float64Array.from(before);
    merge.merge(rows, first);
    if (scale !== 1) for (let i = 0; i < rows.length; i++) rows[i] = between(before[i] as number, rows[i] as number, scale);
    data.set(finite(narrow(dtype, rows), dtype, { adapter, tensor: site.weight }), first * width);
    await slices.pause((rows.length / width) * (merge.workPerRow + 4 * width));
  }
  const block: RowBlock = { dtype, count, width, data };
  return { name: site.weight, dtype, data: site.kind === 'linear' && site.transposed ? transpose(block).data : data };
}

// Rows of the weight with the whole adapter in it.
function rowsOf(own: SiteParts, site: SiteShape): Pick<MergedWeight, 'rowGroup' | 'workPerRow' | 'merge'> {
  const { a, bT, scale, gain } = own;
  if (own.kind === 'lowRank' && bT !== undefined) return mergedWeight({ kind: 'lowRank', a, bT, scale }, site, gain);
  const { width } = a;
  const merge = (rows: Float64Array, first: number): void =>
    rows.set(toFloat32(a.dtype, a.data.subarray(first * width, first * width + rows.length)));
  return { rowGroup: 1, workPerRow: width, merge };
}

async function mergedBias({ base, scale, adapter, dtypeOf }: MergeRequest, site: SiteShape, { shift }: SiteParts): Promise<MergedTensor> {
  const name = `${site.path}.bias`;
  const before = await base.readBias(site);
  // A norm brings its bias, any other module what is added to it.
  const values = Float64Array.from(before, (value, n) => {
    const own = (shift as Float32Array)[n] as number;
    return site.kind === 'norm' ? between(value, own, scale) : value + scale * own;
  });
  const dtype = dtypeOf(name);
  return { name, dtype, data: finite(narrow(dtype, values), dtype, { adapter, tensor: name }) };
}

const between = (from: number, to: number, share: number): number => (share === 1 ? to : from + share * (to - from));

function finite<Data extends Float32Array | Uint16Array>(
  data: Data,
  dtype: FloatDType,
  details: { adapter: string; tensor: string },
): Data {
  const infinite = { f32: 0x7f800000, f16: 0x7c00, bf16: 0x7f80 }[dtype];
  const broken = data.findIndex((value) => (dtype === 'f32' ? !Number.isFinite(value) : (value & infinite) === infinite));
  if (broken >= 0)
    throw new AdapterError(`${details.adapter} cannot be merged: ${details.tensor} would hold a number that ${dtype} has no place for`, {
      ...details,
      element: broken,
    });
  return data;
}
