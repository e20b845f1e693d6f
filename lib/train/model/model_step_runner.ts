// A model with adapters to train, compiled: what the training loop runs.
import type { SiteShape } from '../../adapters/method.js';
import { AdapterError, InternalError } from '../../errors.js';
import type { Program } from '../../runtime/program.js';
import type { PlannedMemory, RowScores, TrainedParameters, TrainingMicroBatch, TrainingStepRunner } from '../step_runner.js';
import { runBatch } from './batch_inputs.js';
import type { ParameterStore } from './parameter_store.js';
import type { AdapterInTraining } from './site_adapters.js';
import type { StepShares } from './step_shares.js';
import { placeBatch, positionsOf, prefixKeys } from './virtual_positions.js';

/** Runs the programs of a training; see training_programs.ts. */
export class ModelStepRunner implements TrainingStepRunner {
  readonly parameters: readonly TrainedParameters[];

  constructor(
    private readonly adapters: readonly AdapterInTraining[],
    /** All sites of the model. */
    readonly sites: readonly SiteShape[],
    private readonly store: ParameterStore,
    private readonly shares: StepShares,
    /** Tokens that the programs are compiled for, virtual ones included. */
    private readonly maxTokens: number,
    private readonly programs: {
      readonly training: Program;
      readonly evaluation: () => Promise<Program>;
      /** Those that have memory by now. */
      readonly compiled: readonly Program[];
    },
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
    const { compiled } = this.programs;
    return {
      weights: this.weightBytes,
      parameters: 2 * 4 * this.store.elements,
      arena: compiled.reduce((sum, { memory }) => sum + memory.arenaBytes, 0),
      workspace: compiled.reduce((sum, { memory }) => sum + memory.workspaceBytes, 0),
    };
  }

  async accumulate(batch: TrainingMicroBatch, signal?: AbortSignal): Promise<RowScores> {
    await this.shares.enter(batch.step);
    const scores = await this.run(this.programs.training, batch, signal);
    await this.shares.dropGradients(batch.step);
    return scores;
  }

  async evaluate(batch: TrainingMicroBatch, signal?: AbortSignal): Promise<RowScores> {
    await this.shares.enter('all');
    return this.run(await this.programs.evaluation(), batch, signal);
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
    const slots = this.adapters.map(({ slot }) => slot);
    const positions = positionsOf(this.adapters);
    const prefix = prefixKeys(positions);
    const logprobs = new Float32Array(batch.rows.length);
    let row = 0;
    for (const part of placeBatch(batch, positions, this.maxTokens)) {
      const scores = await runBatch(program, part, { slots, prefix }, signal);
      logprobs.set(scores.logprobs as Float32Array, row);
      row += part.rows.length;
    }
    return { logprobs };
  }
}
