import { z } from 'zod';
import { AdapterError, OptionError } from '../../errors.js';
import { sparseLinear } from '../../ops/index.js';
import type { AdapterBase, SiteShape } from '../method.js';
import { startOfPermutation } from '../seeded_permutation.js';
import type { MethodSettings, TrainableMethod } from '../trainable_method.js';
import { largestPlaces } from './largest_places.js';
import { methodOptionsOf } from './trained_options.js';

const options = {
  mask: z.enum(['random', 'largest']).default('random'),
  seed: z.number().int().min(0).max(0xffffffff).default(0),
};
/** Columns are kept in 16 bits. */
const mostInputs = 65_536;

// As many numbers as low-rank factors of this rank would have.
const countOf = ({ rank }: MethodSettings, { inputs, outputs }: SiteShape): number => rank * (inputs + outputs);

/** Where the numbers stand, rising: row times inputs plus column. */
async function placesOf(settings: MethodSettings, site: SiteShape, base: AdapterBase): Promise<Float64Array> {
  const { mask, seed } = methodOptionsOf(settings, options);
  const count = countOf(settings, site);
  if (mask === 'largest') return largestPlaces(base, site, count);
  return Float64Array.from(startOfPermutation(seed, site.inputs * site.outputs, count)).sort();
}

/** Rows one after the other, as `sparseLinear` reads them: numbers before each row, and columns of 16 bits. */
function packed(places: Float64Array, { inputs, outputs }: SiteShape): { starts: Float32Array; columns: Float32Array } {
  const starts = new Int32Array(outputs + 1);
  const columns = new Uint16Array(2 * Math.ceil(places.length / 2));
  places.forEach((place, i) => {
    const row = Math.floor(place / inputs);
    starts[row + 1] = (starts[row + 1] as number) + 1;
    columns[i] = place - row * inputs;
  });
  for (let row = 0; row < outputs; row++) starts[row + 1] = (starts[row + 1] as number) + (starts[row] as number);
  return { starts: new Float32Array(starts.buffer), columns: new Float32Array(columns.buffer) };
}

function bitsOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Rows and columns of the numbers, [2, numbers]. */
function indicesOf(starts: Float32Array, columns: Float32Array, count: number): Int32Array {
  const first = new Int32Array(bitsOf(starts).slice().buffer);
  const column = new Uint16Array(bitsOf(columns).slice().buffer);
  const indices = new Int32Array(2 * count);
  for (let row = 0; row + 1 < first.length; row++) indices.fill(row, first[row], first[row + 1]);
  for (let i = 0; i < count; i++) indices[count + i] = column[i] as number;
  return indices;
}

/**
 * Single entries of the weight, trained at places that are chosen before: W + S, where S is zero at first and has rank · (inputs +
 * outputs) numbers. `methodOptions.mask`: 'random' (the places that PEFT draws with `seed`) or 'largest' (of |W|). The gradient is made
 * at these places alone. Bhardwaj et al., https://arxiv.org/abs/2406.13175.
 */
export const shiraTraining: TrainableMethod = {
  name: 'shira',
  sites: ['linear'],

  check(settings) {
    methodOptionsOf(settings, options);
  },

  async parameters(settings, site, base) {
    const count = countOf(settings, site);
    if (count > site.inputs * site.outputs)
      throw new OptionError(
        `rank is ${settings.rank}: ${site.path} is ${site.outputs} x ${site.inputs} and has no ${count} entries: expected at most ${Math.floor((site.inputs * site.outputs) / (site.inputs + site.outputs))}`,
        { option: 'rank', actual: settings.rank },
      );
    // PEFT would refuse the folder.
    if (site.transposed)
      throw new OptionError(
        `targetModules names ${site.path}, whose weight ${base.name} has as [inputs, outputs]: PEFT reads no shira adapter of such a module`,
        { option: 'targetModules', actual: site.path },
      );
    if (site.inputs > mostInputs)
      throw new OptionError(`targetModules names ${site.path}, which has ${site.inputs} inputs: shira takes at most ${mostInputs}`, {
        option: 'targetModules',
        actual: site.inputs,
        expected: mostInputs,
      });
    const { starts, columns } = packed(await placesOf(settings, site, base), site);
    const fixed = (part: string, values: Float32Array) =>
      ({ part, shape: [values.length], initial: { kind: 'given', values }, trained: false }) as const;
    return [
      { part: 'values', shape: [count], initial: { kind: 'constant', value: 0 }, trained: true },
      { ...fixed('starts', starts), bits: { dtype: 'i32', count: starts.length } },
      { ...fixed('columns', columns), bits: { dtype: 'u8', count: 2 * count } },
    ];
  },

  forward: (_, { x, base, parameter }) =>
    sparseLinear(x, base, parameter('values'), { starts: parameter('starts'), columns: parameter('columns') }),

  startsAtBase: () => true,

  // The file holds the places: readers need no mask of their own.
  config: (settings) => ({
    peft_type: 'SHIRA',
    task_type: 'CAUSAL_LM',
    r: settings.rank,
    mask_type: 'random',
    random_seed: methodOptionsOf(settings, options).seed,
    fan_in_fan_out: false,
    init_weights: true,
    inference_mode: true,
    modules_to_save: null,
  }),

  exportSite(settings, site, values) {
    const count = countOf(settings, site);
    return [
      { name: 'shira_weight', shape: [count], data: values('values') },
      { name: 'shira_indices', shape: [2, count], data: indicesOf(values('starts'), values('columns'), count) },
    ];
  },

  importSite(settings, site, tensors) {
    const { path, inputs, outputs } = site;
    const count = countOf(settings, site);
    const stored = tensors.floats32('shira_weight', [count]);
    const indices = tensors.integers('shira_indices', [2, count]).data;
    const order = Array.from({ length: count }, (_, i) => {
      const [row, column] = [indices[i] as number, indices[count + i] as number];
      if (row < 0 || row >= outputs || column < 0 || column >= inputs)
        throw new AdapterError(`${path}.shira_indices has row ${row}, column ${column}: ${path} is ${outputs} x ${inputs}`, {
          module: path,
          actual: [row, column],
          expected: [outputs, inputs],
        });
      return { place: row * inputs + column, value: stored[i] as number };
    }).sort((a, b) => a.place - b.place);
    const places = packed(
      Float64Array.from(order, ({ place }) => place),
      site,
    );
    return new Map([['values', Float32Array.from(order, ({ value }) => value)], ...Object.entries(places)]);
  },
};
