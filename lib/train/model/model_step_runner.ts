// A model with adapters to train, compiled: what the training loop runs.
import type { SiteShape } from '../../adapters/method.js';
import { AdapterError, InternalError, ShapeError } from '../../errors.js';
import type { TensorData } from '../../runtime/dtype.js';
import type { Program, RunOptions } from '../../runtime/program.js';
import type { PlannedMemory, RowScores, TrainedParameters, TrainingMicroBatch, TrainingStepRunner } from '../step_runner.js';
import type { ParameterStore } from './parameter_store.js';
import type { AdapterInTraining } from './site_adapters.js';
import { inputNames } from './training_paths.js';

/** Runs the programs of a training; see training_programs.ts. */
export class ModelStepRunner implements TrainingStepRunner {
  readonly parameters: readonly TrainedParameters[];

  constructor(
    private readonly adapters: readonly AdapterInTraining[],
    /** All sites of the model. */
    readonly sites: readonly SiteShape[],
    private readonly store: ParameterStore,
    private readonly programs: { readonly training: Program; readonly evaluation: Program },
    private readonly weightBytes: number,
    private readonly release: () => void,
  ) {
    this.parameters = adapters.map(({ name, stored }) => ({
      name,
      values: store.slice('values', stored.offset, [stored.length]),
      gradients: store.slice('gradients', stored.offset, [stored.length]),
      groups: stored.groups,
      tensors: stored.parameters.map(({ spec, path, offset, stride }) => ({
        name: `${path}.${spec.part}`,
        shape: spec.shape,
        offset: offset - stored.offset,
        rowStride: stride,
      })),
    }));
  }

  get memory(): PlannedMemory {
    const { training, evaluation } = this.programs;
    return {
      weights: this.weightBytes,
      parameters: 2 * 4 * this.store.elements,
      arena: training.memory.arenaBytes + evaluation.memory.arenaBytes,
      workspace: training.memory.workspaceBytes + evaluation.memory.workspaceBytes,
    };
  }

  async accumulate(batch: TrainingMicroBatch, signal?: AbortSignal): Promise<RowScores> {
    return this.run(this.programs.training, batch, signal);
  }

  async evaluate(batch: TrainingMicroBatch, signal?: AbortSignal): Promise<RowScores> {
    return this.run(this.programs.evaluation, batch, signal);
  }

  /** An adapter, and its parameters' values by path. Throws InternalError for a name that is none. */
  adapterNamed(name: string): {
    adapter: AdapterInTraining;
    read: (path: string, kind?: 'values' | 'gradients') => Promise<Map<string, Float32Array>>;
    write: (path: string, part: string, values: Float32Array | undefined) => Promise<void>;
  } {
    const adapter = this.adapters.find((one) => one.name === name);
    if (adapter === undefined) throw new InternalError(`no adapter named '${name}' is being trained`);
    const read = async (path: string, kind: 'values' | 'gradients' = 'values'): Promise<Map<string, Float32Array>> => {
      const values = new Map<string, Float32Array>();
      for (const parameter of adapter.stored.parameters)
        if (parameter.path === path) values.set(parameter.spec.part, await this.store.read(parameter, kind));
      return values;
    };
    const write = async (path: string, part: string, values: Float32Array | undefined): Promise<void> => {
      const parameter = adapter.stored.parameters.find((one) => one.path === path && one.spec.part === part);
      if (parameter === undefined || values?.length !== parameter.rows * parameter.width)
        throw new AdapterError(
          `${name}: ${path} has ${values?.length ?? 'no'} values for ${part}: expected ${parameter?.spec.shape.join(' x ') ?? 'none'}`,
          { module: path, part },
        );
      await this.store.write(parameter, values);
    };
    return { adapter, read, write };
  }

  dispose(): void {
    this.release();
  }

  private async run(program: Program, batch: TrainingMicroBatch, signal: AbortSignal | undefined): Promise<RowScores> {
    const { inputs: ports, extents } = program.description;
    const inputs: Record<string, TensorData> = {};
    for (const { name } of ports) inputs[name] = this.input(name, batch);
    const sizes: Record<string, number> = { tokens: batch.tokens.length, rows: batch.rows.length };
    const options: RunOptions = {
      extents: Object.fromEntries([...extents.keys()].map((name) => [name, sizes[name] ?? (inputs[name] as TensorData).length])),
      signal,
    };
    const { logprobs } = await program.run(inputs, options);
    return { logprobs: logprobs as Float32Array };
  }

  private input(name: string, batch: TrainingMicroBatch): TensorData {
    switch (name) {
      case 'tokens':
        return batch.tokens;
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
    if (window !== null) return visibleKeys(batch, Number(window[1] ?? 0));
    for (const { slot } of this.adapters) {
      const tokens = inputNames.tokensOf(slot);
      if (name === tokens) return where(batch.index, slot);
      if (name === `labelled ${tokens}`) return where(batch.rowAdapter, slot);
    }
    throw new ShapeError(`the training graph has an input '${name}' that no batch has`, { name });
  }
}

// Two ranges of keys for each token: none, and its own document up to itself, or the last `window` tokens of it.
function visibleKeys({ first }: TrainingMicroBatch, window: number): Int32Array {
  const ranges = new Int32Array(first.length * 4);
  first.forEach((begin, token) => {
    ranges[token * 4 + 2] = window === 0 ? begin : Math.max(begin, token - window + 1);
    ranges[token * 4 + 3] = token + 1;
  });
  return ranges;
}

function documentLengths({ first }: TrainingMicroBatch): Int32Array {
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
