import type { TensorData } from '../runtime/dtype.js';
import { type GenerationRequest, lengthOf, type Sequence } from './request.js';
import { controlColumns, integerColumns, writeSampling } from './sampling.js';

/** A request's share of a step: its next `count` tokens. */
export interface Share {
  readonly sequence: Sequence;
  readonly count: number;
}

/** Inputs of a program for one step, and which row of logits belongs to whom. */
export interface StepBatch {
  readonly inputs: Record<string, TensorData>;
  readonly extents: Record<string, number>;
  /** For each row of logits: the share and the position whose logits they are. */
  readonly rows: readonly { share: Share; position: number }[];
  readonly tokens: number;
  readonly requests: number;
  readonly adapters: number;
}

// Requests with the same adapters side by side: their tokens then share one reading of the factors.
function byAdapter(a: Share, b: Share): number {
  return a.sequence.adapterKey < b.sequence.adapterKey ? -1 : a.sequence.adapterKey > b.sequence.adapterKey ? 1 : 0;
}

/** Lays the shares of a step out as one ragged batch. */
export function buildStep(unordered: readonly Share[], blocksAhead: number): StepBatch {
  const shares = [...unordered].sort(byAdapter);
  const total = shares.reduce((n, share) => n + share.count, 0);
  const routes = Math.max(1, ...shares.map((s) => s.sequence.adapters.length));
  const blocks = Math.max(1, ...shares.map((s) => Math.min(s.sequence.pages.length, blocksAhead)));
  const inputs = {
    tokens: new Int32Array(total).fill(-1),
    virtualTokens: new Int32Array(total).fill(-1),
    positions: new Int32Array(total),
    request: new Int32Array(total),
    lengths: new Int32Array(total),
    blockTable: new Int32Array(shares.length * blocks).fill(-1),
    index: new Int32Array(total * routes).fill(-1),
    weight: new Float32Array(total * routes),
  };
  const rows: { share: Share; position: number }[] = [];
  const wanted: number[] = [];
  let at = 0;
  shares.forEach((share, r) => {
    const { sequence, count } = share;
    inputs.blockTable.set(sequence.pages.slice(0, blocks), r * blocks);
    for (let i = 0; i < count; i++, at++) {
      const position = sequence.computed + i;
      const ofText = position - sequence.virtualTokens;
      if (ofText < 0) inputs.virtualTokens[at] = position;
      else inputs.tokens[at] = sequence.tokens[ofText] as number;
      inputs.positions[at] = position;
      inputs.request[at] = r;
      inputs.lengths[at] = ofText < sequence.promptLength ? sequence.virtualTokens + sequence.promptLength : 0;
      sequence.adapters.forEach((use, route) => {
        inputs.index[at * routes + route] = use.adapter.place?.slot ?? -1;
        inputs.weight[at * routes + route] = use.scale;
      });
      const last = lengthOf(sequence) - 1;
      if (sequence.kind === 'score' ? ofText >= 0 && position < last : position === last) {
        rows.push({ share, position });
        wanted.push(at);
      }
    }
  });
  const adapters = new Set(shares.flatMap((s) => s.sequence.adapters.map((use) => use.adapter)));
  return {
    inputs: { ...inputs, rows: Int32Array.from(wanted) },
    extents: { tokens: total, requests: shares.length, blocks, routes, rows: wanted.length },
    rows,
    tokens: total,
    requests: shares.length,
    adapters: adapters.size,
  };
}

/** Adds what drawing tokens needs: one row of settings per row of logits. */
export function addSampling(batch: StepBatch): void {
  const requests = batch.rows.map(({ share }) => share.sequence as GenerationRequest);
  const biases = Math.max(0, ...requests.map((r) => Object.keys(r.sampling.logitBias).length));
  const stops = Math.max(0, ...requests.map((r) => r.stopTokens.length));
  const tops = Math.max(0, ...requests.map((r) => r.sampling.topLogprobs));
  const controls = new Float32Array(requests.length * controlColumns);
  const integers = new Int32Array(requests.length * integerColumns);
  const biasTokens = new Int32Array(requests.length * biases).fill(-1);
  const biasValues = new Float32Array(requests.length * biases);
  const stopTokens = new Int32Array(requests.length * stops).fill(-1);
  requests.forEach((request, row) => {
    writeSampling(request.sampling, request.slot, request.maxLength, row, controls, integers);
    Object.entries(request.sampling.logitBias).forEach(([token, value], i) => {
      biasTokens[row * biases + i] = Number(token);
      biasValues[row * biases + i] = value;
    });
    stopTokens.set(request.stopTokens, row * stops);
  });
  Object.assign(batch.inputs, { controls, integers, biasTokens, biasValues, stopTokens });
  Object.assign(batch.extents, { biases, stops, tops });
}

/** Adds the token that each row's logits are asked about. */
export function addTargets(batch: StepBatch): void {
  batch.inputs.target = Int32Array.from(
    batch.rows,
    ({ share, position }) => share.sequence.tokens[position - share.sequence.virtualTokens + 1] as number,
  );
}
