// Which examples a step learns from, as a pure function of seed and step.
import { OptionError } from '../../errors.js';
import { permutation, purposes } from '../counter_random.js';
import { countLabels, type ExampleSet, exampleCount } from './example_set.js';
import { fillInOrder, type Groups, groupAt, groupCount, pack } from './packing.js';

/** What runs at once, of one adapter: whole examples, one after the other. */
export interface MicroBatch {
  /** Token ids. */
  readonly tokens: Int32Array;
  /** Place of each token in its example, from 0. */
  readonly positions: Int32Array;
  /** Index, in this batch, of the first token of each token's example: attention looks back to it and no further. */
  readonly first: Int32Array;
  /** What follows each token; -1: nothing is learned from it. */
  readonly labels: Int32Array;
  /** Tokens that have a label. */
  readonly targets: number;
}

/** What one step of one adapter learns from. */
export interface TrainingBatch {
  readonly step: number;
  /** Passes over the data that are complete before this step. */
  readonly epoch: number;
  /** Place of the step in its epoch, from 0. */
  readonly stepOfEpoch: number;
  readonly examples: number;
  readonly tokens: number;
  /** Labels of all micro-batches: what a mean loss over the step divides by. */
  readonly targets: number;
  readonly microBatches: readonly MicroBatch[];
}

/** How steps are made from examples. */
export interface BatchOrderOptions {
  /** Examples of a step; with `pack`, packs of a step. */
  readonly batchSize: number;
  /** Tokens of a micro-batch at most. */
  readonly tokensPerBatch: number;
  /** Put short examples together into packs of at most `packTokens` tokens; a pack counts as one for `batchSize`. */
  readonly pack: boolean;
  /** Tokens of a pack at most. Default: `tokensPerBatch`. */
  readonly packTokens?: number;
  /** A new order in every epoch; else the order of the files, always. */
  readonly shuffle: boolean;
  readonly seed: number;
}

/**
 * The order of a training. Every epoch takes every example once, in an order drawn from seed and epoch; its last step takes what is left and
 * may be smaller than the others. `batchAt(step)` needs nothing but the step: a training goes on where it stopped by counting on.
 * Packs are made once, from an order drawn from the seed; epochs shuffle packs.
 */
export class BatchOrder {
  readonly #examples: ExampleSet;
  readonly #options: BatchOrderOptions;
  readonly #units: Groups;
  #epoch: { number: number; order: Int32Array } | undefined;

  /** Throws OptionError where there is no example, or one that is longer than `tokensPerBatch`. */
  constructor(examples: ExampleSet, options: BatchOrderOptions) {
    const { batchSize, tokensPerBatch, seed, packTokens = tokensPerBatch } = options;
    for (const [option, value] of Object.entries({ batchSize, tokensPerBatch, packTokens }))
      if (!Number.isSafeInteger(value) || value < 1)
        throw new OptionError(`${option} is ${value}: expected an integer from 1`, { option, value });
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new OptionError(`seed is ${seed}: expected an integer from 0 to 2^53 - 1`, { option: 'seed', seed });
    if (packTokens > tokensPerBatch)
      throw new OptionError(`packTokens is ${packTokens}: expected at most tokensPerBatch, ${tokensPerBatch}`, { option: 'packTokens' });
    const count = exampleCount(examples);
    if (count === 0) throw new OptionError('there is no example to learn from', { option: 'examples' });
    this.#examples = examples;
    this.#options = options;
    const order = options.pack && options.shuffle ? permutation(count, seed, purposes.packing) : identity(count);
    this.#units = options.pack
      ? pack(order, examples.lengths, packTokens)
      : { members: order, offsets: Int32Array.from({ length: count + 1 }, (_, i) => i) };
    const longest = examples.lengths.reduce((most, length) => Math.max(most, length), 0);
    if (longest > tokensPerBatch)
      throw new OptionError(`tokensPerBatch is ${tokensPerBatch}: expected at least ${longest}, the length of the longest example`, {
        option: 'tokensPerBatch',
        tokensPerBatch,
        longest,
      });
  }

  /** Examples, or packs, of an epoch. */
  get unitsPerEpoch(): number {
    return groupCount(this.#units);
  }

  /** Steps of an epoch. */
  get stepsPerEpoch(): number {
    return Math.ceil(this.unitsPerEpoch / this.#options.batchSize);
  }

  /** Steps of a number of epochs, which need not be whole. */
  stepsOf(epochs: number): number {
    return Math.ceil(epochs * this.stepsPerEpoch);
  }

  /** The examples of a step, in the order in which they are learned from. */
  examplesAt(step: number): Int32Array {
    const { epoch, stepOfEpoch } = this.#place(step);
    const order = this.#orderOf(epoch);
    const from = stepOfEpoch * this.#options.batchSize;
    const units = order.subarray(from, from + this.#options.batchSize);
    return Int32Array.from([...units].flatMap((unit) => [...groupAt(this.#units, unit)]));
  }

  /** What a step learns from. Where the examples fit into fewer micro-batches in another order, they are put so. */
  batchAt(step: number): TrainingBatch {
    const examples = this.examplesAt(step);
    const { tokensPerBatch } = this.#options;
    const groups = pack(examples, this.#examples.lengths, tokensPerBatch);
    const microBatches = Array.from({ length: groupCount(groups) }, (_, g) => layOut(this.#examples, groupAt(groups, g)));
    return {
      step,
      ...this.#place(step),
      examples: examples.length,
      tokens: microBatches.reduce((sum, { tokens }) => sum + tokens.length, 0),
      targets: microBatches.reduce((sum, { targets }) => sum + targets, 0),
      microBatches,
    };
  }

  #place(step: number): { epoch: number; stepOfEpoch: number } {
    if (!Number.isSafeInteger(step) || step < 0)
      throw new OptionError(`step is ${step}: expected an integer from 0`, { option: 'step', step });
    return { epoch: Math.floor(step / this.stepsPerEpoch), stepOfEpoch: step % this.stepsPerEpoch };
  }

  #orderOf(epoch: number): Int32Array {
    const number = this.#options.shuffle ? epoch : 0;
    if (this.#epoch?.number !== number) {
      const count = this.unitsPerEpoch;
      const order = this.#options.shuffle ? permutation(count, this.#options.seed, purposes.epochOrder, epoch) : identity(count);
      this.#epoch = { number, order };
    }
    return this.#epoch.order;
  }
}

/** All examples in their own order, in batches of at most `tokensPerBatch` tokens: what an evaluation runs over. */
export function* inOrder(examples: ExampleSet, tokensPerBatch: number): Generator<MicroBatch> {
  const groups = fillInOrder(identity(exampleCount(examples)), examples.lengths, tokensPerBatch);
  for (let g = 0; g < groupCount(groups); g++) yield layOut(examples, groupAt(groups, g));
}

/** Lays examples out one after the other. */
export function layOut(set: ExampleSet, examples: ArrayLike<number>): MicroBatch {
  let total = 0;
  for (let i = 0; i < examples.length; i++) total += set.lengths[examples[i] as number] as number;
  const tokens = new Int32Array(total);
  const positions = new Int32Array(total);
  const first = new Int32Array(total);
  const labels = new Int32Array(total);
  let at = 0;
  for (let i = 0; i < examples.length; i++) {
    const start = set.starts[examples[i] as number] as number;
    const length = set.lengths[examples[i] as number] as number;
    tokens.set(set.ids.subarray(start, start + length), at);
    labels.set(set.labels.subarray(start, start + length), at);
    first.fill(at, at, at + length);
    for (let p = 0; p < length; p++) positions[at + p] = p;
    at += length;
  }
  return { tokens, positions, first, labels, targets: countLabels(labels) };
}

function identity(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i);
}
