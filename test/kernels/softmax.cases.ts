import { f32, i32, type OpCase, type Operand } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { logSoftmax, softmax } from './softmax.reference.ts';

const out = (dims: readonly number[], stride?: number) => ({
  y: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) },
});
const spread = (dims: readonly number[], scale: number): Operand =>
  f32(
    dims,
    randomNormal(
      dims.reduce((n, d) => n * d, 1),
      5,
    ).map((v) => v * scale),
  );
const I = Infinity;

// Rows of which whole stretches are masked, at both ends of where rows may be cut.
const masked = (dims: readonly [number, number], from: number, to: number, value = -I): Operand => {
  const values = randomNormal(dims[0] * dims[1], 7);
  for (let row = 0; row < dims[0]; row++) values.fill(value, row * dims[1] + from, row * dims[1] + to);
  return f32(dims, values);
};
// The same where all that is left lies so far below zero that exp of the distance has no f32.
const maskedAndLow = (dims: readonly [number, number], to: number): Operand => {
  const { values } = masked(dims, 0, to);
  return f32(
    dims,
    values.map((v) => v - 500),
  );
};
const shapes = [
  [1],
  [17],
  [3, 1],
  [3, 17],
  [2, 3, 4],
  [2, 2, 3, 5],
  [0, 8],
  [4, 0],
  [37, 128],
  [3, 129],
  [3, 512],
  [3, 513],
  [3, 2048],
  [3, 2049],
  [2, 5003],
];
const wide = [
  [2, 8192],
  [2, 8193],
  [2, 16_384],
  [2, 16_385],
];

const cases: OpCase[] = [
  ...[...shapes, ...wide].map((dims) => ({
    name: `[${dims}]`,
    inputs: { x: f32(dims) },
    outputs: out(dims),
    reduction: dims.at(-1) as number,
  })),
  { name: 'wide spread', inputs: { x: spread([4, 300], 40) }, outputs: out([4, 300]), reduction: 300 },
  {
    name: 'far from zero',
    inputs: { x: f32([2, 4], [1e30, 1e30, -1e30, 1e29, -1e30, -1e30, -1e30, -1e30]) },
    outputs: out([2, 4]),
    reduction: 4,
  },
  {
    name: 'masked, and fully masked',
    inputs: { x: f32([3, 4], [-I, 1, 2, -I, -I, -I, -I, -I, -I, 5, -I, -I]) },
    outputs: out([3, 4]),
    reduction: 4,
  },
  {
    name: 'NaN and infinity fill their rows',
    inputs: { x: f32([3, 4], [1, NaN, 2, 3, 1, 2, 3, 4, 1, I, 2, 3]) },
    outputs: out([3, 4]),
    reduction: 4,
  },
  { name: 'the first 5000 masked', inputs: { x: masked([2, 5100], 0, 5000) }, outputs: out([2, 5100]), reduction: 100 },
  { name: 'the first 9000 of a wide row masked', inputs: { x: masked([2, 17_000], 0, 9000) }, outputs: out([2, 17_000]), reduction: 8000 },
  { name: 'the same far below zero', inputs: { x: maskedAndLow([2, 17_000], 9000) }, outputs: out([2, 17_000]), reduction: 8000 },
  { name: 'a wide row all masked', inputs: { x: masked([2, 17_000], 0, 17_000) }, outputs: out([2, 17_000]) },
  { name: 'NaN in a wide row', inputs: { x: masked([2, 17_000], 16_990, 16_991, NaN) }, outputs: out([2, 17_000]) },
  { name: 'infinity in a wide row', inputs: { x: masked([2, 17_000], 5000, 5001, I) }, outputs: out([2, 17_000]) },
  { name: 'columns of a wider tensor', inputs: { x: f32.strided([5, 19], 30) }, outputs: out([5, 19], 20), reduction: 19 },
  {
    name: 'wide columns of a wider tensor',
    inputs: { x: f32.strided([2, 16_390], 16_396) },
    outputs: out([2, 16_390], 16_400),
    reduction: 16_390,
  },
  { name: 'unequal shapes', inputs: { x: f32([5, 19]) }, outputs: out([5, 18]), error: /x is f32 \[5, 19\] but y is f32 \[5, 18\]/ },
];
export const softmaxCases: OpCase[] = [
  ...cases,
  { name: 'rows beyond 65535', inputs: { x: f32([70_000, 3]) }, outputs: out([70_000, 3]), reduction: 3 },
];
export const logSoftmaxCases: OpCase[] = cases;

const targets = (name: string, logits: Operand, target: number[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { logits, target: i32([target.length], target) },
  outputs: { logprob: { dtype: 'f32', dims: [target.length] } },
  reduction: 16,
  ...more,
});
export const tokenLogprobCases: OpCase[] = [
  targets('small', f32([4, 7]), [0, 6, -1, 3]),
  targets('a vocabulary of 256000', f32([2, 256_000]), [255_999, 17]),
  targets('likely and unlikely', spread([3, 5000], 12), [0, 1, 4999]),
  targets('masked target', f32([1, 3], [-I, 0, 0]), [0]),
  targets('the first 5000 masked', masked([3, 5100], 0, 5000), [5050, -1, 12]),
  targets('the first 9000 of a wide row masked', masked([3, 17_000], 0, 9000), [16_999, -1, 8999]),
  targets('the same far below zero', maskedAndLow([3, 17_000], 9000), [16_999, -1, 8999]),
  targets('columns of a wider tensor', f32.strided([3, 50], 64), [0, 49, 7]),
  targets('no rows', f32([0, 7]), []),
  targets('target beyond the vocabulary', f32([2, 7]), [0, 7], { error: /target\[1\] is 7: expected less than 7/ }),
  targets('target beyond a wide vocabulary', f32([2, 17_000]), [17_000, 0], { error: /target\[0\] is 17000: expected less than 17000/ }),
  targets('too few targets', f32([2, 7]), [0], { error: /target is i32 \[1\]/ }),
];

const results = (name: string, dims: number[], of: 'softmax' | 'log_softmax', more: Partial<OpCase> = {}): OpCase => {
  const x = spread(dims, 3);
  const y = (of === 'softmax' ? softmax : logSoftmax)({ x }, {}, {}).y as ArrayLike<number>;
  return {
    name,
    inputs: { y: f32(dims, y), dy: f32(dims) },
    outputs: { dx: { dtype: 'f32', dims } },
    reduction: dims.at(-1) as number,
    // Where one probability is almost 1, dy and its mean cancel.
    absolute: (dims.at(-1) as number) < 100 ? 5e-7 : 0,
    ...more,
  };
};
const gradientCases = (of: 'softmax' | 'log_softmax'): OpCase[] => [
  ...[...shapes.slice(1), ...wide].map((dims) => results(`[${dims}]`, dims, of)),
  results('enough rows to share between threads', [400, 65], of),
  results('columns of wider tensors', [5, 19], of, {
    inputs: {
      y: f32.strided([5, 19], 30, (of === 'softmax' ? softmax : logSoftmax)({ x: spread([5, 19], 2) }, {}, {}).y as ArrayLike<number>),
      dy: f32.strided([5, 19], 21),
    },
  }),
  results('unequal shapes', [5, 19], of, { inputs: { y: f32([5, 18]), dy: f32([5, 19]) }, error: /y is f32 \[5, 18\] but dx/ }),
];
export const softmaxGradCases: OpCase[] = [
  ...gradientCases('softmax'),
  results('masked', [2, 3], 'softmax', { inputs: { y: f32([2, 3], [0, 0.25, 0.75, 1, 0, 0]), dy: f32([2, 3], [1e30, 1, 2, 3, 4, 5]) } }),
];
export const logSoftmaxGradCases: OpCase[] = [
  ...gradientCases('log_softmax'),
  results('masked', [1, 3], 'log_softmax', { inputs: { y: f32([1, 3], [-I, Math.log(0.25), Math.log(0.75)]), dy: f32([1, 3]) } }),
];

const upstream = (test: OpCase): OpCase => ({
  ...test,
  inputs: { ...test.inputs, dlogprob: f32([(test.inputs.target as Operand).dims[0] as number]) },
  outputs: { dlogits: { dtype: 'f32', dims: (test.inputs.logits as Operand).dims } },
  reduction: (test.inputs.logits as Operand).dims[1] as number,
});
export const tokenLogprobGradCases: OpCase[] = [
  targets('small', f32([4, 7]), [0, 6, -1, 3]),
  targets('one column', f32([2, 1]), [0, -1]),
  targets('a vocabulary of 256000', f32([2, 256_000]), [255_999, 17]),
  targets('likely and unlikely', spread([3, 5000], 12), [0, 1, 4999]),
  targets('almost certain', f32([2, 4], [40, 0, 1, 2, 0, 90, 0, 0]), [0, 1]),
  targets('masked target, masked others, all masked', f32([3, 3], [-I, 0, 0, -I, 1, -I, -I, -I, -I]), [0, 1, 2]),
  targets('NaN fills its row', f32([3, 3], [NaN, 0, 0, 1, NaN, 0, 1, 2, 3]), [0, 0, 0]),
  targets('columns of a wider tensor', f32.strided([3, 50], 64), [0, 49, 7]),
  targets('rows of a block', f32([3, 8192]), [0, -1, 8191]),
  targets('a target in each part', f32([4, 16_385]), [16_384, 4095, 4096, -5]),
  targets('the first 9000 of a wide row masked', masked([3, 17_000], 0, 9000), [16_999, -1, 8999]),
  targets('the same far below zero', maskedAndLow([3, 17_000], 9000), [16_999, -1, 8999]),
  targets('a wide row all masked', masked([1, 17_000], 0, 17_000), [5]),
  targets(
    'many rows',
    f32([600, 33]),
    Array.from({ length: 600 }, (_, i) => (i % 35) - 2),
  ),
  targets('no rows', f32([0, 7]), []),
  targets('target beyond the vocabulary', f32([2, 7]), [0, 7], { error: /target\[1\] is 7: expected less than 7/ }),
  targets('target beyond a wide vocabulary', f32([2, 17_000]), [17_000, 0], { error: /target\[0\] is 17000: expected less than 17000/ }),
  targets('too few targets', f32([2, 7]), [0], { error: /target is i32 \[1\]/ }),
].map(upstream);

const hot = (name: string, dims: number[], target: number[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x: f32(dims), target: i32([target.length], target) },
  outputs: out(dims),
  ...more,
});
export const oneHotLikeCases: OpCase[] = [
  hot('small', [4, 7], [0, 6, -1, 3]),
  hot('no rows', [0, 7], []),
  hot('columns of a wider tensor', [3, 5], [4, -2, 0], { outputs: out([3, 5], 8) }),
  hot(
    'many rows',
    [600, 33],
    Array.from({ length: 600 }, (_, i) => (i % 35) - 2),
  ),
  hot(
    'rows beyond 65535',
    [70_000, 3],
    Array.from({ length: 70_000 }, (_, i) => (i % 4) - 1),
  ),
  hot('wide', [2, 5000], [4999, 0]),
  hot('target beyond the columns', [2, 7], [0, 7], { error: /target\[1\] is 7: expected less than 7/ }),
  hot('too many targets', [2, 7], [0, 1, 2], { error: /target is i32 \[3\]/ }),
];
