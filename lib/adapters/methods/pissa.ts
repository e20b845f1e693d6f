import { AdapterError } from '../../errors.js';
import type { AdapterBase, LowRank, RowBlock, SiteShape } from '../method.js';
import { stack } from '../rows.js';
import { singularTriplets } from '../singular_vectors.js';

/**
 * Adapters that were trained on what remains of the base weight after its own leading part was taken out. The files hold the
 * trained part only, so loading takes the same part out again. PiSSA, Meng et al., https://arxiv.org/abs/2404.02948: the r
 * leading singular triplets. OLoRA, Büyükakyüz, https://arxiv.org/abs/2406.01775: scale · Q R of the first r columns.
 * The base is shared, so it keeps its weight and the adapter gets the negative of that part as further ranks.
 */
export async function withBaseChange(factors: LowRank, site: SiteShape, base: AdapterBase, adapter: string): Promise<LowRank> {
  const { baseChange, scale } = factors;
  // PEFT changes linear layers only.
  if (baseChange === undefined || site.kind !== 'linear') return factors;
  if (scale === 0)
    throw new AdapterError(`${adapter}: init_lora_weights '${baseChange}' needs a scale other than 0 at ${site.path}`, {
      option: 'init_lora_weights',
    });
  const weight = await base.readRows(site, 0, site.outputs);
  const taken =
    baseChange === 'pissa' ? await principalPart(weight, site, factors.a.count, scale) : orthonormalPart(weight, site, factors.a.count);
  return { ...factors, a: stack(factors.a, taken.a), bT: stack(factors.bT, taken.bT) };
}

async function principalPart(weight: Float32Array, site: SiteShape, rank: number, scale: number): Promise<{ a: RowBlock; bT: RowBlock }> {
  const { values, left, right } = await singularTriplets(weight, site.outputs, site.inputs, rank);
  const a = right.map((vector, i) => vector.map((x) => (x * (values[i] as number)) / scale));
  return {
    a: rowsOf(a, site.inputs),
    bT: rowsOf(
      left.map((vector) => vector.map((x) => -x)),
      site.outputs,
    ),
  };
}

/** A = Qᵀ W and B transposed = -Q, Q the orthonormalised first columns of W: what OLoRA takes out of a weight. */
export function orthonormalPart(weight: Float32Array, site: SiteShape, rank: number): { a: RowBlock; bT: RowBlock } {
  const { inputs, outputs } = site;
  const basis: Float64Array[] = [];
  for (let j = 0; j < Math.min(rank, inputs, outputs); j++) {
    const column = Float64Array.from({ length: outputs }, (_, o) => weight[o * inputs + j] as number);
    for (let pass = 0; pass < 2; pass++)
      for (const known of basis) {
        const along = known.reduce((sum, x, o) => sum + x * (column[o] as number), 0);
        for (let o = 0; o < outputs; o++) column[o] = (column[o] as number) - along * (known[o] as number);
      }
    const length = Math.sqrt(column.reduce((sum, x) => sum + x * x, 0));
    basis.push(column.map((x) => (length > 0 ? x / length : 0)));
  }
  const a = basis.map((direction) => {
    const row = new Float64Array(inputs);
    for (let o = 0; o < outputs; o++) {
      const factor = direction[o] as number;
      for (let i = 0; i < inputs; i++) row[i] = (row[i] as number) + factor * (weight[o * inputs + i] as number);
    }
    return row;
  });
  return {
    a: rowsOf(a, inputs),
    bT: rowsOf(
      basis.map((direction) => direction.map((x) => -x)),
      outputs,
    ),
  };
}

function rowsOf(vectors: readonly Float64Array[], width: number): RowBlock {
  const data = new Float32Array(vectors.length * width);
  vectors.forEach((vector, i) => {
    data.set(vector, i * width);
  });
  return { dtype: 'f32', count: vectors.length, width, data };
}
