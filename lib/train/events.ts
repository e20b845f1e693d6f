// What a training tells as it runs: to onEvent, to `--json`, and the lines of log.jsonl.
import type { BadLine } from './data/bad_lines.js';

/** What was read for an adapter. */
export interface DataEvent {
  readonly type: 'data';
  readonly adapter: string;
  readonly examples: number;
  readonly tokens: number;
  readonly targets: number;
  readonly badLines: number;
  readonly truncated: number;
  readonly evaluationExamples: number;
  readonly evaluationTargets: number;
}

/** A line that is not learned from. */
export interface BadLineEvent extends BadLine {
  readonly type: 'badLine';
  readonly adapter: string;
}

/** Memory in bytes, before the first step. */
export interface PlannedBytes {
  readonly weights: number;
  readonly parameters: number;
  readonly optimiser: number;
  readonly arena: number;
  readonly workspace: number;
  readonly total: number;
}

/** What will run. */
export interface PlanEvent {
  readonly type: 'plan';
  readonly step: number;
  readonly time: string;
  readonly model: string;
  /** What it runs on: 'cpu', 'cuda', 'cuda:1'. */
  readonly device: string;
  readonly totalSteps: number;
  readonly planned: PlannedBytes;
  readonly adapters: Readonly<Record<string, { readonly parameters: number; readonly steps: number; readonly stepsPerEpoch: number }>>;
}

/** One step of one adapter. */
export interface AdapterStepNumbers {
  /** Mean over the labels of the step, before the step. */
  readonly loss: number;
  readonly rate: number;
  readonly gradientNorm: number;
  readonly tokens: number;
  readonly targets: number;
  readonly epoch: number;
}

/** A step is complete. */
export interface StepEvent {
  readonly type: 'step';
  /** Steps that are complete. */
  readonly step: number;
  readonly totalSteps: number;
  /** Of training so far, with what was before a resume. */
  readonly seconds: number;
  readonly tokens: number;
  /** Over the last steps. */
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
  /** Memory of the device at most so far. */
  readonly peakBytes: number;
  readonly adapters: Readonly<Record<string, AdapterStepNumbers>>;
}

/** Held-out data was run over. */
export interface EvaluationEvent {
  readonly type: 'evaluation';
  readonly step: number;
  readonly adapters: Readonly<Record<string, { readonly loss: number; readonly perplexity: number; readonly targets: number }>>;
}

/** A checkpoint is on the disk. */
export interface CheckpointEvent {
  readonly type: 'checkpoint';
  readonly step: number;
  readonly file: string;
}

/** The training goes on from a checkpoint, or begins because there is none. */
export interface ResumeEvent {
  readonly type: 'resume';
  readonly step: number;
  readonly file: string | null;
}

/** A text that an adapter, or the bare base (null), wrote after a prompt. */
export interface SampleEvent {
  readonly type: 'sample';
  readonly step: number;
  readonly adapter: string | null;
  readonly prompt: string;
  readonly text: string;
}

/** The training is complete. */
export interface EndEvent {
  readonly type: 'end';
  readonly step: number;
  readonly seconds: number;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly plannedBytes: number;
  /** Memory of the device that this process held at most. */
  readonly peakBytes: number;
  /** Resident memory of the process at most, JavaScript's own included. */
  readonly processPeakBytes: number;
  readonly report: string;
  readonly adapters: Readonly<
    Record<string, { readonly folder: string; readonly loss: number | null; readonly perplexity: number | null }>
  >;
}

/** Anything that a training tells. */
export type TrainEvent =
  | DataEvent
  | BadLineEvent
  | PlanEvent
  | ResumeEvent
  | StepEvent
  | EvaluationEvent
  | CheckpointEvent
  | SampleEvent
  | EndEvent;
