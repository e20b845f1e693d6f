import { z } from 'zod';
import { AdapterError } from '../../errors.js';
import type { SiteRequest } from '../method.js';
import { startOfPermutation } from '../seeded_permutation.js';
import type { SiteTensorReader } from '../site_tensor_reader.js';

/** Options of the methods that train single coefficients at random places. */
export const seededSchema = z.looseObject({
  scaling: z.number().finite(),
  random_loc_seed: z.number().int().nullish(),
});

/** A trained number at a row and a column. */
export interface PlacedNumber {
  readonly row: number;
  readonly column: number;
  readonly value: number;
}

/** The numbers of a spectrum at the places that the seed draws in [outputs, inputs]; the file holds the numbers alone. */
export function placeSpectrum(part: string, seed: number, { adapter, base, site }: SiteRequest, parts: SiteTensorReader): PlacedNumber[] {
  const values = parts.values(part);
  const total = site.inputs * site.outputs;
  if (parts.shape(part).length !== 1 || values.length > total)
    throw new AdapterError(
      `${adapter} does not fit ${base}: ${part} of ${site.path} is [${parts.shape(part).join(', ')}], expected at most ${total} numbers`,
      { module: site.path, actual: parts.shape(part), base },
    );
  return startOfPermutation(seed, total, values.length).map((place, i) => ({
    row: Math.floor(place / site.inputs),
    column: place % site.inputs,
    value: values[i] as number,
  }));
}
