// What the training loop needs of a model, so that the loop knows no architecture and no adapter method.
import { cpu, type Device } from '../runtime/device.js';
import type { DeviceTensor } from '../runtime/device_tensor.js';
import type { RaggedBatch } from './data/ragged_batch.js';
import type { MessageRenderer } from './data/segments.js';
import type { ExampleTokenizer } from './data/tokenise.js';
import type { AdapterSettings, TrainSettings } from './options.js';

/** Parameters that are stepped alike: a run of `values`. */
export interface ParameterGroup {
  readonly name: string;
  /** Elements from the start of `values`: a multiple of 16 (64 bytes). */
  readonly offset: number;
  readonly length: number;
  /** Multiplies the learning rate, as LoRA+ does for B. */
  readonly rateMultiplier: number;
  /** Whether weight decay takes from it. */
  readonly decays: boolean;
}

/** A named tensor of an adapter, as files hold it. */
export interface NamedParameter {
  readonly name: string;
  readonly shape: readonly number[];
  /** Elements from the start of `values`. */
  readonly offset: number;
  /** Elements from one row to the next. */
  readonly rowStride: number;
}

/** One adapter under training. */
export interface TrainedParameters {
  readonly name: string;
  /** f32 state: all parameters, one after the other. */
  readonly values: DeviceTensor;
  /** f32 state of the same length that gradients are added to. The trainer zeroes it after a step. */
  readonly gradients: DeviceTensor;
  /** Together they hold every element that is trained, none twice. */
  readonly groups: readonly ParameterGroup[];
  readonly tensors: readonly NamedParameter[];
  /** Further state that changes in training, such as running means of a method: checkpoints hold it too. */
  readonly extraState?: readonly { readonly name: string; readonly tensor: DeviceTensor }[];
}

/** T tokens of one or more adapters that run at once, R of which have a label. */
export interface TrainingMicroBatch extends Omit<RaggedBatch, 'parts'> {
  /** Steps that are complete: random numbers are to depend on it and the seed alone. */
  readonly step: number;
  /** f32[R]: what a row's loss counts: 1 / labels of that adapter in the whole step. */
  readonly rowWeight: Float32Array;
}

/** Log-probability of each row's target, f32[R]. */
export interface RowScores {
  readonly logprobs: Float32Array;
}

/** Bytes that are reserved. */
export interface PlannedMemory {
  /** The frozen base. */
  readonly weights: number;
  /** Adapters' values and gradients. */
  readonly parameters: number;
  /** Intermediates of forward and backward. */
  readonly arena: number;
  /** Scratch of kernels. */
  readonly workspace: number;
}

/** A model with adapters to train: compiled, its memory reserved. */
export interface TrainingStepRunner {
  /** In the order of the adapters asked for. */
  readonly parameters: readonly TrainedParameters[];
  readonly memory: PlannedMemory;
  /** Forward and backward of one micro-batch: the gradients of sum(-rowWeight * logprob) are added to `gradients`. */
  accumulate(batch: TrainingMicroBatch, signal?: AbortSignal): Promise<RowScores>;
  /** Forward only. */
  evaluate(batch: TrainingMicroBatch, signal?: AbortSignal): Promise<RowScores>;
  dispose(): void;
}

/** What a runner runs on: its parameters lie there. */
export const deviceOf = ({ parameters }: TrainingStepRunner): Device => parameters[0]?.values.device ?? cpu;

/** An adapter that a runner is to have. */
export interface AdapterToTrain {
  readonly name: string;
  readonly settings: AdapterSettings;
}

/** What a runner is compiled for. */
export interface RunnerRequest {
  readonly adapters: readonly AdapterToTrain[];
  /** Tokens of a micro-batch at most. */
  readonly maxTokens: number;
  /** Rows with a label of a micro-batch at most. */
  readonly maxRows: number;
  /** Whether `evaluate` will be called: what it needs is then planned and reserved at once. */
  readonly evaluates?: boolean;
  readonly settings: TrainSettings;
  /** The first examples of an adapter, for methods that measure the base on them; slot 0, weights that add up to 1 in each batch. */
  readonly calibration?: (adapter: string, examples: number) => readonly TrainingMicroBatch[];
  readonly signal?: AbortSignal;
}

/** A text for the trained adapters to go on with. */
export interface ContinuationRequest {
  /** Folder of a saved adapter; undefined: the bare base. */
  readonly folder: string | undefined;
  readonly prompt: string | Int32Array;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly seed: number;
}

/** An opened base model. */
export interface TrainingModel {
  readonly name: string;
  /** Changes where the base does: a training does not go on over another one. */
  readonly fingerprint: string;
  readonly contextLength: number;
  readonly tokenizer: ExampleTokenizer;
  /** All data is read: what only that needed is let go until texts are wanted again. */
  dataIsRead?(): void;
  readonly chatTemplate?: MessageRenderer;
  /** Positions that an adapter puts in front of every example. Without it: none. */
  virtualPositions?(settings: AdapterSettings): number;
  createRunner(request: RunnerRequest): Promise<TrainingStepRunner>;
  /** Writes an adapter as a PEFT folder: each file whole or not at all. */
  saveAdapter(adapter: AdapterToTrain, parameters: TrainedParameters, folder: string): Promise<void>;
  /** Frees everything of the training first; called once, at the end. */
  continueTexts(requests: readonly ContinuationRequest[], signal?: AbortSignal): Promise<string[]>;
  dispose(): void;
}

/** Opens the base model that the settings name. */
export type OpenTrainingModel = (
  settings: TrainSettings,
  options: { signal?: AbortSignal; onProgress?: (bytes: number, totalBytes: number) => void },
) => Promise<TrainingModel>;
