// Step after step: losses, optimiser, evaluation, checkpoints.
import { AbortError, TrainingError } from '../errors.js';
import { peakBytesOn } from '../runtime/device.js';
import { type AdapterData, addLosses, sharedStepAt, toMicroBatch } from './adapter_data.js';
import type { Configuration } from './configuration.js';
import { shareBatches } from './data/ragged_batch.js';
import type { AdapterStepNumbers, EvaluationEvent, StepEvent, TrainEvent } from './events.js';
import type { AdapterOptimiser } from './optimiser.js';
import { rateShare } from './schedules.js';
import { deviceOf, type TrainedParameters, type TrainingStepRunner } from './step_runner.js';
import { type SavedTensor, type TrainingState, writeCheckpoint } from './training_checkpoint.js';
import type { LoggedEvent, TrainingLog } from './training_log.js';

/** What a loop works with. */
export interface LoopParts {
  readonly folder: string;
  readonly adapters: readonly AdapterData[];
  readonly runner: TrainingStepRunner;
  /** In the order of the adapters. */
  readonly optimisers: readonly AdapterOptimiser[];
  readonly log: TrainingLog;
  readonly configuration: Configuration;
  readonly seed: number;
  readonly batchTokens: number;
  readonly saveEvery: number;
  readonly evaluateEvery: number | undefined;
  readonly tell: (event: TrainEvent) => void;
  /** Called after each checkpoint. */
  readonly onSaved: () => Promise<void>;
  readonly signal: AbortSignal | undefined;
}

// Rates over the last steps, so that a change shows soon.
const rateSteps = 16;

/** The loop of a training. */
export class TrainingLoop {
  readonly #parts: LoopParts;
  readonly #totalSteps: number;
  readonly #evaluateEvery: number;
  readonly #recent: { seconds: number; tokens: number }[] = [];
  #state: TrainingState;
  #savedStep: number;

  /** @param state where to begin: that of a checkpoint, or `firstState` */
  constructor(parts: LoopParts, state: TrainingState, saved: boolean) {
    this.#parts = parts;
    this.#state = state;
    this.#savedStep = saved ? state.step : -1;
    this.#totalSteps = parts.adapters.reduce((most, { totalSteps }) => Math.max(most, totalSteps), 0);
    this.#evaluateEvery = parts.evaluateEvery ?? Math.max(1, Math.ceil(this.#totalSteps / 10));
  }

  get state(): TrainingState {
    return this.#state;
  }

  /**
   * Runs to the end. Where the signal aborts, the step that is under way is finished and saved first. Throws AbortError then, TrainingError
   * where a loss is no number, FileAccessError where something cannot be written.
   */
  async run(): Promise<void> {
    await this.#evaluateIfDue();
    while (this.#state.step < this.#totalSteps) {
      if (this.#parts.signal?.aborted) await this.#stop();
      await this.#step();
      await this.#evaluateIfDue();
      if (this.#state.step % this.#parts.saveEvery === 0 || this.#state.step === this.#totalSteps) await this.#save();
    }
  }

  async #step(): Promise<void> {
    const { adapters, runner, batchTokens } = this.#parts;
    const { step } = this.#state;
    const began = performance.now();
    const { batches, labels, tokens, epochs } = sharedStepAt(adapters, step, batchTokens);
    const sums = new Map<number, number>();
    for (const batch of batches) {
      const { logprobs } = await runner.accumulate(toMicroBatch(batch, labels, step));
      addLosses(sums, batch, logprobs);
    }
    const numbers: Record<string, AdapterStepNumbers> = {};
    for (const { name, slot } of adapters) {
      const targets = labels.get(slot);
      if (targets === undefined) continue;
      const loss = (sums.get(slot) ?? 0) / targets;
      if (!Number.isFinite(loss)) throw this.#diverged(name, `its loss is ${loss}`);
      numbers[name] = { loss, rate: 0, gradientNorm: 0, tokens: tokens.get(slot) ?? 0, targets, epoch: epochs.get(slot) ?? 0 };
    }
    for (const { name, slot, settings, totalSteps } of adapters) {
      const own = numbers[name];
      if (own === undefined) continue;
      const rate = settings.learningRate * rateShare(settings.schedule, step, totalSteps);
      const { gradientNorm, applied } = await (this.#parts.optimisers[slot] as AdapterOptimiser).step(step + 1, rate);
      if (!applied) throw this.#diverged(name, 'a gradient is not finite');
      numbers[name] = { ...own, rate, gradientNorm };
    }
    await this.#record(numbers, (performance.now() - began) / 1000);
  }

  async #record(numbers: Readonly<Record<string, AdapterStepNumbers>>, seconds: number): Promise<void> {
    const tokens = Object.values(numbers).reduce((sum, own) => sum + own.tokens, 0);
    this.#state = {
      ...this.#state,
      step: this.#state.step + 1,
      seconds: this.#state.seconds + seconds,
      tokens: this.#state.tokens + tokens,
    };
    this.#recent.push({ seconds, tokens });
    if (this.#recent.length > rateSteps) this.#recent.shift();
    const recent = this.#recent.reduce((a, b) => ({ seconds: a.seconds + b.seconds, tokens: a.tokens + b.tokens }));
    const { step } = this.#state;
    const event: StepEvent = {
      type: 'step',
      step,
      totalSteps: this.#totalSteps,
      seconds: this.#state.seconds,
      tokens: this.#state.tokens,
      tokensPerSecond: recent.seconds > 0 ? recent.tokens / recent.seconds : 0,
      secondsLeft: (recent.seconds / this.#recent.length) * (this.#totalSteps - step),
      peakBytes: peakBytesOn(deviceOf(this.#parts.runner)),
      adapters: numbers,
    };
    await this.#write(event);
  }

  async #evaluateIfDue(): Promise<void> {
    const { step, evaluatedStep } = this.#state;
    const due = step === 0 || step === this.#totalSteps || step % this.#evaluateEvery === 0;
    if (!due || evaluatedStep === step || this.#parts.signal?.aborted) return;
    const found = await this.#evaluate();
    if (found !== undefined) await this.#write({ type: 'evaluation', step, adapters: found });
    this.#state = { ...this.#state, evaluatedStep: step };
  }

  async #evaluate(): Promise<EvaluationEvent['adapters'] | undefined> {
    const { adapters, runner, batchTokens, signal } = this.#parts;
    // An adapter that has not changed since the last evaluation needs no other one.
    const evaluated = adapters.filter(({ evaluation, totalSteps }) => evaluation.length > 0 && this.#state.evaluatedStep < totalSteps);
    if (evaluated.length === 0) return undefined;
    const labels = new Map(evaluated.map(({ slot, evaluation }) => [slot, evaluation.reduce((sum, { targets }) => sum + targets, 0)]));
    const sums = new Map<number, number>();
    const steps = evaluated.map(({ slot, evaluation }) => ({ slot, microBatches: evaluation }));
    for (const batch of shareBatches(steps, batchTokens)) {
      // A resumed training evaluates this step again, from its beginning.
      if (signal?.aborted) await this.#stop();
      const { logprobs } = await runner.evaluate(toMicroBatch(batch, labels, this.#state.step));
      addLosses(sums, batch, logprobs);
    }
    return Object.fromEntries(
      evaluated.map(({ name, slot }) => {
        const targets = labels.get(slot) as number;
        const loss = (sums.get(slot) as number) / targets;
        if (!Number.isFinite(loss)) throw this.#diverged(name, `its loss on held-out data is ${loss}`);
        return [name, { loss, perplexity: Math.exp(loss), targets }];
      }),
    );
  }

  async #save(): Promise<void> {
    const { folder, runner, optimisers, tell, onSaved } = this.#parts;
    const file = await writeCheckpoint(folder, this.#state, checkpointTensors(runner.parameters, optimisers));
    this.#savedStep = this.#state.step;
    tell({ type: 'checkpoint', step: this.#state.step, file });
    await onSaved();
  }

  async #stop(): Promise<never> {
    if (this.#savedStep !== this.#state.step) await this.#save();
    const { step } = this.#state;
    throw new AbortError(
      `interrupted after step ${step} of ${this.#totalSteps}, which is saved: --resume (resume: true) goes on from there`,
      {
        step,
        totalSteps: this.#totalSteps,
      },
      { cause: this.#parts.signal?.reason },
    );
  }

  async #write(event: LoggedEvent): Promise<void> {
    await this.#parts.log.append(event);
    this.#parts.tell(event);
  }

  #diverged(adapter: string, what: string): TrainingError {
    const step = this.#state.step + 1;
    return new TrainingError(
      `'${adapter}' has diverged in step ${step}: ${what}. A lower learningRate, a longer warmup or a smaller clipNorm may help; ${this.#savedStep < 0 ? 'nothing was saved yet' : `the checkpoint of step ${this.#savedStep} is whole`}`,
      { adapter, step, lastStep: this.#savedStep },
    );
  }
}

/** Where a training begins. */
export function firstState(seed: number, configuration: Configuration): TrainingState {
  return { step: 0, seed, evaluatedStep: -1, seconds: 0, tokens: 0, configuration: { ...configuration } };
}

/** Everything of a training that is in native memory and changes, by name. */
export function checkpointTensors(parameters: readonly TrainedParameters[], optimisers: readonly AdapterOptimiser[]): SavedTensor[] {
  return parameters.flatMap(({ name, values, extraState = [] }, slot) => [
    { name: `${name}/values`, tensor: values },
    ...(optimisers[slot] as AdapterOptimiser).states.map((state) => ({ name: `${name}/${state.name}`, tensor: state.tensor })),
    ...extraState.map((state) => ({ name: `${name}/state/${state.name}`, tensor: state.tensor })),
  ]);
}
