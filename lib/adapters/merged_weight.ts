import type { LowRank, MergedWeight, NewRows, OutputScale, ProjectedLowRank, RowBlock, SiteShape, WeightChange } from './method.js';
import { toFloat64, widen } from './rows.js';
import { rowsPerSlice, WorkSlices } from './work_slices.js';

/** Gives rows of a weight as f32. */
export type RowReader = (first: number, count: number) => Promise<Float32Array>;

/**
 * Every change of a linear or embedding site as a merge of whole rows, in float64: what `merge` of a live model and the dense
 * rows of an adapter are made with. Rows are outputs of a linear layer, ids of an embedding. `gain`: factor per output of a
 * low-rank change with a magnitude. A change that needs the base in its original form (`baseChange`) comes with it applied.
 */
export function mergedWeight(change: WeightChange, site: SiteShape, gain?: Float32Array): MergedWeight {
  switch (change.kind) {
    case 'weight':
      return change;
    case 'lowRank':
      return mergedLowRank(change, site, gain);
    case 'projected':
      return mergedProjection(change, site);
    case 'scale':
      return mergedScale(change, site);
    case 'rows':
      return mergedRows(change);
  }
}

/** All rows of a merged weight. Reads, merges and stores slice by slice, with the event loop running in between. */
export async function mergeAllRows(merged: MergedWeight, read: RowReader, count: number, width: number): Promise<RowBlock> {
  const data = new Float32Array(count * width);
  const slices = new WorkSlices();
  const groups = Math.max(1, Math.floor(rowsPerSlice(merged.workPerRow + width) / merged.rowGroup));
  const step = groups * merged.rowGroup;
  for (let first = 0; first < count; first += step) {
    const rows = new Float64Array(await read(first, Math.min(step, count - first)));
    merged.merge(rows, first);
    data.set(rows, first * width);
    await slices.pause((rows.length / width) * (merged.workPerRow + width));
  }
  return { dtype: 'f32', count, width, data };
}

/** The coefficients C of a projection, as rows of Cᵀ: with A they are plain low-rank factors. */
export async function projectionFactors(change: ProjectedLowRank, read: RowReader, count: number, width: number): Promise<RowBlock> {
  const rank = change.a.count;
  const data = new Float32Array(rank * count);
  const slices = new WorkSlices();
  const step = rowsPerSlice(width * (rank + 1));
  for (let first = 0; first < count; first += step) {
    const rows = new Float64Array(await read(first, Math.min(step, count - first)));
    const coefficients = new Float64Array((rows.length / width) * rank);
    change.coefficients(rows, coefficients);
    for (let i = 0; i < coefficients.length; i++) data[(i % rank) * count + first + Math.floor(i / rank)] = coefficients[i] as number;
    await slices.pause(rows.length * (rank + 1));
  }
  return { dtype: 'f32', count: rank, width: count, data };
}

// gain (W + scale · B A). Row r of an embedding's table gets B A[:, r], of a linear layer's weight B[r, :] A.
function mergedLowRank({ a, bT, scale }: LowRank, site: SiteShape, gain: Float32Array | undefined): MergedWeight {
  const embeds = site.kind === 'embedding';
  const [across, down] = embeds ? [widen(a), widen(bT)] : [widen(bT), widen(a)];
  const width = down.width;
  const merge = (rows: Float64Array, first: number): void => {
    const count = rows.length / width;
    for (let r = 0; r < count; r++) {
      for (let j = 0; j < a.count; j++)
        addScaled(rows, r * width, scale * (across.data[j * across.width + first + r] as number), down.data, j * width, width);
      if (gain === undefined) continue;
      for (let i = 0; i < width; i++) rows[r * width + i] = (rows[r * width + i] as number) * (gain[embeds ? i : first + r] as number);
    }
  };
  return { kind: 'weight', rowGroup: 1, workPerRow: width * (a.count + 1), merge };
}

function mergedProjection(change: ProjectedLowRank, site: SiteShape): MergedWeight {
  const rank = change.a.count;
  const width = site.inputs;
  const a = toFloat64(change.a.dtype, change.a.data);
  const merge = (rows: Float64Array): void => {
    const coefficients = new Float64Array((rows.length / width) * rank);
    change.coefficients(rows, coefficients);
    for (let i = 0; i < coefficients.length; i++)
      addScaled(rows, Math.floor(i / rank) * width, coefficients[i] as number, a, (i % rank) * width, width);
  };
  return { kind: 'weight', rowGroup: 1, workPerRow: 2 * width * rank, merge };
}

function mergedScale({ factors }: OutputScale, site: SiteShape): MergedWeight {
  const width = site.inputs;
  const merge = (rows: Float64Array, first: number): void => {
    for (let i = 0; i < rows.length; i++) rows[i] = (rows[i] as number) * (factors[first + Math.floor(i / width)] as number);
  };
  const mergeBias = (bias: Float64Array): void => {
    for (let n = 0; n < bias.length; n++) bias[n] = (bias[n] as number) * (factors[n] as number);
  };
  return { kind: 'weight', rowGroup: 1, workPerRow: width, merge, mergeBias };
}

function mergedRows({ ids, rows: fresh }: NewRows): MergedWeight {
  const { width } = fresh;
  const values = widen(fresh).data;
  const at = new Map(Array.from(ids, (id, i) => [id, i] as const));
  const merge = (rows: Float64Array, first: number): void => {
    for (let r = 0; r < rows.length / width; r++) {
      const found = at.get(first + r);
      if (found !== undefined) rows.set(values.subarray(found * width, (found + 1) * width), r * width);
    }
  };
  return { kind: 'weight', rowGroup: 1, workPerRow: width, merge };
}

/** into[at ..] += factor · from[start ..], `length` elements. */
export function addScaled(
  into: Float64Array,
  at: number,
  factor: number,
  from: Float32Array | Float64Array,
  start: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) into[at + i] = (into[at + i] as number) + factor * (from[start + i] as number);
}
