import { describe, expect, it } from 'vitest';
import { newValue } from '../../lib/plan/ir.js';
import { compilePlan } from '../../lib/plan/plan.js';
import { tensor } from '../../lib/runtime/device_tensor.js';
import { viewAs } from '../../lib/runtime/dtype.js';
import { checkOp, f32, i32, type OpCase, runOp } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { advance, distribution, philox, sample, uniformOf } from './sampling.reference.ts';

interface Row {
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

const capacity = 24;

/** The tables of a step; row r has the slot that counts from the other end, so that a mix-up shows. */
function step(name: string, rows: Row[], more: Partial<OpCase> & { tops?: number; biases?: number; stride?: number } = {}): OpCase {
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

const I = Infinity;
const normal = (count: number, seed: number, scale = 1): Float64Array => randomNormal(count, seed).map((v) => v * scale);
const many = (count: number, row: (r: number) => Row): Row[] => Array.from({ length: count }, (_, r) => row(r));
const peaks = new Float64Array(5000).fill(-2);
for (const i of [2047, 2048, 4096, 4999]) peaks[i] = 7;

checkOp('sample', {
  cases: [
    step('greedy', [...many(5, (r) => ({ logits: normal(101, r + 1) })), { logits: normal(101, 9), position: -1, topLogprobs: 3 }]),
    step(
      'greedy, a large vocabulary',
      many(3, (r) => ({ logits: normal(49_157, r + 1, 3), topLogprobs: 20 })),
      { tops: 20 },
    ),
    step(
      'greedy, neither tops nor biases',
      many(3, (r) => ({ logits: normal(64, r + 1) })),
      { tops: 0, biases: 0 },
    ),
    step('greedy, ties go to the lowest id', [
      { logits: peaks, topLogprobs: 5 },
      { logits: new Float64Array(5000).fill(0.25), topLogprobs: 2 },
    ]),
    step(
      'rows of a wider tensor',
      many(4, (r) => ({ logits: normal(101, r + 1), temperature: r % 2, topLogprobs: r })),
      { stride: 128 },
    ),
    step('NaN and infinities', [
      { logits: [NaN, 1, -I, 2, NaN, 0, -I], topLogprobs: 5 },
      { logits: [NaN, 1, -I, 2, NaN, 0, -I], topLogprobs: 5, temperature: 1 },
      { logits: [1, I, 2, I, 0, 0, 0], topLogprobs: 3 },
      { logits: [1, I, 2, I, 0, 0, 0], topLogprobs: 3, temperature: 2, seed: [3, 1] },
      { logits: [-I, -I, NaN, -I, -I, -I, -I], topLogprobs: 2 },
      { logits: [-I, -I, NaN, -I, -I, -I, -I], topLogprobs: 2, temperature: 1, topP: 0.5 },
      { logits: [3e38, -3e38, 3e38, 1e38, 0, 0, 0], topLogprobs: 3, temperature: 1e-3 },
    ]),
    step('one token', [
      { logits: [3], topLogprobs: 5, temperature: 1, prompt: [0] },
      { logits: [-I], prompt: [0] },
    ]),
    step('no rows', []),
    step(
      'temperatures',
      many(24, (r) => ({ logits: normal(3000, r % 3, 2), temperature: [0.3, 0.7, 1, 1.5, 100, 1e-40][r % 6] ?? 1, seed: [r * 77, r] })),
    ),
    step(
      'seeds of all bits',
      many(24, (r) => ({
        logits: normal(300, 4),
        temperature: 1,
        seed: [(r * 0x9e3779b9) | 0, (r * 0x85ebca6b) | 0],
        generated: new Array(r % 20).fill(2),
      })),
    ),
    step(
      'top-k',
      many(40, (r) => ({
        logits: normal(5000, r % 4, 2),
        temperature: 1,
        topK: [1, 2, 5, 40, 200, 4999, 5000, 6000][r % 8] ?? 1,
        seed: [r, 9],
      })),
    ),
    step(
      'top-p',
      many(40, (r) => ({
        logits: normal(5000, r % 4, 2),
        temperature: 1,
        topP: [0, 1e-6, 0.3, 0.5, 0.9, 0.99, 0.9999, 1][r % 8] ?? 1,
        seed: [r, 8],
      })),
    ),
    step(
      'top-p of a flat row',
      many(12, (r) => ({ logits: normal(5000, r, 0.01), temperature: 1, topP: [0.5, 0.9, 0.999][r % 3] ?? 1, seed: [r, 7] })),
    ),
    step(
      'min-p',
      many(40, (r) => ({
        logits: normal(5000, r % 4, 2),
        temperature: 1.3,
        minP: [1e-9, 0.01, 0.1, 0.5, 0.99, 1, 1.5, 0][r % 8] ?? 0,
        seed: [r, 6],
      })),
    ),
    step(
      'all cuts together',
      many(60, (r) => ({
        logits: normal(5000, r % 5, 3),
        temperature: 0.8,
        topK: 2 + r,
        topP: 0.6 + (r % 4) / 10,
        minP: (r % 3) / 20,
        seed: [r, 5],
        topLogprobs: r % 6,
      })),
    ),
    step(
      'cuts through ties',
      many(32, (r) => ({ logits: peaks, temperature: 1, topK: r % 5, topP: r % 2 ? 0.5 : 1, minP: r % 3 ? 0 : 0.5, seed: [r, 4] })),
    ),
    step(
      'equal logits, cut by id',
      many(32, (r) => ({
        logits: new Float64Array(4096).fill(-1),
        temperature: 1,
        topK: r % 2 ? 8 : 0,
        topP: 0.25 + (r % 4) / 4,
        seed: [r, 3],
      })),
    ),
    step(
      'more masked than kept',
      many(12, (r) => ({
        logits: Float64Array.from({ length: 900 }, (_, i) => (i % 300 === 7 ? i / 300 : -I)),
        temperature: 1,
        topK: 2 + r,
        topP: 0.99,
        seed: [r, 2],
      })),
    ),
    step('biases', [
      {
        logits: normal(50, 1),
        bias: [
          [3, 100],
          [3, -50],
          [9, 60],
        ],
        topLogprobs: 3,
      },
      {
        logits: normal(50, 1),
        bias: [
          [0, -I],
          [7, I],
        ],
        temperature: 1,
      },
      {
        logits: [1, 2, ...new Array(48).fill(-I)],
        bias: [
          [0, -I],
          [1, -I],
        ],
        temperature: 1,
      },
      { logits: normal(50, 1), bias: [[49, 20]], temperature: 0.5, topK: 3 },
    ]),
    step('penalties', [
      { logits: [1, 5, 4, 3, -1], prompt: [1, 1, 2], repetition: 2 },
      { logits: [1, 5, 4, 3, -1], prompt: [3], generated: [1, 1, 1, 2], frequency: 0.5, presence: 0.25 },
      { logits: [1, 5, 4, 3, -1], prompt: [1], generated: [1, 1, 2], frequency: 0.5 },
      { logits: [-1, -5, -4, -3, -1], prompt: [0, 4], repetition: 1.5 },
      { logits: [1, 5, 4.5, 3, -1], prompt: [], generated: [1, 2, 1], repetition: 1.25, frequency: -0.5, presence: 1, bias: [[2, 1]] },
      {
        logits: [1, 5, 4, 3, -1],
        prompt: [1, 2],
        generated: [1, 0, 3],
        repetition: 1.3,
        frequency: 0.3,
        presence: 0.1,
        temperature: 0.7,
        topP: 0.9,
        topLogprobs: 5,
      },
      { logits: [1, 5, 4, 3, -1], prompt: [], generated: [], repetition: 1.3 },
    ]),
    step(
      'penalties over a large vocabulary',
      many(6, (r) => ({
        logits: normal(20_000, r, 2),
        prompt: [5, 19_999, 7, 5],
        generated: [r, r, 12_345],
        repetition: 1.2,
        frequency: 0.2,
        presence: 0.4,
        temperature: r % 2,
        topP: 0.95,
        seed: [r, 1],
      })),
    ),
    step('a bias for no such token', [{ logits: normal(50, 1), bias: [[50, 1]] }], {
      error: /row 0: bias token 50: expected less than the vocabulary, 50/,
    }),
    step(
      'a history of no such token',
      many(3, (r) => ({ logits: normal(50, 1), prompt: [r === 1 ? 50 : 3], presence: 1 })),
      { error: /row 1: its history holds a token outside the vocabulary of 50/ },
    ),
    step('a history longer than its slot', [{ logits: normal(50, 1) }], { error: /row 0: its history has lengths 1 and 25/ }),
    step('no such slot', [{ logits: normal(50, 1) }], { error: /row 0: its history slot is 1: expected 0 to 0/ }),
  ].map((test) => {
    if (test.name === 'a history longer than its slot') test.inputs.historyState = i32([1, 2], [1, capacity + 1]);
    if (test.name === 'no such slot') test.inputs.integers = i32([1, 8], [0, 0, 0, 0, 1, 9, 0, 0]);
    return test;
  }),
  reference: sample,
});

describe('the generator', () => {
  it('gives the published numbers', () => {
    const hex = (words: number[]): string => words.map((w) => w.toString(16).padStart(8, '0')).join(' ');
    const ones = 0xffffffff;
    expect(hex(philox([0, 0, 0, 0], [0, 0]))).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    expect(hex(philox([ones, ones, ones, ones], [ones, ones]))).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    expect(hex(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]))).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    );
  });

  it('decides the token: a row of equal logits shows the number itself', async () => {
    const rows = many(64, (r) => ({
      logits: new Float64Array(4096),
      temperature: 1,
      seed: [r * 123_456_789, -r] as [number, number],
      prompt: new Array(1 + (r % 20)).fill(0),
    }));
    const { token } = await runOp('sample', step('uniform', rows));
    rows.forEach(({ seed, prompt }, r) => expect(token?.[r]).toBe(Math.floor(uniformOf(prompt.length, ...seed) * 4096)));
  });
});

describe('sample', () => {
  it.each<[string, Partial<Row>]>([
    ['temperature 1', { temperature: 1 }],
    ['temperature 0.6', { temperature: 0.6 }],
    ['top-k 12', { temperature: 1, topK: 12 }],
    ['top-p 0.7', { temperature: 1, topP: 0.7 }],
    ['min-p 0.15', { temperature: 1.2, minP: 0.15 }],
    ['all together', { temperature: 1.5, topK: 30, topP: 0.9, minP: 0.05 }],
  ])('draws in proportion: %s', async (name, settings) => {
    const draws = 8192;
    const logits = normal(40, 21, 1.5).map(Math.fround);
    const { token } = await runOp(
      'sample',
      step(
        name,
        many(draws, (r) => ({ logits, ...settings, seed: [r, 1234] })),
        { tops: 0, biases: 0 },
      ),
    );
    const counts = new Map<number, number>();
    for (const t of token as Float64Array) counts.set(t, (counts.get(t) ?? 0) + 1);
    const f = Math.fround;
    const expected = distribution(logits, {
      temperature: f(settings.temperature ?? 1),
      topP: f(settings.topP ?? 1),
      minP: f(settings.minP ?? 0),
      topK: settings.topK ?? 0,
      repetition: 1,
      frequency: 0,
      presence: 0,
    });
    for (const drawn of counts.keys()) expect(expected.map(([id]) => id)).toContain(drawn);
    // Pearson's statistic; rare tokens together. Beyond five deviations of its own distribution something is wrong.
    let statistic = 0;
    let cells = 0;
    let rare = [0, 0];
    for (const [id, p] of expected) {
      const seen = counts.get(id) ?? 0;
      if (p * draws < 8) rare = [(rare[0] as number) + p * draws, (rare[1] as number) + seen];
      else {
        statistic += (seen - p * draws) ** 2 / (p * draws);
        cells++;
      }
    }
    if ((rare[0] as number) >= 8) {
      statistic += ((rare[1] as number) - (rare[0] as number)) ** 2 / (rare[0] as number);
      cells++;
    }
    expect(statistic).toBeLessThan(cells - 1 + 5 * Math.sqrt(2 * cells));
  });

  it('gives a row the same token whatever rows are beside it', async () => {
    const row = (r: number): Row => ({
      logits: normal(2500, r, 2),
      temperature: 1,
      topP: r % 2 ? 0.95 : 1,
      topK: r % 3 ? 0 : 50,
      minP: r % 5 ? 0 : 0.02,
      presence: r % 4 ? 0 : 0.5,
      generated: [r, 3],
      seed: [r, 99],
      topLogprobs: 4,
    });
    const together = await runOp('sample', step('together', many(13, row)));
    for (let r = 0; r < 13; r++) {
      const alone = await runOp('sample', step('alone', [row(r)]));
      for (const name of ['token', 'logprob', 'topTokens', 'topLogprobs']) {
        const width = name.startsWith('top') ? 5 : 1;
        expect([...(alone[name] as Float64Array)], `${name} of row ${r}`).toEqual([
          ...(together[name] as Float64Array).subarray(r * width, (r + 1) * width),
        ]);
      }
    }
  });
});

const turn = (name: string, more: Partial<OpCase['inputs']> = {}, rest: Partial<OpCase> = {}): OpCase => {
  // Row: 0 goes on, 1 stops, 2 is full, 3 ended before, 4 stops and is full at once, 5 goes on although its padding is -1.
  const rows = 6;
  const integers = Array.from({ length: rows }, (_, r) => [0, 0, 0, 0, rows - 1 - r, [9, 9, 4, 9, 4, 9][r] as number, 0, 0]).flat();
  return {
    name,
    inputs: {
      token: i32([rows], [11, 12, 13, -1, 12, 14]),
      positions: i32([rows], [2, 2, 2, -1, 2, 7]),
      integers: i32([rows, 8], integers),
      history: i32([rows, capacity], new Array(rows * capacity).fill(0)),
      historyState: i32([rows, 2], new Array(rows).fill([1, 3]).flat()),
      stopTokens: i32([rows, 2], [12, -1, 5, 12, -1, -1, 12, 12, 7, 12, -1, -1]),
      ...more,
    },
    outputs: Object.fromEntries(
      ['nextToken', 'nextPosition', 'state', 'running'].map((output) => [
        output,
        { dtype: 'i32' as const, dims: [output === 'running' ? 1 : rows] },
      ]),
    ),
    ...rest,
  };
};
checkOp('advance', {
  cases: [
    turn('every way a step can end'),
    turn('no stop tokens', { stopTokens: i32([6, 0], []) }),
    turn(
      'a full history',
      { historyState: i32([6, 2], [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, capacity]) },
      { error: /row 0: its history has length 24: expected room for one more token in 24/ },
    ),
    turn('no such slot', { integers: i32([6, 8], new Array(48).fill(6)) }, { error: /row 0: its history slot is 6: expected 0 to 5/ }),
    turn('no token', { token: i32([6], new Array(6).fill(-1)) }, { error: /row 0: its token is -1/ }),
    turn('too few positions', { positions: i32([5], [1, 1, 1, 1, 1]) }, { error: /positions is i32 \[5\]: expected i32 \[6\]/ }),
  ],
  reference: advance,
});

describe('advance', () => {
  it('appends to the history of the row, and only of rows that go on', async () => {
    const ints = (dims: number[], list: number[]) => tensor('i32', dims, Int32Array.from(list));
    const held = {
      token: ints([3], [5, 6, 7]),
      positions: ints([3], [4, -1, 0]),
      integers: ints([3, 8], [0, 0, 0, 0, 2, 99, 0, 0, 0, 0, 0, 0, 1, 99, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0]),
      history: ints([3, 4], [9, 0, 0, 0, 9, 9, 0, 0, 9, 9, 0, 0]),
      historyState: ints([3, 2], [1, 1, 1, 2, 2, 2]),
      stopTokens: ints([3, 1], [7, 7, 7]),
    };
    const list = newValue('i32', [3]);
    const program = compilePlan({
      nodes: [
        {
          op: 'advance',
          inputs: Object.values(held).map((bound) => ({ ...newValue('i32', bound.dims), bound })),
          outputs: [list, newValue('i32', [3]), newValue('i32', [3]), newValue('i32', [1])],
          attrs: {},
        },
      ],
      inputs: [],
      outputs: [{ name: 'nextToken', value: list }],
      extents: new Map(),
      feeds: [],
    });
    const read = async (bound: (typeof held)['history'], count: number) => [...viewAs('i32', await bound.buffer.read(0, count * 4))];
    await program.run({});
    expect(await read(held.history, 12)).toEqual([9, 7, 0, 0, 9, 9, 0, 0, 9, 9, 5, 0]);
    expect(await read(held.historyState, 6)).toEqual([1, 2, 1, 2, 2, 3]);
    await program.run({});
    expect(await read(held.history, 12)).toEqual([9, 7, 7, 0, 9, 9, 0, 0, 9, 9, 5, 5]);
    expect(await read(held.historyState, 6)).toEqual([1, 3, 1, 2, 2, 4]);
    await expect(program.run({})).rejects.toThrow(/row 0: its history has length 4/);
    program.dispose();
    for (const bound of Object.values(held)) bound.buffer.dispose();
  });
});
