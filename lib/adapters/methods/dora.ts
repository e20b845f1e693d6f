import { AdapterError } from '../../errors.js';
import type { AdapterBase, LowRank, SiteShape } from '../method.js';
import { widen } from '../rows.js';
import { rowsPerSlice, WorkSlices } from '../work_slices.js';

/**
 * The factor of every output that makes ‖W + scale · B A‖ along it equal to the magnitude. DoRA, Liu et al.,
 * https://arxiv.org/abs/2402.09353.
 */
export async function magnitudeGain(
  factors: LowRank,
  site: SiteShape,
  base: Pick<AdapterBase, 'readRows'>,
  adapter: string,
): Promise<Float32Array> {
  const magnitude = factors.magnitude as Float32Array;
  const squares = await (site.kind === 'embedding' ? columnSquares : rowSquares)(factors, site, base);
  return magnitude.map((value, n) => {
    const gain = value / Math.sqrt(squares[n] as number);
    if (!Number.isFinite(gain))
      throw new AdapterError(`${adapter}: ${site.path} has a weight row of length 0 at output ${n}, so its magnitude cannot be applied`, {
        module: site.path,
        output: n,
      });
    return gain;
  });
}

// Outputs of a linear layer are rows of W.
async function rowSquares({ a, bT, scale }: LowRank, site: SiteShape, base: Pick<AdapterBase, 'readRows'>): Promise<Float64Array> {
  const rowsOfA = widen(a).data;
  const rowsOfB = widen(bT).data;
  const { inputs, outputs } = site;
  const squares = new Float64Array(outputs);
  const slices = new WorkSlices();
  const atOnce = rowsPerSlice(inputs * (a.count + 1));
  const sum = new Float64Array(inputs);
  for (let first = 0; first < outputs; first += atOnce) {
    const count = Math.min(atOnce, outputs - first);
    const weight = await base.readRows(site, first, count);
    for (let r = 0; r < count; r++) {
      for (let i = 0; i < inputs; i++) sum[i] = weight[r * inputs + i] as number;
      for (let j = 0; j < a.count; j++) {
        const factor = scale * (rowsOfB[j * outputs + first + r] as number);
        const at = j * inputs;
        for (let i = 0; i < inputs; i++) sum[i] = (sum[i] as number) + factor * (rowsOfA[at + i] as number);
      }
      let square = 0;
      for (let i = 0; i < inputs; i++) square += (sum[i] as number) ** 2;
      squares[first + r] = square;
    }
    await slices.pause(count * inputs * (a.count + 1));
  }
  return squares;
}

// Outputs of an embedding are columns of its table.
async function columnSquares({ a, bT, scale }: LowRank, site: SiteShape, base: Pick<AdapterBase, 'readRows'>): Promise<Float64Array> {
  const rowsOfA = widen(a).data;
  const rowsOfB = widen(bT).data;
  const { inputs: vocabulary, outputs } = site;
  const squares = new Float64Array(outputs);
  const slices = new WorkSlices();
  const atOnce = rowsPerSlice(outputs * (a.count + 1));
  const sum = new Float64Array(outputs);
  for (let first = 0; first < vocabulary; first += atOnce) {
    const count = Math.min(atOnce, vocabulary - first);
    const table = await base.readRows(site, first, count);
    for (let id = first; id < first + count; id++) {
      for (let n = 0; n < outputs; n++) sum[n] = table[(id - first) * outputs + n] as number;
      for (let j = 0; j < a.count; j++) {
        const factor = scale * (rowsOfA[j * vocabulary + id] as number);
        const at = j * outputs;
        for (let n = 0; n < outputs; n++) sum[n] = (sum[n] as number) + factor * (rowsOfB[at + n] as number);
      }
      for (let n = 0; n < outputs; n++) squares[n] = (squares[n] as number) + (sum[n] as number) ** 2;
    }
    await slices.pause(count * outputs * (a.count + 1));
  }
  return squares;
}
