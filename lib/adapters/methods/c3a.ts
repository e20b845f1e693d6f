import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { partNames } from '../part_names.js';

/**
 * Adds a matrix of circulant blocks, divided by the inputs, to rows `first`.. of a weight. Block (m, n) has the value
 * kernel[m, n, (c − r) mod size] at row r and column c.
 */
export function addCirculantBlocks(rows: Float64Array, first: number, kernels: Float64Array, size: number, inputs: number): void {
  const across = inputs / size;
  for (let r = 0; r < rows.length / inputs; r++) {
    const row = first + r;
    const m = Math.floor(row / size);
    for (let i = 0; i < inputs; i++) {
      const n = Math.floor(i / size);
      const shift = ((i % size) - (row % size) + size) % size;
      rows[r * inputs + i] = (rows[r * inputs + i] as number) + (kernels[(m * across + n) * size + shift] as number) / inputs;
    }
  }
}

/** A circular convolution of each block of inputs for each block of outputs. Chen et al., https://arxiv.org/abs/2407.19342. */
export const c3a: AdapterMethod = {
  peftType: 'C3A',
  sites: ['linear'],
  readConfig: () => ({}),
  identity: () => undefined,
  split: partNames(['c3a_kernel']),
  describe: () => 'C3A',
  measure: () => undefined,

  read(_, { adapter, base, site }, parts) {
    const [down = 0, across = 0, size = 0] = parts.shape('c3a_kernel');
    const kernels = parts.values('c3a_kernel', [down, across, size]);
    if (down * size !== site.outputs || across * size !== site.inputs)
      throw new AdapterError(
        `${adapter} does not fit ${base}: c3a_kernel of ${site.path} is [${down}, ${across}, ${size}], which covers [${down * size}, ${across * size}], expected [${site.outputs}, ${site.inputs}]`,
        { module: site.path, actual: [down, across, size], base },
      );
    return {
      kind: 'weight',
      rowGroup: 1,
      workPerRow: site.inputs,
      merge: (rows, first) => addCirculantBlocks(rows, first, kernels, size, site.inputs),
    };
  },
};
