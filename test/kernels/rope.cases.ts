import { f32, i32, type OpCase } from './check_op.ts';

const frequencies = (rotary: number, base = 10000) =>
  f32(
    [rotary / 2],
    Array.from({ length: rotary / 2 }, (_, i) => base ** ((-2 * i) / rotary)),
  );
const plain = { scale: 1, longScale: 1, dynamicFactor: 0, base: 10000, originalLength: 0 };
const table = (name: string, positions: number[], rotary: number, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { positions: i32([positions.length], positions), frequencies: frequencies(rotary), ...more.inputs },
  attrs: { ...plain, ...more.attrs },
  outputs: { table: { dtype: 'f32', dims: [positions.length, rotary] } },
  ...(more.error === undefined ? {} : { error: more.error }),
});
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

export const ropeTableCases: OpCase[] = [
  table('no tokens', [], 64),
  table('no channels', [1, 2], 0),
  table('position 0', [0], 8),
  table('two channels', [5], 2),
  table('enough tokens to share between threads', upTo(300), 64),
  table('more tokens than a grid is high', upTo(70000), 6),
  table('angles of any size', [1, 77, 131071, 2147483647], 8, { inputs: { frequencies: f32([4], [1e-30, 3.7, 1e12, 3e38]) } }),
  table('far positions', [131071, 1 << 20, 2147483647], 64),
  table('a negative position reads as 0', [-1, 7, -100], 20),
  table('attention factor', upTo(9), 12, { attrs: { scale: 1.19 } }),
  table('long frequencies from the length on', [0, 15, 16, 40], 12, {
    inputs: { longFrequencies: frequencies(12, 500000) },
    attrs: { longScale: 1.25, originalLength: 16 },
  }),
  table('long frequencies by the length of the request', [0, 3, 3, 3], 12, {
    inputs: { longFrequencies: frequencies(12, 500000), lengths: i32([4], [0, 16, 17, 400]) },
    attrs: { scale: 0.5, longScale: 1.25, originalLength: 16 },
  }),
  table('dynamic base', [0, 15, 16, 31, 200], 16, { attrs: { dynamicFactor: 2, originalLength: 16 } }),
  table('dynamic base by the length of the request', [3, 3, 3], 16, {
    inputs: { lengths: i32([3], [16, 17, 64]) },
    attrs: { dynamicFactor: 4, originalLength: 16, scale: 2 },
  }),
  table('dynamic base of two channels', [40], 2, { attrs: { dynamicFactor: 4, originalLength: 16 } }),
  table('too few frequencies', [1], 8, {
    inputs: { frequencies: frequencies(6) },
    error: /frequencies is f32 \[3\]: expected f32 \[4\]/,
  }),
  table('too many lengths', [1], 8, { inputs: { lengths: i32([2]) }, error: /lengths is i32 \[2\]: expected i32 \[1\]/ }),
  table('long frequencies of another width', [1], 8, {
    inputs: { longFrequencies: frequencies(4) },
    error: /long_frequencies is f32 \[2\]: expected f32 \[4\]/,
  }),
];

const angles = (tokens: number, rotary: number) => {
  const { values } = f32([tokens * (rotary / 2)]);
  const half = rotary / 2;
  return f32(
    [tokens, rotary],
    Array.from({ length: tokens * rotary }, (_, i) => {
      const column = i % rotary;
      const angle = 3 * (values[Math.floor(i / rotary) * half + (column % half)] as number);
      return column < half ? Math.cos(angle) : Math.sin(angle);
    }),
  );
};
const rotate = (
  tokens: number,
  heads: number,
  width: number,
  rotary: number,
  interleaved: boolean,
  padding = 0,
  inverse = false,
): OpCase => ({
  name: `${tokens} tokens, ${heads} heads, ${rotary} of ${width} channels${interleaved ? ', interleaved' : ''}${padding ? ', strided' : ''}${inverse ? ', inverse' : ''}`,
  inputs: {
    x: padding ? f32.strided([tokens, heads, width], heads * width + padding) : f32([tokens, heads, width]),
    table: angles(tokens, rotary),
  },
  attrs: { interleaved, inverse },
  outputs: { y: { dtype: 'f32', dims: [tokens, heads, width] } },
  reduction: 2,
});

export const ropeCases: OpCase[] = [
  ...[false, true].flatMap((interleaved) => [
    rotate(0, 2, 8, 8, interleaved),
    rotate(1, 1, 2, 2, interleaved),
    rotate(1, 1, 1, 0, interleaved),
    rotate(3, 2, 12, 12, interleaved),
    rotate(3, 2, 20, 20, interleaved),
    rotate(2, 3, 20, 10, interleaved),
    rotate(5, 4, 64, 64, interleaved),
    rotate(4, 3, 80, 32, interleaved),
    rotate(2, 1, 256, 256, interleaved),
    rotate(90, 8, 64, 64, interleaved),
    rotate(7, 3, 20, 12, interleaved, 5),
    rotate(70, 8, 64, 64, interleaved, 128),
    rotate(3, 2, 20, 20, interleaved, 0, true),
    rotate(4, 3, 80, 32, interleaved, 0, true),
    rotate(7, 3, 20, 12, interleaved, 5, true),
    rotate(90, 8, 64, 64, interleaved, 0, true),
    rotate(3, 37, 16, 8, interleaved),
    rotate(2, 1, 1032, 1032, interleaved),
    rotate(2, 1, 300, 290, interleaved, 3),
    rotate(70000, 1, 4, 2, interleaved),
  ]),
  ...[false, true].map(
    (interleaved): OpCase => ({
      name: `heads that begin anywhere${interleaved ? ', interleaved' : ''}`,
      inputs: { x: f32.strided([3, 2, 16], 48, undefined, 5), table: angles(3, 16) },
      attrs: { interleaved, inverse: false },
      outputs: { y: { dtype: 'f32', dims: [3, 2, 16] } },
      reduction: 2,
    }),
  ),
  {
    name: 'extreme values',
    inputs: {
      x: f32([1, 2, 4], [1e30, -1e30, 1e38, 1e-40, 0, -0, Number.POSITIVE_INFINITY, Number.NaN]),
      table: f32([1, 4], [1, 0.5, 0, 0.5]),
    },
    attrs: { interleaved: false, inverse: false },
  },
  {
    name: 'a table for other tokens',
    inputs: { x: f32([2, 1, 4]), table: angles(3, 4) },
    attrs: { interleaved: false, inverse: false },
    error: /table is f32 \[3, 4\], x is f32 \[2, 1, 4\]/,
  },
  {
    name: 'a table wider than the head',
    inputs: { x: f32([2, 1, 4]), table: angles(2, 6) },
    attrs: { interleaved: false, inverse: false },
    error: /table is f32 \[2, 6\], x is f32 \[2, 1, 4\]/,
  },
  {
    name: 'a table of integers',
    inputs: { x: f32([2, 1, 4]), table: i32([2, 4], upTo(8)) },
    attrs: { interleaved: false, inverse: false },
    error: /table is i32 \[2, 4\]/,
  },
];
