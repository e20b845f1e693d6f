import type { AdapterMethod } from '../method.js';
import { partNames } from '../part_names.js';
import { type AlphaOverRank, readAlphaOverRank } from './alpha_over_rank.js';

/** Factors of one product: a [outputs, rank], b [rank, inputs]. */
export interface ProductFactors {
  readonly a: Float64Array;
  readonly b: Float64Array;
}

/** Adds scale · (first ∘ second) to rows `first row`.. of a weight: the elementwise product of two low-rank products. */
export function addHadamardProduct(
  rows: Float64Array,
  firstRow: number,
  factors: readonly [ProductFactors, ProductFactors],
  rank: number,
  inputs: number,
  scale: number,
): void {
  const product = ({ a, b }: ProductFactors, row: number): Float64Array => {
    const sum = new Float64Array(inputs);
    for (let j = 0; j < rank; j++) {
      const factor = a[row * rank + j] as number;
      for (let i = 0; i < inputs; i++) sum[i] = (sum[i] as number) + factor * (b[j * inputs + i] as number);
    }
    return sum;
  };
  for (let r = 0; r < rows.length / inputs; r++) {
    const [one, other] = factors.map((pair) => product(pair, firstRow + r)) as [Float64Array, Float64Array];
    for (let i = 0; i < inputs; i++)
      rows[r * inputs + i] = (rows[r * inputs + i] as number) + scale * (one[i] as number) * (other[i] as number);
  }
}

/** The elementwise product of two low-rank products, whose rank is up to their square. Hyeon-Woo et al. (FedPara), https://arxiv.org/abs/2108.06098. */
export const loha: AdapterMethod<AlphaOverRank> = {
  peftType: 'LOHA',
  sites: ['linear'],
  readConfig: readAlphaOverRank,
  identity: ({ alpha, rank, alphaPattern, rankPattern }) => ({ alpha, rank, alphaPattern, rankPattern }),
  split: partNames(['hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b']),
  describe: () => 'LoHa',

  measure(config, module, shapes) {
    const rank = shapes.get('hada_w1_b')?.[0];
    return rank === undefined ? undefined : { rank, scale: config.scaleOf(module) };
  },

  read(config, { site, module }, parts) {
    const rank = config.rankOf(module);
    const { inputs, outputs } = site;
    const factors = ['hada_w1', 'hada_w2'].map((name) => ({
      a: parts.values(`${name}_a`, [outputs, rank]),
      b: parts.values(`${name}_b`, [rank, inputs]),
    })) as [ProductFactors, ProductFactors];
    const scale = config.scaleOf(module);
    // As factors it has rank² rows: fewer numbers than the weight only where the rank is small.
    if (rank * rank * (inputs + outputs) >= inputs * outputs)
      return {
        kind: 'weight',
        rowGroup: 1,
        workPerRow: inputs * (2 * rank + 2),
        merge: (rows, first) => addHadamardProduct(rows, first, factors, rank, inputs, scale),
      };
    return { kind: 'lowRank', ...hadamardFactors(factors, rank, inputs, outputs), scale };
  },
};

// (Σ_p a_p b_p) ∘ (Σ_q c_q d_q) = Σ_pq (a_p ∘ c_q)(b_p ∘ d_q)
function hadamardFactors([one, other]: readonly [ProductFactors, ProductFactors], rank: number, inputs: number, outputs: number) {
  const a = new Float32Array(rank * rank * inputs);
  const bT = new Float32Array(rank * rank * outputs);
  for (let p = 0; p < rank; p++)
    for (let q = 0; q < rank; q++) {
      const j = p * rank + q;
      for (let i = 0; i < inputs; i++) a[j * inputs + i] = (one.b[p * inputs + i] as number) * (other.b[q * inputs + i] as number);
      for (let n = 0; n < outputs; n++) bT[j * outputs + n] = (one.a[n * rank + p] as number) * (other.a[n * rank + q] as number);
    }
  return {
    a: { dtype: 'f32', count: rank * rank, width: inputs, data: a },
    bT: { dtype: 'f32', count: rank * rank, width: outputs, data: bT },
  } as const;
}
