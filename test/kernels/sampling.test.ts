import { describe, expect, it } from 'vitest';
import { checkOp, i32, runOp } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { distribution, philox, sample, uniformOf } from './sampling.reference.ts';
import { capacity, type Row, step } from './sampling_step.ts';
import { testsCpu } from './test_devices.ts';

const I = Infinity;
const normal = (count: number, seed: number, scale = 1): Float64Array => randomNormal(count, seed).map((v) => v * scale);
const many = <R extends Row>(count: number, row: (r: number) => R): R[] => Array.from({ length: count }, (_, r) => row(r));
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
      'cuts that keep much of a large vocabulary',
      many(6, (r) => ({
        logits: normal(20_000, r, 0.01),
        temperature: 1,
        topK: r % 3 ? 0 : 15_000,
        topP: r % 2 ? 0.9 : 1,
        minP: r % 2 ? 0 : 0.9,
        seed: [r, 10],
      })),
    ),
    step('a long list of the most likely', [{ logits: normal(3000, 5), topLogprobs: 700 }], { tops: 700 }),
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

describe.skipIf(!testsCpu)('the generator', () => {
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
    const expected = rows.map(({ seed, prompt }) => Math.floor(uniformOf(prompt.length, ...seed) * 4096));
    expect([...(token as Float64Array)]).toEqual(expected);
  });
});

describe.skipIf(!testsCpu)('sample', () => {
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
