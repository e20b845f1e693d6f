import { DisposedError, fromNative, OptionError, ShapeError } from '../errors.js';
import { throwIfAborted, whenAborted } from './abort_signal.js';
import { binding, type NativeProgram, type NativeRunControl, type NativeRunResult } from './binding.js';
import type { Device } from './device.js';
import { type DType, dtypeBytes, expectData, holderName, type TensorData, viewAs } from './dtype.js';
import { expectKnownKeys } from './option_errors.js';
import { countElements, formatShape, type Shape, sizeOf } from './shape.js';
import { shownValue } from './shown_value.js';

/** A named input or output of a program. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/** What the planner knows of a program beyond its encoding. */
export interface ProgramDescription {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Largest value of each symbolic extent, in the order of the encoding. */
  readonly extents: ReadonlyMap<string, number>;
}

/** Options of one run. */
export interface RunOptions {
  /** Values of the extents; those that the inputs' lengths determine may be left out. */
  extents?: Readonly<Record<string, number>>;
  /** Steps of a burst: fed outputs become the next step's inputs without returning to JavaScript. Default 1. */
  steps?: number;
  /** Stops the run between two ops; it then throws AbortError. */
  signal?: AbortSignal | undefined;
  /** Ends a burst from outside after its current step. */
  control?: NativeRunControl;
}

/** Outputs of a burst, step by step. */
export interface BurstResult {
  /** Steps that ran: fewer than asked for where `while` became 0 or the burst was ended. */
  readonly steps: number;
  /** Time inside kernels, in nanoseconds. */
  readonly nanoseconds: number;
  /** One entry per step: typed arrays by the names of the outputs. */
  readonly outputs: readonly Readonly<Record<string, TensorData>>[];
}

const runOptionNames: readonly (keyof RunOptions)[] = ['extents', 'steps', 'signal', 'control'];
const maxSteps = 2 ** 20;

function checkedSteps(steps: number | undefined): number {
  if (steps === undefined) return 1;
  if (Number.isSafeInteger(steps) && steps >= 1 && steps <= maxSteps) return steps;
  throw new OptionError(`run: steps is ${shownValue(steps)}: expected a whole number from 1 to ${maxSteps}`, {
    option: 'steps',
    actual: steps,
  });
}

function expectExtent(name: string, value: number | undefined, max: number): number {
  if (value === undefined)
    throw new ShapeError(`the extent '${name}' cannot be told from the inputs: give it in extents`, { extent: name });
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new ShapeError(`the extent '${name}' is ${shownValue(value)}: expected 0 to ${max}, what the program was compiled for`, {
    extent: name,
    actual: value,
    expected: max,
  });
}

/** A compiled graph: verified, with all its memory, ready to run any number of times off the event loop. */
export class Program {
  private readonly inputNames: readonly string[];
  private readonly extentNames: readonly string[];

  constructor(
    private readonly native: NativeProgram,
    /** Inputs, outputs and bounds of the extents. */
    readonly description: ProgramDescription,
    /** What it runs on. */
    readonly device: Device,
  ) {
    this.inputNames = description.inputs.map(({ name }) => name);
    this.extentNames = [...description.extents.keys()];
  }

  /**
   * Runs once, off the event loop. Inputs and outputs are typed arrays by name (16-bit floats as their bits); outputs are copies.
   * Throws OptionError, DTypeError or ShapeError for inputs that do not fit, AbortError, DisposedError.
   */
  async run(inputs: Readonly<Record<string, TensorData>>, options: RunOptions = {}): Promise<Record<string, TensorData>> {
    const result = await this.runBurst(inputs, { ...options, steps: 1 });
    return result.outputs[0] as Record<string, TensorData>;
  }

  /** Runs up to `steps` steps in one crossing of the boundary. Throws as `run` does. */
  async runBurst(inputs: Readonly<Record<string, TensorData>>, options: RunOptions = {}): Promise<BurstResult> {
    let all: BurstResult | undefined;
    await this.execute(inputs, options, undefined, (result) => {
      all = result;
    });
    return all as BurstResult;
  }

  /**
   * Runs up to `steps` steps and hands their outputs to `take` while it goes on: about every `milliseconds`, as soon as the `while`
   * output changes, and at the end. It ends early when other work waits for the engine thread. Throws as `run` does.
   */
  async runInParts(
    inputs: Readonly<Record<string, TensorData>>,
    options: RunOptions,
    milliseconds: number,
    take: (part: BurstResult) => void,
  ): Promise<void> {
    await this.execute(inputs, options, milliseconds, take);
  }

  private async execute(
    inputs: Readonly<Record<string, TensorData>>,
    options: RunOptions,
    partMilliseconds: number | undefined,
    take: (part: BurstResult) => void,
  ): Promise<void> {
    if (this.native.disposed) throw new DisposedError('the program was used after dispose()');
    expectKnownKeys(options, runOptionNames, 'run');
    const { signal } = options;
    throwIfAborted(signal);
    const steps = checkedSteps(options.steps);
    const data = this.collect(inputs);
    const extents = this.solveExtents(data, options.extents ?? {});
    const control = options.control ?? (signal === undefined ? undefined : new (binding().RunControl)());
    const letGo = whenAborted(signal, () => control?.abort());
    try {
      let next: Promise<NativeRunResult> | undefined = this.native.run(extents, data, steps, control, partMilliseconds);
      while (next !== undefined) {
        const result: NativeRunResult = await next;
        next = result.rest;
        take({ steps: result.steps, nanoseconds: result.nanoseconds, outputs: this.split(result) });
      }
    } catch (error) {
      throwIfAborted(signal);
      throw fromNative(error, { device: this.device.name });
    } finally {
      letGo();
    }
  }

  /** Bytes of intermediates and of kernels' scratch memory. */
  get memory(): { arenaBytes: number; workspaceBytes: number } {
    return { arenaBytes: this.native.arenaBytes, workspaceBytes: this.native.workspaceBytes };
  }

  /** Collects time by op from now on; read it with `profile()`. */
  setProfiling(on: boolean): void {
    this.native.setProfiling(on);
  }

  /** Calls and time by op since profiling began. */
  profile(): { op: string; calls: number; nanoseconds: number }[] {
    return this.native.profile();
  }

  /** Whether `dispose()` was called. */
  get disposed(): boolean {
    return this.native.disposed;
  }

  /** Frees its memory; a run under way finishes first. */
  dispose(): void {
    this.native.dispose();
  }

  /** Same as `dispose()`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  private collect(inputs: Readonly<Record<string, TensorData>>): TensorData[] {
    const { inputs: ports } = this.description;
    if (inputs === undefined) throw new OptionError('run: inputs is undefined: expected typed arrays by name', { option: 'inputs' });
    expectKnownKeys(inputs, this.inputNames, 'the program', 'input');
    return ports.map((port) => {
      const data = inputs[port.name];
      if (data === undefined)
        throw new OptionError(`input '${port.name}' is missing: expected a ${holderName(port.dtype)} of shape ${formatShape(port.shape)}`, {
          name: port.name,
        });
      expectData(port.dtype, data, `input '${port.name}'`);
      return data;
    });
  }

  // An input whose shape has one unknown extent determines it by its length; repeat until nothing new is learned.
  private solveExtents(data: readonly TensorData[], given: Readonly<Record<string, number>>): number[] {
    expectKnownKeys(given, this.extentNames, 'the program', 'extent');
    // Without a prototype: an extent may be called 'constructor'.
    const known: Record<string, number> = Object.assign(Object.create(null), given);
    const { inputs, extents } = this.description;
    for (let learned = true; learned; ) {
      learned = false;
      inputs.forEach((port, i) => {
        const unknown = port.shape.filter((d) => typeof d !== 'number' && known[d.extent] === undefined);
        const [dimension] = unknown;
        if (unknown.length !== 1 || typeof dimension !== 'object') return;
        const rest = port.shape.reduce<number>((n, d) => n * (d === dimension ? dimension.coefficient : sizeOf(d, known)), 1);
        if (rest === 0) return;
        known[dimension.extent] = (data[i] as TensorData).length / rest;
        learned = true;
      });
    }
    const solved = [...extents].map(([name, max]) => expectExtent(name, known[name], max));
    inputs.forEach((port, i) => {
      const expected = countElements(port.shape, known);
      const { length } = data[i] as TensorData;
      if (expected !== length)
        throw new ShapeError(`input '${port.name}' is ${formatShape(port.shape)}: expected ${expected} elements, got ${length}`, {
          name: port.name,
          expected,
          actual: length,
        });
    });
    return solved;
  }

  private split(result: { steps: number; bytes: number[]; data: ArrayBuffer }): Record<string, TensorData>[] {
    const steps: Record<string, TensorData>[] = [];
    let offset = 0;
    for (let step = 0; step < result.steps; step++) {
      const outputs: Record<string, TensorData> = {};
      this.description.outputs.forEach((port, i) => {
        const bytes = result.bytes[i] as number;
        // Outputs of odd byte lengths can leave the next one unaligned: copy then.
        const aligned = offset % dtypeBytes[port.dtype] === 0;
        outputs[port.name] = aligned
          ? viewAs(port.dtype, result.data, offset, bytes)
          : viewAs(port.dtype, result.data.slice(offset, offset + bytes));
        offset += bytes;
      });
      steps.push(outputs);
    }
    return steps;
  }
}
