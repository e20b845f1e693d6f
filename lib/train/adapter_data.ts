// The data of every adapter of a training, and the batches of its steps.

import { OptionError } from '../errors.js';
import { BatchOrder, inOrder, layOut, type MicroBatch } from './data/batch_order.js';
import { countLabels, type ExampleSet, exampleCount, fingerprintOf } from './data/example_set.js';
import { type DataReport, loadData } from './data/load_data.js';
import { type RaggedBatch, shareBatches } from './data/ragged_batch.js';
import type { TrainEvent } from './events.js';
import type { AdapterSettings, TrainSettings } from './options.js';
import type { TrainingMicroBatch, TrainingModel } from './step_runner.js';

/** An adapter with its examples. */
export interface AdapterData {
  readonly name: string;
  readonly slot: number;
  readonly settings: AdapterSettings;
  readonly order: BatchOrder;
  readonly totalSteps: number;
  readonly training: ExampleSet;
  /** Held-out examples as they are run over. */
  readonly evaluation: readonly MicroBatch[];
  readonly heldOut: ExampleSet | undefined;
  readonly report: DataReport;
  readonly fingerprint: string;
}

/** Reads the data of all adapters, one after the other. Throws what `loadData` throws. */
export async function loadAdapterData(
  settings: TrainSettings,
  model: TrainingModel,
  tell: (event: TrainEvent) => void,
  options: { signal?: AbortSignal; onProgress?: (adapter: string, bytes: number, totalBytes: number) => void } = {},
): Promise<AdapterData[]> {
  const loaded: AdapterData[] = [];
  for (const [name, adapter] of settings.adapters) {
    const context = model.contextLength - (model.virtualPositions?.(adapter) ?? 0);
    if (context < 2)
      throw new OptionError(
        `${name}: ${adapter.method} puts ${model.contextLength - context} positions in front of a text, and ${model.name} takes ${model.contextLength} in all`,
        { option: 'methodOptions', actual: model.contextLength - context, expected: model.contextLength - 2 },
      );
    const maxLength = Math.min(context, settings.batchTokens);
    const data = await loadData(
      { ...adapter.data, onBadLine: (bad) => tell({ type: 'badLine', adapter: name, ...bad }) },
      {
        tokenizer: model.tokenizer,
        chatTemplate: model.chatTemplate,
        maxLength,
        ...(maxLength < context ? { maxLengthReason: 'which is batchTokens' } : {}),
        signal: options.signal,
        onProgress: ({ bytes, totalBytes }) => options.onProgress?.(name, bytes, totalBytes),
      },
    );
    const { training, evaluation: heldOut, report } = data;
    const tokensPerBatch = tokensPerBatchOf(settings, adapter, [training, ...(heldOut === undefined ? [] : [heldOut])]);
    const { batchSize, pack, maxLength: packTokens, shuffle, seed } = adapter.data;
    const order = new BatchOrder(training, {
      batchSize: batchSize * adapter.accumulation,
      tokensPerBatch,
      pack,
      packTokens: Math.min(packTokens ?? tokensPerBatch, tokensPerBatch),
      shuffle,
      seed,
    });
    const evaluation = heldOut === undefined ? [] : [...inOrder(heldOut, tokensPerBatch)];
    const totalSteps = adapter.steps ?? order.stepsOf(adapter.epochs);
    const fingerprint = fingerprintOf(training);
    loaded.push({ name, slot: loaded.length, settings: adapter, order, totalSteps, training, evaluation, heldOut, report, fingerprint });
    tell({
      type: 'data',
      adapter: name,
      examples: report.examples,
      tokens: report.tokens,
      targets: report.targets,
      badLines: report.badLines,
      truncated: report.truncated,
      evaluationExamples: heldOut === undefined ? 0 : exampleCount(heldOut),
      evaluationTargets: evaluation.reduce((sum, { targets }) => sum + targets, 0),
    });
  }
  return loaded;
}

// An adapter takes its share of a batch, so that all fit side by side; a longer example may have it whole.
function tokensPerBatchOf(settings: TrainSettings, { data }: AdapterSettings, sets: readonly ExampleSet[]): number {
  if (data.tokensPerBatch !== undefined) return Math.min(data.tokensPerBatch, settings.batchTokens);
  const longest = sets.reduce((most, { lengths }) => lengths.reduce((a, b) => Math.max(a, b), most), 1);
  const packed = data.pack ? Math.min(data.maxLength ?? 0, settings.batchTokens) : 0;
  return Math.max(longest, packed, Math.floor(settings.batchTokens / settings.adapters.size));
}

/**
 * Labels that a batch of at most `tokens` tokens can have at most: what a runner must be ready for. Where most of an example is prompt,
 * that is far less than its tokens, and so are the logits.
 */
export function mostLabels(sets: readonly ExampleSet[], tokens: number): number {
  const examples = sets.flatMap((set) =>
    Array.from(set.starts, (start, e) => {
      const length = set.lengths[e] as number;
      return { length, labels: countLabels(set.labels, start, start + length) };
    }),
  );
  // Filled with the most learned examples first, the last of them in part: nothing fits more.
  examples.sort((a, b) => b.labels * a.length - a.labels * b.length);
  let room = tokens;
  let most = 0;
  for (const { length, labels } of examples) {
    if (room <= 0) break;
    most += labels * Math.min(1, room / length);
    room -= length;
  }
  return Math.max(1, Math.min(tokens, Math.ceil(most - 1e-9)));
}

/** A shared batch as the runner takes it. @param labels of each slot in the whole step @param step steps that are complete */
export function toMicroBatch(batch: RaggedBatch, labels: ReadonlyMap<number, number>, step: number): TrainingMicroBatch {
  const { tokens, positions, first, index, rows, targets, rowAdapter } = batch;
  const rowWeight = Float32Array.from(rowAdapter, (slot) => 1 / (labels.get(slot) as number));
  return { step, tokens, positions, first, index, rows, targets, rowAdapter, rowWeight };
}

/** An adapter's first examples as it is trained on them alone, at most `examples`. Every batch counts as one step. */
export function calibrationBatches({ training }: AdapterData, examples: number, batchTokens: number): TrainingMicroBatch[] {
  const count = Math.min(examples, exampleCount(training));
  const batches: TrainingMicroBatch[] = [];
  let chosen: number[] = [];
  let tokens = 0;
  const close = (): void => {
    const [batch] = shareBatches([{ slot: 0, microBatches: [layOut(training, chosen)] }], batchTokens);
    if (batch !== undefined && batch.targets.length > 0) batches.push(toMicroBatch(batch, new Map([[0, batch.targets.length]]), 0));
    chosen = [];
    tokens = 0;
  };
  for (let example = 0; example < count; example++) {
    const length = training.lengths[example] as number;
    if (tokens + length > batchTokens && chosen.length > 0) close();
    chosen.push(example);
    tokens += length;
  }
  if (chosen.length > 0) close();
  return batches;
}

/** What one step of several adapters runs over. */
export interface SharedStep {
  readonly batches: readonly RaggedBatch[];
  /** Labels of the step by slot. */
  readonly labels: ReadonlyMap<number, number>;
  /** Tokens of the step by slot. */
  readonly tokens: ReadonlyMap<number, number>;
  readonly epochs: ReadonlyMap<number, number>;
}

/** The batches of a step. @param step steps that are complete; adapters that have no more steps are left out */
export function sharedStepAt(adapters: readonly AdapterData[], step: number, batchTokens: number): SharedStep {
  const running = adapters
    .filter(({ totalSteps }) => step < totalSteps)
    .map((adapter) => ({ adapter, batch: adapter.order.batchAt(step) }));
  const of = <T>(pick: (batch: (typeof running)[number]['batch']) => T): ReadonlyMap<number, T> =>
    new Map(running.map(({ adapter, batch }) => [adapter.slot, pick(batch)]));
  return {
    batches: shareBatches(
      running.map(({ adapter, batch }) => ({ slot: adapter.slot, microBatches: batch.microBatches })),
      batchTokens,
    ),
    labels: of(({ targets }) => targets),
    tokens: of(({ tokens }) => tokens),
    epochs: of(({ epoch }) => epoch),
  };
}

/** Adds up -logprob by slot, in float64 and in one order. */
export function addLosses(sums: Map<number, number>, { parts }: RaggedBatch, logprobs: Float32Array): void {
  for (const { slot, fromRow, toRow } of parts) {
    let sum = sums.get(slot) ?? 0;
    for (let row = fromRow; row < toRow; row++) sum -= logprobs[row] as number;
    sums.set(slot, sum);
  }
}
