import type { ExampleSet } from '../../lib/train/data/example_set.js';
import { random } from '../text/random.js';

/** Examples of the given lengths. Ids are all different, so that each token tells where it is from; about a third of the labels is missing. */
export function examplesOf(lengths: readonly number[], seed = 1): ExampleSet {
  const next = random(seed);
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const ids = Int32Array.from({ length: total }, (_, i) => 1000 + i);
  const labels = new Int32Array(total).fill(-1);
  const starts = new Int32Array(lengths.length);
  let at = 0;
  lengths.forEach((length, e) => {
    starts[e] = at;
    for (let i = 0; i + 1 < length; i++) if (i === 0 || next() % 3 > 0) labels[at + i] = ids[at + i + 1] as number;
    at += length;
  });
  return { ids, labels, starts, lengths: Int32Array.from(lengths) };
}

/** Pseudo-random lengths from 1 to `most`. */
export function randomLengths(count: number, most: number, seed: number): number[] {
  const next = random(seed);
  return Array.from({ length: count }, () => 1 + (next() % most));
}
