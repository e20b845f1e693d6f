import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { blockOf } from '../rows.js';

const schema = z.looseObject({ apply_GS: z.boolean().nullish() });

/**
 * Reflects each row of W in turn at the planes across the unit `directions`, and gives what was added of each direction:
 * W (I − 2 u₁u₁ᵀ)(I − 2 u₂u₂ᵀ)… = W + C U. Rows stay as they are.
 */
export function reflectionCoefficients(rows: Float64Array, directions: readonly Float64Array[], into: Float64Array): void {
  const width = directions[0]?.length ?? 0;
  const rank = directions.length;
  for (let r = 0; r < rows.length / width; r++) {
    const row = rows.slice(r * width, (r + 1) * width);
    directions.forEach((direction, j) => {
      let along = 0;
      for (let i = 0; i < width; i++) along += (row[i] as number) * (direction[i] as number);
      into[r * rank + j] = -2 * along;
      for (let i = 0; i < width; i++) row[i] = (row[i] as number) - 2 * along * (direction[i] as number);
    });
  }
}

/** A product of reflections of the inputs, which differs from the identity by low rank. Yuan et al., https://arxiv.org/abs/2405.17484. */
export const hra: AdapterMethod<{ orthogonal: boolean }> = {
  peftType: 'HRA',
  sites: ['linear'],
  readConfig: (raw, adapter) => ({ orthogonal: readMethodOptions(schema, raw, adapter).apply_GS ?? false }),
  identity: (config) => config,
  split: partNames(['hra_u']),
  describe: () => 'HRA',

  measure(_config, _module, shapes) {
    const rank = shapes.get('hra_u')?.[1];
    return rank === undefined ? undefined : { rank, scale: 1 };
  },

  read({ orthogonal }, { adapter, site }, parts) {
    const { inputs } = site;
    const rank = parts.shape('hra_u')[1] ?? 0;
    const values = parts.values('hra_u', [inputs, rank]);
    const directions: Float64Array[] = [];
    for (let j = 0; j < rank; j++) {
      const direction = Float64Array.from({ length: inputs }, (_, i) => values[i * rank + j] as number);
      // Gram and Schmidt's process makes the order of the reflections indifferent.
      if (orthogonal)
        for (const known of directions) {
          const along = known.reduce((sum, x, i) => sum + x * (direction[i] as number), 0);
          for (let i = 0; i < inputs; i++) direction[i] = (direction[i] as number) - along * (known[i] as number);
        }
      const length = Math.sqrt(direction.reduce((sum, x) => sum + x * x, 0));
      if (!(length > 0))
        throw new AdapterError(`${adapter}: column ${j} of hra_u of ${site.path} has length ${length}, so it names no reflection`, {
          module: site.path,
          column: j,
        });
      directions.push(direction.map((x) => x / length));
    }
    const a = new Float64Array(rank * inputs);
    directions.forEach((direction, j) => {
      a.set(direction, j * inputs);
    });
    return {
      kind: 'projected',
      a: blockOf(a, rank, inputs),
      coefficients: (rows, into) => reflectionCoefficients(rows, directions, into),
    };
  },
};
