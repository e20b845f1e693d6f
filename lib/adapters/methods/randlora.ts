import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import { addScaled } from '../merged_weight.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import { partNames } from '../part_names.js';
import { blockOf } from '../rows.js';
import { expectAtLeast } from '../tensor_shape.js';

const schema = z.looseObject({
  r: z.number().int().min(1).max(65_536),
  randlora_alpha: z.number().finite().nullish(),
  save_projection: z.boolean().nullish(),
});

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
    const a = parts.values('randlora_A');
    const b = parts.values('randlora_B');
    const all = rank * bases;
    // Row p of each: A counts bases within a rank, B ranks within a basis.
    const along = Float64Array.from({ length: all * short }, (_, i) => {
      const [p, j] = [Math.floor(i / short), i % short];
      const [k, basis] = [Math.floor(p / bases), p % bases];
      const own = a[(k * basesOfA + (basesOfA === 1 ? 0 : basis)) * widthOfA + j] as number;
      return (lambda[k * bases + basis] as number) * own * (gamma[basis * short + j] as number);
    });
    const across = Float64Array.from({ length: all * long }, (_, i) => {
      const [p, j] = [Math.floor(i / long), i % long];
      return b[j * basesOfB * rank + p] as number;
    });
    const scale = alpha / rank;
    const [ofInputs, ofOutputs] = short === inputs ? [along, across] : [across, along];
    if (all * (inputs + outputs) < inputs * outputs)
      return { kind: 'lowRank', a: blockOf(ofInputs, all, inputs), bT: blockOf(ofOutputs, all, outputs), scale };
    const merge = (rows: Float64Array, first: number): void => {
      for (let r = 0; r < rows.length / inputs; r++)
        for (let p = 0; p < all; p++)
          addScaled(rows, r * inputs, scale * (ofOutputs[p * outputs + first + r] as number), ofInputs, p * inputs, inputs);
    };
    return { kind: 'weight', rowGroup: 1, workPerRow: inputs * all, merge };
  },
};
