// Decode steps of a few sizes only. A CUDA device replays a step as one captured graph, and keeps a graph for each set of extents: without
// this every request that joins or leaves, and every page that a request grows by, would be a set of its own.
import type { TensorData } from '../runtime/dtype.js';
import type { StepLimits } from './model_programs.js';
import { controlColumns, integerColumns, samplingLimits } from './sampling.js';
import type { StepBatch } from './step_batch.js';

/** The smallest of 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, … that is not below `count`, or `limit` where that is smaller. */
export function bucketOf(count: number, limit: number): number {
  if (count <= 16) return Math.min(limit, powerOfTwo(count));
  const power = powerOfTwo(count);
  return Math.min(limit, count <= 0.75 * power ? 0.75 * power : power);
}

const powerOfTwo = (count: number): number => (count <= 1 ? count : 2 ** Math.ceil(Math.log2(count)));

/**
 * A step of single tokens with rows of no token behind them and tables as wide as a bucket; any other step as it is. A row of no token is
 * what a request is that has ended within a burst: its position is -1, it has no adapter, and every op gives it zeros or skips it.
 * Steps with prompts are left alone: their sizes hardly ever come again, and kernels of many tokens take longer than their launches.
 */
export function padDecodeStep(batch: StepBatch, limits: StepLimits): StepBatch {
  const { tokens, blocks, routes, biases, stops, tops } = batch.extents as Record<(typeof extents)[number], number>;
  if (tokens !== batch.requests || tokens !== batch.rows.length) return batch;
  const size = bucketOf(tokens, limits.maxRequests);
  const wide = {
    blocks: Math.min(limits.contextBlocks, powerOfTwo(blocks)),
    biases: Math.min(samplingLimits.biases, powerOfTwo(biases)),
    stops: Math.min(samplingLimits.stopTokens, powerOfTwo(stops)),
    tops: Math.min(samplingLimits.topLogprobs, powerOfTwo(tops)),
  };
  const inputs: Record<string, TensorData> = { ...batch.inputs };
  const pad = (name: string, fill: number, columns = 1, wideColumns = columns): void => {
    inputs[name] = padTable(batch.inputs[name] as Int32Array | Float32Array, columns, size, wideColumns, fill);
  };
  for (const name of ['tokens', 'virtualTokens', 'positions']) pad(name, -1);
  for (const name of ['request', 'lengths']) pad(name, 0);
  pad('blockTable', -1, blocks, wide.blocks);
  pad('index', -1, routes);
  pad('weight', 0, routes);
  pad('controls', 0, controlColumns);
  pad('integers', 0, integerColumns);
  pad('biasTokens', -1, biases, wide.biases);
  pad('biasValues', 0, biases, wide.biases);
  pad('stopTokens', -1, stops, wide.stops);
  const rows = Int32Array.from({ length: size }, (_, row) => row);
  rows.set(batch.inputs.rows as Int32Array);
  return { ...batch, inputs: { ...inputs, rows }, extents: { ...batch.extents, tokens: size, requests: size, rows: size, ...wide } };
}

const extents = ['tokens', 'blocks', 'routes', 'biases', 'stops', 'tops'] as const;

// `data` has rows of `columns`; so has the result, `rows` of them with `wide` columns.
function padTable<T extends Int32Array | Float32Array>(data: T, columns: number, rows: number, wide: number, fill: number): T {
  const padded = new (data.constructor as new (length: number) => T)(rows * wide).fill(fill) as T;
  const present = columns === 0 ? 0 : data.length / columns;
  for (let row = 0; row < present; row++) padded.set(data.subarray(row * columns, (row + 1) * columns), row * wide);
  return padded;
}
