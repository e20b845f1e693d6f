import type { InitialValues } from '../../adapters/trainable_method.js';
import { purposes, uniform } from '../counter_random.js';

const purpose = purposes.initialValues;

// FNV-1a: a word that tells names apart.
function wordOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** The first values of a parameter: random ones depend on seed and name alone. */
export function initialValues(initial: InitialValues, count: number, seed: number, name: string): Float32Array {
  switch (initial.kind) {
    case 'constant':
      return new Float32Array(count).fill(initial.value);
    case 'given':
      return initial.values;
    case 'uniform': {
      const word = wordOf(name);
      return Float32Array.from({ length: count }, (_, i) => (2 * uniform(seed, [i, word, 0, purpose]) - 1) * initial.bound);
    }
    case 'normal': {
      const word = wordOf(name);
      const draw = (i: number, which: number): number => uniform(seed, [i, word, which, purpose]);
      return Float32Array.from(
        { length: count },
        (_, i) => initial.deviation * Math.sqrt(-2 * Math.log(1 - draw(i, 0))) * Math.cos(2 * Math.PI * draw(i, 1)),
      );
    }
  }
}
