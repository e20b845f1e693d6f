// sample and advance by the letter of native/kernels/sampling/sampling_layout.h.
import type { Operand, Reference } from './check_op.ts';
import { logSoftmaxOf } from './softmax.reference.ts';

/** Philox4x32 with ten rounds, by its definition: two multiplications, two keys that grow by Weyl constants. */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = key.map(BigInt) as [bigint, bigint];
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * c0;
    const b = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & mask, (a >> 32n) ^ c3 ^ k1, a & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [c0, c1, c2, c3].map(Number);
}

export function uniformOf(historyLength: number, seedLow: number, seedHigh: number): number {
  const [high, low] = philox([historyLength, 0, 0, 0], [seedLow >>> 0, seedHigh >>> 0]) as [number, number];
  return Number(((BigInt(high) << 32n) | BigInt(low)) >> 11n) / 2 ** 53;
}

const largest = Math.fround(3.4028234663852886e38);
const tame = (v: number): number => (Number.isNaN(v) ? -Infinity : Math.min(v, largest));

export interface Controls {
  temperature: number;
  topP: number;
  minP: number;
  repetition: number;
  frequency: number;
  presence: number;
  topK: number;
}

/** Bias and penalties, in f32 as the layout says. */
function adjust(
  logits: Float64Array,
  row: Controls,
  prompt: readonly number[],
  generated: readonly number[],
  bias: ReadonlyArray<[number, number]>,
): Float64Array {
  const f = Math.fround;
  const out = logits.slice();
  for (const [token, value] of bias) if (token >= 0) out[token] = f((out[token] as number) + value);
  for (const token of new Set([...prompt, ...generated])) {
    let v = out[token] as number;
    if (row.repetition !== 1) v = v > 0 ? f(v / row.repetition) : f(v * row.repetition);
    const count = generated.filter((t) => t === token).length;
    if (count > 0) v = f(v - f(f(row.frequency * count) + row.presence));
    out[token] = v;
  }
  return out;
}

/** What a row may draw: [token, probability], in order of id. Empty when every logit counts as -infinity. */
export function distribution(adjusted: Float64Array, row: Controls): Array<[number, number]> {
  const logits = adjusted.map(tame);
  const best = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  if (best === -Infinity) return [];
  const order = [...logits.keys()]
    .filter((i) => logits[i] !== -Infinity)
    .sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  if (!(row.temperature > 0)) return [[order[0] as number, 1]];
  const weight = (token: number): number => Math.exp(((logits[token] as number) - best) / row.temperature);
  let kept = row.topK > 0 ? order.slice(0, row.topK) : order;
  if (row.topP < 1) {
    const goal = row.topP * kept.reduce((sum, token) => sum + weight(token), 0);
    let mass = 0;
    const end = kept.findIndex((token) => {
      mass += weight(token);
      return mass >= goal;
    });
    kept = kept.slice(0, Math.max(1, end + 1));
  }
  if (row.minP > 0) kept = kept.filter((token) => weight(token) >= Math.min(row.minP, 1));
  const total = kept.reduce((sum, token) => sum + weight(token), 0);
  return kept.sort((a, b) => a - b).map((token) => [token, weight(token) / total]);
}

const values = (inputs: Record<string, Operand | undefined>, name: string): Float64Array => (inputs[name] as Operand).values;
const rowOf = (operand: Operand | undefined, r: number): number[] => {
  const { dims, values: all } = operand as Operand;
  const width = dims[1] as number;
  return [...all.subarray(r * width, (r + 1) * width)];
};

export const sample: Reference = (inputs, _attrs, outputs) => {
  const rows = values(inputs, 'positions');
  const tops = outputs.topTokens?.[1] as number;
  const token = new Float64Array(rows.length).fill(-1);
  const logprob = new Float64Array(rows.length);
  const topTokens = new Float64Array(rows.length * tops).fill(-1);
  const topLogprobs = new Float64Array(rows.length * tops);
  rows.forEach((position, r) => {
    if (position < 0) return;
    const own = Float64Array.from(rowOf(inputs.logits, r), tame);
    const [temperature, topP, minP, repetition, frequency, presence] = rowOf(inputs.controls, r) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const [topK, seedLow, seedHigh, topCount, slot] = rowOf(inputs.integers, r) as [number, number, number, number, number];
    const [promptLength, length] = rowOf(inputs.historyState, slot) as [number, number];
    const history = rowOf(inputs.history, slot).slice(0, length);
    const biasValues = rowOf(inputs.biasValues, r);
    const bias = rowOf(inputs.biasTokens, r).map((t, i): [number, number] => [t, biasValues[i] as number]);
    const controls = { temperature, topP, minP, repetition, frequency, presence, topK };

    const logprobs = own.every((v) => v === -Infinity) ? own : logSoftmaxOf(own);
    const order = [...own.keys()].sort((a, b) => (own[a] === own[b] ? a - b : (own[b] as number) - (own[a] as number)));
    order.slice(0, Math.min(topCount, tops)).forEach((id, i) => {
      topTokens[r * tops + i] = id;
      topLogprobs[r * tops + i] = logprobs[id] as number;
    });

    const choices = distribution(
      adjust(Float64Array.from(rowOf(inputs.logits, r)), controls, history.slice(0, promptLength), history.slice(promptLength), bias),
      controls,
    );
    const target = uniformOf(length, seedLow, seedHigh);
    let sum = 0;
    const drawn = choices.find(([, p]) => {
      sum += p;
      return sum > target;
    });
    token[r] = drawn?.[0] ?? choices.at(-1)?.[0] ?? 0;
    logprob[r] = logprobs[token[r] as number] as number;
  });
  return { token, logprob, topTokens, topLogprobs };
};

export const advance: Reference = (inputs) => {
  const positions = values(inputs, 'positions');
  const token = values(inputs, 'token');
  const nextToken = new Float64Array(positions.length).fill(-1);
  const nextPosition = new Float64Array(positions.length).fill(-1);
  const state = new Float64Array(positions.length);
  let running = 0;
  positions.forEach((position, r) => {
    if (position < 0) return;
    const [, , , , slot, maxLength] = rowOf(inputs.integers, r) as number[];
    const length = (rowOf(inputs.historyState, slot as number)[1] as number) + 1;
    if (rowOf(inputs.stopTokens, r).includes(token[r] as number)) state[r] = 1;
    else if (length >= (maxLength as number)) state[r] = 2;
    if (state[r] !== 0) return;
    nextToken[r] = token[r] as number;
    nextPosition[r] = position + 1;
    running++;
  });
  return { nextToken, nextPosition, state, running: [running] };
};
