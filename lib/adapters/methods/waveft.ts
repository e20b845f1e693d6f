import { z } from 'zod';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions, refuseOption } from '../method_options.js';
import { partNames } from '../part_names.js';
import { type PlacedNumber, placeSpectrum, seededSchema } from './seeded_places.js';
import { sparseWeight } from './shira.js';

const schema = seededSchema.extend({ wavelet_family: z.string().nullish(), use_idwt: z.boolean().nullish() });

/**
 * One level of the inverse Haar transform of a sparse spectrum: every coefficient becomes a block of 2 · 2, with the sign of its
 * quarter. Odd sides are one longer while they are transformed.
 */
export function inverseHaar(spectrum: readonly PlacedNumber[], outputs: number, inputs: number): PlacedNumber[] {
  const [tall, wide] = [Math.ceil(outputs / 2), Math.ceil(inputs / 2)];
  return spectrum.flatMap(({ row, column, value }) => {
    // The right quarters hold what differs down the rows, the lower ones what differs across the columns.
    const [differsDown, differsAcross] = [column >= wide, row >= tall];
    const [top, left] = [2 * (row % tall), 2 * (column % wide)];
    return [0, 1, 2, 3].flatMap((corner) => {
      const [down, across] = [corner >> 1, corner & 1];
      if (top + down >= outputs || left + across >= inputs) return [];
      const sign = (differsDown && down ? -1 : 1) * (differsAcross && across ? -1 : 1);
      return [{ row: top + down, column: left + across, value: (sign * value) / 2 }];
    });
  });
}

/** A change whose wavelet transform is known at a few random places. Bilican et al., https://arxiv.org/abs/2505.12532. */
export const waveft: AdapterMethod<{ scale: number; seed: number; transformed: boolean }> = {
  peftType: 'WAVEFT',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const options = readMethodOptions(schema, raw, adapter);
    const transformed = options.use_idwt ?? true;
    const family = options.wavelet_family ?? 'db1';
    if (transformed && family !== 'db1' && family !== 'haar')
      refuseOption(adapter, 'wavelet_family', family, 'supported is db1, the Haar wavelet');
    return { scale: options.scaling, seed: options.random_loc_seed ?? 777, transformed };
  },

  identity: (config) => config,
  split: partNames(['waveft_spectrum']),
  describe: ({ transformed }) => (transformed ? 'WaveFT' : 'WaveFT (sparse)'),
  measure: () => undefined,

  read({ scale, seed, transformed }, request, parts) {
    const { inputs, outputs } = request.site;
    const spectrum = placeSpectrum('waveft_spectrum', seed, request, parts);
    return sparseWeight(transformed ? inverseHaar(spectrum, outputs, inputs) : spectrum, inputs, scale);
  },
};
