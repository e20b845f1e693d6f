// A micro-batch as the inputs of a training graph.
import { ShapeError } from '../../errors.js';
import type { TensorData } from '../../runtime/dtype.js';
import type { Program } from '../../runtime/program.js';
import { inputNames } from './training_paths.js';
import type { PlacedBatch, PrefixKeys } from './virtual_positions.js';

/** Runs a program of a training over a batch. @param slots of the adapters that the graph knows @param prefix keys that they bring */
export async function runBatch(
  program: Program,
  batch: PlacedBatch,
  { slots, prefix }: { readonly slots: readonly number[]; readonly prefix: PrefixKeys },
  signal?: AbortSignal,
): Promise<Readonly<Record<string, TensorData>>> {
  const { inputs: ports, extents } = program.description;
  const inputs: Record<string, TensorData> = {};
  for (const { name } of ports) inputs[name] = inputOf(name, batch, slots, prefix);
  const sizes: Record<string, number> = { tokens: batch.tokens.length, rows: batch.rows.length };
  return program.run(inputs, {
    extents: Object.fromEntries([...extents.keys()].map((name) => [name, sizes[name] ?? (inputs[name] as TensorData).length])),
    signal,
  });
}

function inputOf(name: string, batch: PlacedBatch, slots: readonly number[], prefix: PrefixKeys): TensorData {
  switch (name) {
    case 'tokens':
      return batch.tokens;
    case 'virtualTokens':
      return batch.virtualTokens;
    case inputNames.keys:
      return Int32Array.from({ length: prefix.total + batch.tokens.length }, (_, key) => Math.max(-1, key - prefix.total));
    case 'positions':
      return batch.positions;
    case 'lengths':
      return documentLengths(batch);
    case 'index':
      return batch.index;
    case 'weight':
      return new Float32Array(batch.tokens.length).fill(1);
    case 'rows':
      return batch.rows;
    case 'targets':
      return batch.targets;
    case 'rowWeight':
      return batch.rowWeight;
  }
  const window = /^ranges(?: (\d+))?$/.exec(name);
  if (window !== null) return visibleKeys(batch, Number(window[1] ?? 0), prefix);
  for (const slot of slots) {
    const tokens = inputNames.tokensOf(slot);
    if (name === tokens) return where(batch.index, slot);
    if (name === `labelled ${tokens}`) return where(batch.rowAdapter, slot);
  }
  throw new ShapeError(`the training graph has an input '${name}' that no batch has`, { name });
}

// Two ranges of keys for each token: its adapter's prefix, and its own document up to itself; of both no more than the last `window` positions.
function visibleKeys({ first, index, positions }: PlacedBatch, window: number, prefix: PrefixKeys): Int32Array {
  const ranges = new Int32Array(first.length * 4);
  first.forEach((begin, token) => {
    const slot = index[token] as number;
    const start = prefix.first.get(slot) ?? 0;
    const count = prefix.count.get(slot) ?? 0;
    const hidden = window === 0 ? 0 : Math.max(0, (positions[token] as number) - window + 1);
    ranges[token * 4] = start + Math.min(count, hidden);
    ranges[token * 4 + 1] = start + count;
    ranges[token * 4 + 2] = prefix.total + (window === 0 ? begin : Math.max(begin, token - window + 1));
    ranges[token * 4 + 3] = prefix.total + token + 1;
  });
  return ranges;
}

function documentLengths({ first }: PlacedBatch): Int32Array {
  const lengths = new Int32Array(first.length);
  for (let begin = 0; begin < first.length; ) {
    let end = begin;
    while (end < first.length && first[end] === first[begin]) end++;
    lengths.fill(end - begin, begin, end);
    begin = end;
  }
  return lengths;
}

function where(index: Int32Array, slot: number): Int32Array {
  const found: number[] = [];
  index.forEach((value, i) => {
    if (value === slot) found.push(i);
  });
  return Int32Array.from(found);
}
