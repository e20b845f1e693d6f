// The step of an optimiser as a compiled program over all parameters of an adapter.
import { InternalError } from '../errors.js';
import { compile } from '../graph/compile.js';
import { type Graph, graph } from '../graph/graph.js';
import type { Tensor } from '../graph/tensor.js';
import { adamw, adamwSchedule, clipFactor, sgd, sumSquares } from '../ops/index.js';
import { type DeviceTensor, emptyTensor, tensorSlice, writeBytes } from '../runtime/device_tensor.js';
import type { Program } from '../runtime/program.js';
import type { AdapterSettings } from './options.js';
import type { ParameterGroup, TrainedParameters } from './step_runner.js';

/** What a step of one adapter was. */
export interface OptimiserStep {
  /** Norm of all gradients of the adapter, before clipping. */
  readonly gradientNorm: number;
  /** False where a gradient was not finite: then nothing has changed. */
  readonly applied: boolean;
}

/** State that outlives a step. */
export interface OptimiserState {
  readonly name: string;
  readonly tensor: DeviceTensor;
}

type Settings = Pick<AdapterSettings, 'optimiser' | 'betas' | 'epsilon' | 'weightDecay' | 'momentum' | 'clipNorm'>;

// A norm that no finite gradient reaches: without clipping the factor still says whether all gradients are finite.
const unlimitedNorm = 1e30;
const zeros = new Float32Array(1 << 20);

/** Optimiser of one adapter. Memory for its state is reserved at once; it begins as zeros. */
export class AdapterOptimiser implements Disposable {
  readonly states: readonly OptimiserState[];
  readonly #parameters: TrainedParameters;
  readonly #settings: Settings;
  readonly #program: Program;

  /** Throws PoolExhaustedError when there is no memory. */
  constructor(parameters: TrainedParameters, settings: Settings) {
    checkGroups(parameters);
    this.#parameters = parameters;
    this.#settings = settings;
    const { dims, device } = parameters.values;
    const names = settings.optimiser === 'adamw' ? ['first', 'second'] : ['velocity'];
    const states: OptimiserState[] = [];
    try {
      for (const name of names) states.push({ name, tensor: emptyTensor('f32', dims, device) });
      this.states = states;
      this.#program = this.#compile();
    } catch (error) {
      for (const { tensor } of states) tensor.buffer.dispose();
      throw error;
    }
  }

  /** Bytes of state and of the program's own memory. */
  get bytes(): number {
    const { arenaBytes, workspaceBytes } = this.#program.memory;
    return this.states.reduce((sum, { tensor }) => sum + tensor.buffer.byteLength, arenaBytes + workspaceBytes);
  }

  /**
   * Clips, steps and zeroes the gradients.
   * @param number of this step, the first being 1 @param rate learning rate
   */
  async step(number: number, rate: number): Promise<OptimiserStep> {
    const { optimiser, betas } = this.#settings;
    const schedule = optimiser === 'adamw' ? adamwSchedule(number, rate, betas) : Float32Array.of(rate);
    const outputs = await this.#program.run({ schedule });
    const applied = this.#parameters.groups.every((_, i) => (outputs[`applied ${i}`] as Int32Array)[0] === 1);
    await clear(this.#parameters.gradients);
    return { gradientNorm: Math.sqrt((outputs.squareSum as Float32Array)[0] as number), applied };
  }

  dispose(): void {
    this.#program.dispose();
    for (const { tensor } of this.states) tensor.buffer.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #compile(): Program {
    const { gradients, groups } = this.#parameters;
    const { optimiser, clipNorm } = this.#settings;
    const g = graph();
    const schedule = g.input('schedule', 'f32', [optimiser === 'adamw' ? 3 : 1]);
    const squareSum = sumSquares(g.state('gradients', gradients));
    const factor = clipFactor(squareSum, clipNorm === 0 ? unlimitedNorm : clipNorm);
    const outputs: Record<string, Tensor> = { squareSum };
    groups.forEach((group, i) => {
      outputs[`applied ${i}`] = this.#group(g, group, schedule, factor);
    });
    return compile(g, { outputs });
  }

  #group(g: Graph, group: ParameterGroup, schedule: Tensor, factor: Tensor): Tensor {
    const { values, gradients } = this.#parameters;
    const { optimiser, betas, epsilon, momentum, weightDecay } = this.#settings;
    const part = (name: string, whole: DeviceTensor): Tensor =>
      g.state(`${name} of ${group.name}`, tensorSlice(whole, group.offset, [group.length]));
    const operands = { parameters: part('values', values), gradients: part('gradients', gradients), schedule, factor };
    const options = { weightDecay: group.decays ? weightDecay : 0, rateScale: group.rateMultiplier };
    const [state, second] = this.states.map(({ name, tensor }) => part(name, tensor));
    if (optimiser === 'sgd') return sgd({ ...operands, velocity: state as Tensor }, { ...options, momentum }).applied;
    return adamw({ ...operands, first: state as Tensor, second: second as Tensor }, { ...options, betas, eps: epsilon }).applied;
  }
}

async function clear(tensor: DeviceTensor): Promise<void> {
  const elements = tensor.dims.reduce((count, size) => count * size, 1);
  const writes: Promise<void>[] = [];
  for (let at = 0; at < elements; at += zeros.length)
    writes.push(writeBytes(tensor, 4 * at, zeros.subarray(0, Math.min(zeros.length, elements - at))));
  await Promise.all(writes);
}

// Groups come from a model's builder: a fault here would train some parameters twice or not at all.
function checkGroups({ name, values, groups }: TrainedParameters): void {
  const elements = values.dims.reduce((count, size) => count * size, 1);
  let end = 0;
  for (const group of [...groups].sort((a, b) => a.offset - b.offset)) {
    const fits = Number.isSafeInteger(group.offset) && group.offset % 16 === 0 && group.length >= 0 && group.offset >= end;
    end = group.offset + group.length;
    if (!fits || end > elements)
      throw new InternalError(`parameters of '${name}': the group ${group.name} is [${group.offset}, ${end}) of ${elements} elements`, {
        group: group.name,
      });
  }
}
