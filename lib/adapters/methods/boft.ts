import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { partNames } from '../part_names.js';
import { WorkSlices } from '../work_slices.js';
import { cayley, turnRows } from './skew_rotation.js';

/**
 * Where inputs go before the rotation of one butterfly level and come back from after it: blocks of `size` · 2^level inputs,
 * with their even half-blocks first and the odd ones behind.
 */
export function butterflyOrder(inputs: number, size: number, level: number): Int32Array {
  const order = new Int32Array(inputs);
  const block = size * 2 ** level;
  const half = size / 2;
  const halves = block / half;
  for (let at = 0; at < inputs; at++) {
    const inside = at % block;
    const position = Math.floor(inside / half);
    const evens = halves / 2;
    const source = position < evens ? 2 * position : 2 * (position - evens) + 1;
    order[at] = at - inside + source * half + (inside % half);
  }
  return order;
}

/** Orthogonal butterflies: a product of sparse rotations of the inputs, and a factor per output: diag(s) W Rᵀ. Liu et al., https://arxiv.org/abs/2311.06243. */
export const boft: AdapterMethod = {
  peftType: 'BOFT',
  sites: ['linear'],
  readConfig: () => ({}),
  identity: () => undefined,
  split: partNames(['boft_R', 'boft_s']),
  describe: () => 'BOFT',
  measure: () => undefined,

  async read(_, { adapter, base, site }, parts) {
    const { inputs, outputs } = site;
    const [levels = 0, blocks = 0, size = 0] = parts.shape('boft_R');
    const values = parts.values('boft_R', [levels, blocks, size, size]);
    const scale = parts.values('boft_s', [outputs, 1]);
    if (blocks * size !== inputs || (levels > 1 && (size % 2 !== 0 || inputs % (size * 2 ** (levels - 1)) !== 0)))
      throw new AdapterError(
        `${adapter} does not fit ${base}: boft_R of ${site.path} is [${levels}, ${blocks}, ${size}, ${size}], which is no butterfly over ${inputs} inputs`,
        { module: site.path, actual: [levels, blocks, size, size], base },
      );
    const slices = new WorkSlices();
    const turns: Float64Array[][] = [];
    for (let level = 0; level < levels; level++) {
      const row: Float64Array[] = [];
      for (let block = 0; block < blocks; block++) {
        row.push(skewTurn(values.subarray((level * blocks + block) * size * size), size));
        await slices.pause(2 * size ** 3);
      }
      turns.push(row);
    }
    const orders = turns.map((_unused, level) => (levels === 1 ? undefined : butterflyOrder(inputs, size, level)));
    const merge = (rows: Float64Array, first: number): void => {
      turns.forEach((level, i) => {
        turnInOrder(rows, inputs, level, size, orders[i]);
      });
      for (let i = 0; i < rows.length; i++) rows[i] = (rows[i] as number) * (scale[first + Math.floor(i / inputs)] as number);
    };
    return { kind: 'weight', rowGroup: 1, workPerRow: inputs * size * levels, merge };
  },
};

// The skew-symmetric part of any matrix.
function skewTurn(matrix: Float64Array, size: number): Float64Array {
  const skew = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) skew[i * size + j] = ((matrix[i * size + j] as number) - (matrix[j * size + i] as number)) / 2;
  return cayley(skew, size);
}

function turnInOrder(rows: Float64Array, inputs: number, blocks: Float64Array[], size: number, order: Int32Array | undefined): void {
  if (order === undefined) {
    turnRows(rows, inputs, blocks, size);
    return;
  }
  // The level is P B Pᵀ with ones at P[at, order[at]].
  const moved = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) {
    const at = i % inputs;
    moved[i - at + (order[at] as number)] = rows[i] as number;
  }
  turnRows(moved, inputs, blocks, size);
  for (let i = 0; i < rows.length; i++) {
    const at = i % inputs;
    rows[i] = moved[i - at + (order[at] as number)] as number;
  }
}
