import { FourierTransform } from '../fourier_transform.js';
import type { AdapterMethod } from '../method.js';
import { readMethodOptions } from '../method_options.js';
import { partNames } from '../part_names.js';
import { type PlacedNumber, placeSpectrum, seededSchema } from './seeded_places.js';

/** Adds scale times the real part of the inverse transform of a sparse spectrum [outputs, inputs] to rows `first`.. of a weight. */
export function addInverseTransform(
  rows: Float64Array,
  first: number,
  spectrum: readonly PlacedNumber[],
  alongOutputs: Pick<FourierTransform, 'length' | 'cosines' | 'sines'>,
  transform: FourierTransform,
  scale: number,
): void {
  const inputs = transform.length;
  const { cosines, sines, length: outputs } = alongOutputs;
  const real = new Float64Array(inputs);
  const imaginary = new Float64Array(inputs);
  for (let r = 0; r < rows.length / inputs; r++) {
    // Along the outputs by its definition, few numbers as it has; then all inputs at once.
    real.fill(0);
    imaginary.fill(0);
    for (const { row, column, value } of spectrum) {
      const angle = (row * (first + r)) % outputs;
      real[column] = (real[column] as number) + value * (cosines[angle] as number);
      imaginary[column] = (imaginary[column] as number) + value * (sines[angle] as number);
    }
    transform.invert(real, imaginary);
    const factor = scale / (outputs * inputs);
    for (let i = 0; i < inputs; i++) rows[r * inputs + i] = (rows[r * inputs + i] as number) + factor * (real[i] as number);
  }
}

/** A change whose Fourier transform is known at a few random places. Gao et al., https://arxiv.org/abs/2405.03003. */
export const fourierft: AdapterMethod<{ scale: number; seed: number }> = {
  peftType: 'FOURIERFT',
  sites: ['linear'],

  readConfig(raw, adapter) {
    const { scaling, random_loc_seed: seed } = readMethodOptions(seededSchema, raw, adapter);
    return { scale: scaling, seed: seed ?? 777 };
  },

  identity: (config) => config,
  split: partNames(['fourierft_spectrum']),
  describe: () => 'FourierFT',
  measure: () => undefined,

  read({ scale, seed }, request, parts) {
    const { inputs, outputs } = request.site;
    const spectrum = placeSpectrum('fourierft_spectrum', seed, request, parts);
    const alongOutputs = new FourierTransform(outputs);
    const transform = new FourierTransform(inputs);
    return {
      kind: 'weight',
      rowGroup: 1,
      workPerRow: transform.work + 8 * spectrum.length,
      merge: (rows, first) => addInverseTransform(rows, first, spectrum, alongOutputs, transform, scale),
    };
  },
};
