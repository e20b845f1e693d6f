import { AdapterError } from '../../errors.js';
import type { AdapterMethod, MergedWeight } from '../method.js';
import { partNames } from '../part_names.js';
import type { PlacedNumber } from './seeded_places.js';

/** W plus scale times single numbers; several at one place add up. */
export function sparseWeight(numbers: readonly PlacedNumber[], inputs: number, scale: number): MergedWeight {
  const byRow = new Map<number, PlacedNumber[]>();
  for (const number of numbers) {
    const row = byRow.get(number.row);
    if (row === undefined) byRow.set(number.row, [number]);
    else row.push(number);
  }
  const merge = (rows: Float64Array, first: number): void => {
    for (let r = 0; r < rows.length / inputs; r++)
      for (const { column, value } of byRow.get(first + r) ?? [])
        rows[r * inputs + column] = (rows[r * inputs + column] as number) + scale * value;
  };
  return { kind: 'weight', rowGroup: 1, workPerRow: inputs, merge };
}

/** Single trained entries of the weight. Bhardwaj et al., https://arxiv.org/abs/2406.13175. */
export const shira: AdapterMethod = {
  peftType: 'SHIRA',
  sites: ['linear'],
  integerParts: ['shira_indices'],
  readConfig: () => ({}),
  identity: () => undefined,
  split: partNames(['shira_weight', 'shira_indices']),
  describe: () => 'SHiRA',
  measure: () => undefined,

  read(_, { adapter, base, site }, parts) {
    const values = parts.values('shira_weight');
    const indices = parts.integers('shira_indices', [2, values.length]);
    const numbers = Array.from(values, (value, i) => ({
      row: indices.data[i] as number,
      column: indices.data[values.length + i] as number,
      value,
    }));
    const outside = numbers.find(({ row, column }) => row < 0 || row >= site.outputs || column < 0 || column >= site.inputs);
    if (outside !== undefined)
      throw new AdapterError(
        `${adapter} does not fit ${base}: ${indices.name} names row ${outside.row}, column ${outside.column} of ${site.path}, which is [${site.outputs}, ${site.inputs}]`,
        { tensor: indices.name, actual: [outside.row, outside.column], expected: [site.outputs, site.inputs], base },
      );
    return sparseWeight(numbers, site.inputs, 1);
  },
};
