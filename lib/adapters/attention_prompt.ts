import { AdapterError } from '../errors.js';
import type { AdapterBase, AttentionPrompt, RowBlock, SiteParts, SiteRequest, SiteShape } from './method.js';
import { toFloat64 } from './rows.js';
import { rowsPerSlice, WorkSlices } from './work_slices.js';

/** Keys and values of an adapter's rows at one layer, made with the base's own projections. Positions do not turn them. */
export async function attentionParts(request: SiteRequest, base: AdapterBase, change: AttentionPrompt): Promise<SiteParts> {
  const { adapter, site } = request;
  const projection = (name: string): SiteShape => {
    const found = base.sites.find(({ path }) => path === `${site.path}.${name}`);
    if (found !== undefined) return found;
    throw new AdapterError(`${adapter} does not fit ${base.name}: ${site.path} has no ${name} to make keys and values with`, {
      module: site.path,
      missing: name,
      base: base.name,
    });
  };
  // PEFT runs the output projection twice, its bias included.
  if (projection('o_proj').bias)
    throw new AdapterError(`${adapter} does not fit ${base.name}: o_proj of ${site.path} has a bias, which is not supported here`, {
      module: site.path,
      base: base.name,
    });
  const keys = await project(change.rows, projection('k_proj'), base);
  const values = await project(change.rows, projection('v_proj'), base);
  return {
    path: site.path,
    number: site.number,
    site: 'attention',
    kind: 'dense',
    dtype: 'f32',
    rank: keys.count,
    scale: change.gate,
    a: keys,
    bT: values,
  };
}

// Rows times a weight, plus its bias, in float64.
async function project({ dtype, count, width, data }: RowBlock, site: SiteShape, base: AdapterBase): Promise<RowBlock> {
  const rows = toFloat64(dtype, data);
  const bias = site.bias ? await base.readBias(site) : undefined;
  const product = new Float32Array(count * site.outputs);
  const slices = new WorkSlices();
  const step = rowsPerSlice(width * count);
  for (let first = 0; first < site.outputs; first += step) {
    const weights = await base.readRows(site, first, Math.min(step, site.outputs - first));
    for (let n = 0; n < weights.length / width; n++)
      for (let t = 0; t < count; t++) {
        let sum = bias?.[first + n] ?? 0;
        for (let i = 0; i < width; i++) sum += (rows[t * width + i] as number) * (weights[n * width + i] as number);
        product[t * site.outputs + first + n] = sum;
      }
    await slices.pause(weights.length * count);
  }
  return { dtype: 'f32', count, width: site.outputs, data: product };
}
