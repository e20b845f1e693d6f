// Adapters of all kinds, ranks and widths, and the tokens that go to them.
import type { OpCase } from './check_op.ts';
import { dense, type LoraOptions, loraCase, lowRank, network, repeat } from './grouped_lora.case.ts';

export const cycle = (slots: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => slots[i % slots.length] as number);
const ranks = [[lowRank(1)], [lowRank(3, { dtype: 'f16' })], [lowRank(8, { dtype: 'f32', scale: 2 })], [lowRank(200)]];
const three: LoraOptions = { inputs: 40, outputs: [48, 24, 24], site: 2 };

export const loraCases: OpCase[] = [
  loraCase('one token, one adapter', [[lowRank(16)]], [0]),
  loraCase('one adapter for all: tiles of every size', [[lowRank(16)]], repeat(0, 11)),
  loraCase('ranks 1, 3, 8 and 200 side by side', ranks, [0, 1, 2, 3, 3, 3, -1, 2, 2, 0]),
  loraCase('a different adapter for each token', ranks, cycle([3, 1, 0, 2], 8)),
  loraCase('a run of one beside a run of many', ranks, [0, ...repeat(1, 9)]),
  loraCase('holes', ranks, [-1, 2, -1, -1, 1, 1, -1]),
  loraCase('no adapter anywhere', ranks, repeat(-1, 5)),
  loraCase('no tokens', ranks, []),
  loraCase('width 2049', [[lowRank(5)], [lowRank(16)]], [0, 0, 1, 1, 1, 1, 1], { inputs: 2049, outputs: [2049] }),
  loraCase('width 1', [[lowRank(2)]], [0, -1], { inputs: 1, outputs: [1] }),
  loraCase('outputs beyond one chunk of columns', [[lowRank(3)], [lowRank(2, { gain: true })]], [0, 1, 1], { inputs: 16, outputs: [8203] }),
  loraCase('rank beyond one block of rows', [[lowRank(300, { gain: true, shift: true })], [lowRank(513)]], [0, 1, 0, 0]),
  loraCase('rank 0 with a shift', [[lowRank(0, { shift: true })]], [0, 0, -1]),
  loraCase('rank 0 without anything', [[lowRank(0)]], [0]),
  loraCase('three sites that share x', [[lowRank(4), lowRank(8), lowRank(2)]], repeat(0, 6), three),
  loraCase('adapters that miss sites', [[lowRank(4), undefined, lowRank(2)], [undefined, lowRank(3)], []], [0, 1, 2, 1, 1, 0], three),
  loraCase('a site of no outputs', [[lowRank(4), lowRank(3)]], repeat(0, 3), { outputs: [20, 0] }),
  loraCase('gain', [[lowRank(4, { gain: true })]], repeat(0, 5)),
  loraCase('gain with bias and shift', [[lowRank(4, { gain: true, shift: true })], [lowRank(2)]], [0, 0, 1, 0], { bias: true }),
  loraCase('gain at another weight', [[lowRank(4, { gain: true })]], repeat(0, 5), { bias: true, weights: (i) => (i % 2 ? 0.5 : 1) }),
  ...(['f32', 'f16', 'bf16'] as const).map((dtype) =>
    loraCase(`whole weight in ${dtype}`, [[dense({ dtype, shift: true })]], repeat(0, 6), { bias: true }),
  ),
  loraCase('whole weight of several hundred rows', [[dense()]], repeat(0, 3), { outputs: [301] }),
  loraCase(
    'two routes',
    ranks,
    [
      [0, 1],
      [0, 1],
      [2, -1],
      [-1, 3],
      [-1, -1],
    ],
    { weights: (i) => 0.25 * (i + 1) },
  ),
  loraCase('the same adapter twice', [[lowRank(4)]], [[0, 0]], { weights: (i) => i + 0.5 }),
  loraCase(
    'three routes of all kinds: each sees the base as it was',
    [[lowRank(4)], [lowRank(3, { gain: true })], [dense({ shift: true })]],
    [
      [0, 1, 2],
      [0, 1, 2],
      [2, 1, 0],
      [1, -1, 2],
    ],
    { bias: true, weights: (i) => 0.1 * (i + 1) },
  ),
  ...[0, 1, 2, 3, 4, 5].flatMap((f) => [
    loraCase(`function ${f} beside the module`, [[network('parallel', 7, f)]], repeat(0, 6)),
    loraCase(`function ${f} behind the module`, [[network('series', 7, f)]], repeat(0, 6)),
  ]),
  loraCase(
    'networks of 16-bit factors',
    [[network('parallel', 5, 3, { dtype: 'bf16' })], [network('series', 5, 5, { dtype: 'f16' })]],
    [0, 1, 1],
  ),
  loraCase('a network beside the module beyond one block of rows', [[network('parallel', 300, 0)]], repeat(0, 3)),
  loraCase('a network behind the module beyond one block of rows', [[network('series', 300, 5)]], repeat(0, 3)),
  loraCase('networks beyond one chunk of columns', [[network('series', 3, 5)], [network('parallel', 3, 3)]], [0, 1, 0, 0, 0, 0, 0], {
    ...{ inputs: 16, outputs: [8203] },
  }),
  loraCase('a network of no size', [[network('series', 0, 0)], [network('parallel', 0, 0)]], [0, 1]),
  loraCase('networks among sites that share x', [[network('series', 4, 0), lowRank(3), network('parallel', 2, 5)]], repeat(0, 6), three),
  loraCase('as many tokens as a tile has and more', [[network('series', 6, 3)]], repeat(0, 61)),
  loraCase(
    'networks among other routes: each sees the base as it was',
    [
      [network('series', 4, 5)],
      [lowRank(3, { gain: true })],
      [network('series', 3, 3)],
      [dense({ shift: true })],
      [network('parallel', 2, 1)],
    ],
    [
      [0, 1, 2, 4],
      [4, 3, 2, 0],
      [3, 0, -1, 1],
      [2, 2, 2, 2],
    ],
    { bias: true, weights: (i) => 0.1 * (i + 1) },
  ),
  loraCase(
    'rows inside wider tensors',
    [
      [lowRank(4), lowRank(2, { gain: true })],
      [dense(), lowRank(3)],
    ],
    [0, 0, 1, 1, 1, -1],
    { outputs: [19, 30], strided: true },
  ),
];
