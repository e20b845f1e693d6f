// Factors that are taken out of the base weight, so that training moves what matters most of it.
import { InternalError, ModelError } from '../../errors.js';
import { invertDamped, timesSymmetric } from '../covariance.js';
import type { AdapterBase, SiteShape } from '../method.js';
import { type SingularTriplets, singularTriplets } from '../singular_vectors.js';
import type { Calibration } from '../trainable_method.js';
import { orthonormalPart } from './pissa.js';

/** Rows of A and of B transposed: scale · B A is a part of the base weight. */
export interface StartFactors {
  readonly a: Float32Array;
  readonly bT: Float32Array;
}

/** The `rank` leading singular triplets of W. PiSSA, Meng et al., https://arxiv.org/abs/2404.02948. */
export async function principalStart(base: AdapterBase, site: SiteShape, rank: number, scale: number): Promise<StartFactors> {
  const weight = await base.readRows(site, 0, site.outputs);
  const { values, left, right } = await singularTriplets(weight, site.outputs, site.inputs, rank);
  return balanced({ values, left, right }, right, scale);
}

/** Q R of the first `rank` columns, B = Q and A = Qᵀ W. OLoRA, Büyükakyüz, https://arxiv.org/abs/2406.01775; as there, the scale multiplies it. */
export async function orthonormalStart(base: AdapterBase, site: SiteShape, rank: number): Promise<StartFactors> {
  const { a, bT } = orthonormalPart(await base.readRows(site, 0, site.outputs), site, rank);
  return { a: a.data as Float32Array, bT: (bT.data as Float32Array).map((x) => -x) };
}

/**
 * Directions of W as the inputs of some examples weigh them: W C = U S Vᵀ with C the covariance of the inputs, W = U S (Vᵀ C⁻¹).
 * 'ipm' takes the first directions, 'kpm' the last. CorDA, Yang et al., https://arxiv.org/abs/2406.05223.
 */
export async function covarianceStart(
  base: AdapterBase,
  site: SiteShape,
  rank: number,
  scale: number,
  { calibration, mode }: { calibration: Calibration | undefined; mode: 'ipm' | 'kpm' },
): Promise<StartFactors> {
  if (calibration === undefined) throw new InternalError(`${site.path}: no examples to measure the inputs on`);
  const { inputs, outputs } = site;
  const measured = await calibration.inputCovariance(site);
  if (measured.some((x) => !Number.isFinite(x)))
    throw new ModelError(`${site.path}: the covariance of its inputs is not finite`, { module: site.path });
  const { covariance, inverse } = await invertDamped(measured, inputs);
  const weight = await base.readRows(site, 0, outputs);
  const most = Math.min(inputs, outputs);
  const all = await singularTriplets(
    await timesSymmetric(weight, outputs, covariance, inputs),
    outputs,
    inputs,
    mode === 'ipm' ? rank : most,
  );
  const first = mode === 'ipm' ? 0 : most - rank;
  const chosen: SingularTriplets = {
    values: all.values.slice(first, first + rank),
    left: all.left.slice(first, first + rank),
    right: all.right.slice(first, first + rank),
  };
  const rows = new Float64Array(rank * inputs);
  chosen.right.forEach((vector, i) => {
    rows.set(vector, i * inputs);
  });
  const back = await timesSymmetric(rows, rank, inverse, inputs);
  return balanced(
    chosen,
    chosen.right.map((_, i) => back.subarray(i * inputs, (i + 1) * inputs)),
    scale,
  );
}

// B = U √(S / scale) and A = √(S / scale) · rows.
function balanced({ values, left }: SingularTriplets, rows: readonly Float64Array[], scale: number): StartFactors {
  const [width, height] = [(rows[0] as Float64Array).length, (left[0] as Float64Array).length];
  const a = new Float32Array(rows.length * width);
  const bT = new Float32Array(rows.length * height);
  rows.forEach((row, i) => {
    const share = Math.sqrt((values[i] as number) / scale);
    for (let c = 0; c < width; c++) a[i * width + c] = share * (row[c] as number);
    for (let r = 0; r < height; r++) bT[i * height + r] = share * ((left[i] as Float64Array)[r] as number);
  });
  return { a, bT };
}
