import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { WorkSlices } from '../work_slices.js';
import { cayley, cayleySeries, turnRows } from './skew_rotation.js';

const schema = z.looseObject({
  coft: z.boolean().nullish(),
  eps: z.number().finite().nullish(),
  block_share: z.boolean().nullish(),
  use_cayley_neumann: z.boolean().nullish(),
  num_cayley_neumann_terms: z.number().int().min(1).max(64).nullish(),
});

interface OftConfig {
  /** Largest length of all entries together, where training was constrained (COFT). */
  readonly radius: number | undefined;
  readonly shared: boolean;
  /** Terms of the power series; undefined: the exact transform. */
  readonly terms: number | undefined;
}

/** The rotation of every block, from the entries above the diagonal of its skew-symmetric matrix. */
export async function rotations(
  entries: Float64Array,
  blocks: number,
  size: number,
  { radius, terms }: OftConfig,
): Promise<Float64Array[]> {
  const each = (size * (size - 1)) / 2;
  const slices = new WorkSlices();
  const turns: Float64Array[] = [];
  for (let block = 0; block < blocks; block++) {
    const skew = new Float64Array(size * size);
    let at = block * each;
    for (let i = 0; i < size; i++)
      for (let j = i + 1; j < size; j++, at++) {
        skew[i * size + j] = entries[at] as number;
        skew[j * size + i] = -(entries[at] as number);
      }
    if (radius !== undefined) {
      const longest = radius / Math.sqrt(blocks);
      const length = Math.sqrt(skew.reduce((sum, x) => sum + x * x, 0));
      if (length > longest) for (let i = 0; i < skew.length; i++) skew[i] = ((skew[i] as number) * longest) / length;
    }
    turns.push(terms === undefined ? cayley(skew, size) : cayleySeries(skew, size, terms));
    await slices.pause(2 * size ** 3 * (terms ?? 1));
  }
  return turns;
}

/** Inputs turned by a rotation with blocks along its diagonal: W Rᵀ. Qiu et al., https://arxiv.org/abs/2306.07280. */
export const oft: AdapterMethod<OftConfig> = {
  peftType: 'OFT',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const options = readMethodOptions(schema, raw, adapter);
    return {
      radius: options.coft ? (options.eps ?? 6e-5) : undefined,
      shared: options.block_share ?? false,
      terms: (options.use_cayley_neumann ?? true) ? (options.num_cayley_neumann_terms ?? 5) : undefined,
    };
  },

  identity: (config) => config,
  split: partNames(['oft_R']),
  describe: ({ radius }) => (radius === undefined ? 'OFT' : 'COFT'),
  measure: () => undefined,

  async read(config, { adapter, base, site }, parts) {
    const [blocks = 0, entries = 0] = parts.shape('oft_R');
    const size = (1 + Math.sqrt(1 + 8 * entries)) / 2;
    const values = parts.values('oft_R', [blocks, entries]);
    const covered = config.shared ? site.inputs % size === 0 && blocks === 1 : blocks * size === site.inputs;
    if (!Number.isInteger(size) || !covered)
      throw new AdapterError(
        `${adapter} does not fit ${base}: oft_R of ${site.path} is [${blocks}, ${entries}], which are no rotations of ${site.inputs} inputs`,
        { module: site.path, actual: [blocks, entries], base },
      );
    const turns = await rotations(values, blocks, size, config);
    return {
      kind: 'weight',
      rowGroup: 1,
      workPerRow: site.inputs * size,
      merge: (rows) => turnRows(rows, site.inputs, turns, size),
    };
  },
};
