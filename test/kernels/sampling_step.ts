import { f32, i32, type OpCase } from './check_op.ts';

/** One request of a step; what is left out is off. */
export interface Row {
  logits: ArrayLike<number>;
  temperature?: number;
  topP?: number;
  minP?: number;
  repetition?: number;
  frequency?: number;
  presence?: number;
  topK?: number;
  seed?: [number, number];
  topLogprobs?: number;
  position?: number;
  prompt?: number[];
  generated?: number[];
  bias?: Array<[number, number]>;
}

/** Tokens a history slot holds. */
export const capacity = 24;

/** The tables of a step; row r has the slot that counts from the other end, so that a mix-up shows. */
export function step(name: string, rows: Row[], more: Partial<OpCase> & { tops?: number; biases?: number; stride?: number } = {}): OpCase {
  const { tops = 5, biases = 3, stride, ...rest } = more;
  const vocabulary = rows[0]?.logits.length ?? 7;
  const slot = (r: number): number => rows.length - 1 - r;
  const history = new Float64Array(rows.length * capacity);
  const state = new Float64Array(rows.length * 2);
  rows.forEach(({ prompt = [1], generated = [] }, r) => {
    history.set([...prompt, ...generated], slot(r) * capacity);
    state.set([prompt.length, prompt.length + generated.length], slot(r) * 2);
  });
  const logits = rows.flatMap((row) => Array.from(row.logits));
  const padded = (row: Row, column: 0 | 1, none: number): number[] =>
    Array.from({ length: biases }, (_, i) => row.bias?.[i]?.[column] ?? none);
  return {
    name,
    inputs: {
      logits: stride === undefined ? f32([rows.length, vocabulary], logits) : f32.strided([rows.length, vocabulary], stride, logits),
      positions: i32(
        [rows.length],
        rows.map((row) => row.position ?? 3),
      ),
      controls: f32(
        [rows.length, 8],
        rows.flatMap((row) => [
          row.temperature ?? 0,
          row.topP ?? 1,
          row.minP ?? 0,
          row.repetition ?? 1,
          row.frequency ?? 0,
          row.presence ?? 0,
          0,
          0,
        ]),
      ),
      integers: i32(
        [rows.length, 8],
        rows.flatMap((row, r) => [row.topK ?? 0, ...(row.seed ?? [r, 0]), row.topLogprobs ?? 0, slot(r), 100, 0, 0]),
      ),
      history: i32([rows.length, capacity], history),
      historyState: i32([rows.length, 2], state),
      biasTokens: i32(
        [rows.length, biases],
        rows.flatMap((row) => padded(row, 0, -1)),
      ),
      biasValues: f32(
        [rows.length, biases],
        rows.flatMap((row) => padded(row, 1, 0)),
      ),
    },
    outputs: {
      token: { dtype: 'i32', dims: [rows.length] },
      logprob: { dtype: 'f32', dims: [rows.length] },
      topTokens: { dtype: 'i32', dims: [rows.length, tops] },
      topLogprobs: { dtype: 'f32', dims: [rows.length, tops] },
    },
    reduction: 16,
    ...rest,
  };
}
