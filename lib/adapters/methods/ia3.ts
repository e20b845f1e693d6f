import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { partNames } from '../part_names.js';

/** One factor per output, or per input where the module is a feed-forward one. Liu et al., https://arxiv.org/abs/2205.05638. */
export const ia3: AdapterMethod = {
  peftType: 'IA3',
  sites: ['linear'],
  readConfig: () => ({}),
  identity: () => undefined,
  split: partNames(['ia3_l']),
  describe: () => 'IA3',
  measure: () => undefined,

  // The shape tells which: [outputs, 1] or, as feedforward_modules has it, [1, inputs].
  read(_, { adapter, base, site }, parts) {
    const { inputs, outputs } = site;
    const shape = parts.shape('ia3_l');
    const [rows, columns] = shape;
    const factors = parts.values('ia3_l');
    if (shape.length === 2 && rows === outputs && columns === 1) return { kind: 'scale', factors: Float32Array.from(factors) };
    if (shape.length !== 2 || rows !== 1 || columns !== inputs)
      throw new AdapterError(
        `${adapter} does not fit ${base}: ia3_l of ${site.path} is [${shape.join(', ')}], expected [${outputs}, 1] or [1, ${inputs}]`,
        { module: site.path, actual: [...shape], expected: [outputs, 1], base },
      );
    const merge = (weights: Float64Array): void => {
      for (let i = 0; i < weights.length; i++) weights[i] = (weights[i] as number) * (factors[i % inputs] as number);
    };
    return { kind: 'weight', rowGroup: 1, workPerRow: inputs, merge };
  },
};
