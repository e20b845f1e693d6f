import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import { partNames } from '../part_names.js';
import { expectAtLeast } from '../tensor_shape.js';

const schema = z.looseObject({
  r: z.number().int().min(1).max(65_536),
  randlora_alpha: z.number().finite().nullish(),
  save_projection: z.boolean().nullish(),
});

/** Random matrices with the trained diagonals between them. A [rank, bases or 1, ≥ shorter side], B [≥ longer side, ≥ bases · rank]. */
export interface RandomProducts {
  readonly rank: number;
  readonly bases: number;
  /** [rank, bases] */
  readonly lambda: Float64Array;
  /** [bases, shorter side] */
  readonly gamma: Float64Array;
  readonly a: { readonly values: Float64Array; readonly bases: number; readonly width: number };
  readonly b: { readonly values: Float64Array; readonly width: number };
}

// Term p of the sum: A counts bases within a rank, B ranks within a basis.
function termOfA({ bases, lambda, gamma, a }: RandomProducts, p: number, short: number, j: number): number {
  const [k, basis] = [Math.floor(p / bases), p % bases];
  const own = a.values[(k * a.bases + (a.bases === 1 ? 0 : basis)) * a.width + j] as number;
  return (lambda[k * bases + basis] as number) * own * (gamma[basis * short + j] as number);
}

/** Adds scale · B A to rows `first`.. of a weight with at least as many outputs as inputs. */
export function addProductsToTall(rows: Float64Array, first: number, products: RandomProducts, inputs: number, scale: number): void {
  const { rank, bases, lambda, gamma, a, b } = products;
  const sum = new Float64Array(inputs);
  for (let r = 0; r < rows.length / inputs; r++)
    for (let basis = 0; basis < bases; basis++) {
      sum.fill(0);
      for (let k = 0; k < rank; k++) {
        const factor = (b.values[(first + r) * b.width + k * bases + basis] as number) * (lambda[k * bases + basis] as number);
        const at = (k * a.bases + (a.bases === 1 ? 0 : basis)) * a.width;
        for (let i = 0; i < inputs; i++) sum[i] = (sum[i] as number) + factor * (a.values[at + i] as number);
      }
      for (let i = 0; i < inputs; i++)
        rows[r * inputs + i] = (rows[r * inputs + i] as number) + scale * (gamma[basis * inputs + i] as number) * (sum[i] as number);
    }
}

/** Adds scale · (B A) transposed to rows `first`.. of a weight with more inputs than outputs. */
export function addProductsToWide(rows: Float64Array, first: number, products: RandomProducts, inputs: number, scale: number): void {
  const { rank, bases, gamma, b } = products;
  const all = rank * bases;
  const outputs = gamma.length / bases;
  const factors = new Float64Array(all);
  for (let r = 0; r < rows.length / inputs; r++) {
    for (let p = 0; p < all; p++) factors[p] = scale * termOfA(products, p, outputs, first + r);
    for (let i = 0; i < inputs; i++) {
      let sum = rows[r * inputs + i] as number;
      for (let p = 0; p < all; p++) sum += (factors[p] as number) * (b.values[i * b.width + p] as number);
      rows[r * inputs + i] = sum;
    }
  }
}

/** Sums of random products of rank r, weighted by trained diagonals: full rank from few numbers. Albert et al., https://arxiv.org/abs/2502.00987. */
export const randlora: AdapterMethod<{ rank: number; alpha: number }> = {
  peftType: 'RANDLORA',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const options = readMethodOptions(schema, raw, adapter);
    if (options.save_projection === false)
      refuseOption(adapter, 'save_projection', false, 'the file lacks randlora_A and randlora_B. Save it with save_projection set to true');
    return { rank: options.r, alpha: options.randlora_alpha ?? 640 };
  },

  identity: (config) => config,
  split: partNames(['randlora_lambda', 'randlora_gamma', 'randlora_A', 'randlora_B'], ['randlora_A', 'randlora_B']),
  describe: () => 'RandLoRA',
  measure: ({ rank, alpha }) => ({ rank, scale: alpha / rank }),

  // A lies along the shorter side of the weight, B along the longer one.
  read({ rank, alpha }, request, parts) {
    const { adapter, base, site } = request;
    const { inputs, outputs } = site;
    const [short, long] = [Math.min(inputs, outputs), Math.max(inputs, outputs)];
    const bases = parts.shape('randlora_gamma')[0] ?? 0;
    const lambda = parts.values('randlora_lambda', [rank, bases]);
    const gamma = parts.values('randlora_gamma', [bases, short]);
    const [, basesOfA = 0, widthOfA = 0] = parts.shape('randlora_A');
    const [, basesOfB = 0, ranksOfB = 0] = parts.shape('randlora_B');
    expectAtLeast(parts.floats('randlora_A'), [rank, 1, short], request);
    expectAtLeast(parts.floats('randlora_B'), [long, bases, rank], request);
    if ((basesOfA !== 1 && basesOfA < bases) || ranksOfB !== rank)
      throw new AdapterError(
        `${adapter} does not fit ${base}: randlora_A and randlora_B of ${site.path} have ${basesOfA} and ${basesOfB} bases of rank ${ranksOfB}, expected ${bases} of rank ${rank}`,
        { module: site.path, actual: [basesOfA, basesOfB, ranksOfB], base },
      );
    const products: RandomProducts = {
      rank,
      bases,
      lambda,
      gamma,
      a: { values: parts.values('randlora_A'), bases: basesOfA, width: widthOfA },
      b: { values: parts.values('randlora_B'), width: basesOfB * rank },
    };
    const add = short === inputs ? addProductsToTall : addProductsToWide;
    return {
      kind: 'weight',
      rowGroup: 1,
      workPerRow: inputs * rank * bases,
      merge: (rows, first) => add(rows, first, products, inputs, alpha / rank),
    };
  },
};
