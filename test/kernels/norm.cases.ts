import { f16, f32, type OpCase, type Operand } from './check_op.ts';
import { randomNormal } from './numbers.ts';

const out = (dims: readonly number[], stride?: number) => ({ dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) });
const narrow = [[1], [17], [1, 1], [3, 17], [2, 3, 33], [2, 2, 3, 8], [0, 16], [5, 64], [37, 128], [3, 129]];
const shapes = [...narrow, [3, 512], [3, 513], [7, 2048], [2, 5633], [2, 8193], [1, 16_385]];
const shifted = (dims: readonly number[], mean: number): Operand => {
  const count = dims.reduce((n, d) => n * d, 1);
  return f32(
    dims,
    randomNormal(count, 11).map((v) => v + mean),
  );
};
const huge = f32([2, 9], [1e30, -1e30, 3e38, 0, 1, 2, -3e38, 1e20, 5, ...new Array(9).fill(1e-40)]);
// The same in a row that a block keeps, and in one that it reads again.
const hugeRow = (width: number, largest: number): Operand =>
  f32(
    [2, width],
    randomNormal(2 * width, 13).map((v, i) => (i < width ? v * largest : v)),
  );
const notNumbers = f32([3, 4], [1, NaN, 2, 3, 1, 2, 3, 4, 0, 0, 0, 0]);

const plain = { eps: 1e-6, weightOffset: 0 };
const rmsCases = (
  inputs: (x: Operand) => OpCase['inputs'],
  outputs: (dims: readonly number[], stride?: number) => OpCase['outputs'],
): OpCase[] => {
  const width = (x: Operand): number => x.dims.at(-1) as number;
  const one = (name: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
    name,
    inputs: { ...inputs(x), weight: f32([width(x)]) },
    attrs: plain,
    outputs: outputs(x.dims),
    reduction: width(x),
    ...more,
  });
  return [
    ...shapes.map((dims) => one(`[${dims}]`, f32(dims))),
    one('weight counted from one', f32([3, 40]), { attrs: { eps: 1e-5, weightOffset: 1 } }),
    one('large eps', f32([3, 40]), { attrs: { eps: 0.5, weightOffset: 0 } }),
    { name: 'no weight', inputs: inputs(f32([3, 40])), attrs: { eps: 1e-6, weightOffset: 1 }, outputs: outputs([3, 40]), reduction: 40 },
    one('squares beyond f32', huge),
    one('squares of a block beyond f32', hugeRow(700, 1e30)),
    one('squares of a wide row beyond f32', hugeRow(17_000, 1e30)),
    one('NaN and zero rows', notNumbers),
    one('columns of a wider tensor', f32.strided([6, 48], 144), { outputs: outputs([6, 48], 50) }),
    one('per head of a fused projection', f32.strided([6, 3, 16], 144)),
    one('weight of another width', f32([3, 8]), { inputs: { ...inputs(f32([3, 8])), weight: f32([9]) }, error: /weight is f32 \[9\]/ }),
    one('weight of another dtype', f32([3, 8]), { inputs: { ...inputs(f32([3, 8])), weight: f16([8]) }, error: /weight is f16 \[8\]/ }),
  ];
};

export const rmsNormCases: OpCase[] = rmsCases(
  (x) => ({ x }),
  (dims, stride) => ({ y: out(dims, stride) }),
);

export const addRmsNormCases: OpCase[] = [
  ...rmsCases(
    (x) => ({ a: x, b: f32(x.dims) }),
    (dims, stride) => ({ sum: out(dims), y: out(dims, stride) }),
  ),
  {
    name: 'unequal shapes',
    inputs: { a: f32([2, 8]), b: f32([3, 8]) },
    attrs: plain,
    outputs: { sum: out([2, 8]), y: out([2, 8]) },
    error: /b is f32 \[3, 8\]/,
  },
];

const layer = (name: string, x: Operand, more: Partial<OpCase> = {}): OpCase => {
  const width = x.dims.at(-1) as number;
  return {
    name,
    inputs: { x, weight: f32([width]), bias: f32([width]) },
    attrs: { eps: 1e-5 },
    outputs: { y: out(x.dims) },
    reduction: width,
    ...more,
  };
};
export const layerNormCases: OpCase[] = [
  layer('rows beyond 65535', f32([70_000, 3])),
  ...shapes.map((dims) => layer(`[${dims}]`, f32(dims))),
  layer('neither weight nor bias', f32([3, 40]), { inputs: { x: f32([3, 40]) } }),
  layer('no bias', f32([3, 40]), { inputs: { x: f32([3, 40]), weight: f32([40]) } }),
  layer('mean far above the deviation', shifted([4, 3000], 1000)),
  layer('constant rows', f32.fill([2, 19], 12345.678)),
  layer('squares beyond f32', huge),
  layer('squares of a block beyond f32', hugeRow(700, 1e30)),
  layer('squares of a wide row beyond f32', hugeRow(17_000, 1e30)),
  layer('NaN and zero rows', notNumbers),
  layer('columns of a wider tensor', f32.strided([6, 48], 144), { outputs: { y: out([6, 48], 50) } }),
  layer('per head of a fused projection', f32.strided([6, 3, 16], 144)),
  layer('bias of another width', f32([3, 8]), { inputs: { x: f32([3, 8]), bias: f32([9]) }, error: /bias is f32 \[9\]/ }),
];

const gradient = (name: string, x: Operand, attrs: OpCase['attrs'], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x, weight: f32([x.dims.at(-1) as number]), dy: f32(x.dims) },
  attrs,
  outputs: { dx: out(x.dims) },
  reduction: x.dims.at(-1) as number,
  ...more,
});
const gradientCases = (attrs: NonNullable<OpCase['attrs']>): OpCase[] => [
  ...shapes.filter(([rows]) => rows !== 1).map((dims) => gradient(`[${dims}]`, f32(dims), attrs)),
  gradient('no weight', f32([3, 40]), attrs, { inputs: { x: f32([3, 40]), dy: f32([3, 40]) } }),
  gradient('large eps', f32([3, 40]), { ...attrs, eps: 0.5 }),
  gradient('NaN and zero rows', notNumbers, attrs),
  gradient('squares of a block beyond f32', hugeRow(700, 1e25), attrs),
  gradient('squares of a wide row beyond f32', hugeRow(8200, 1e25), attrs),
  gradient('columns of wider tensors', f32.strided([6, 48], 144), attrs, {
    inputs: { x: f32.strided([6, 48], 144), weight: f32([48]), dy: f32.strided([6, 48], 50) },
  }),
  gradient('per head of a fused projection', f32.strided([6, 3, 16], 144), attrs),
  gradient('enough rows to share between threads', f32([500, 65]), attrs),
  gradient('unequal shapes', f32([3, 8]), attrs, {
    inputs: { x: f32([2, 8]), dy: f32([3, 8]) },
    error: /x is f32 \[2, 8\] but the result/,
  }),
  gradient('weight of another width', f32([3, 8]), attrs, {
    inputs: { x: f32([3, 8]), weight: f32([9]), dy: f32([3, 8]) },
    error: /weight is f32 \[9\]/,
  }),
];

export const rmsNormGradCases: OpCase[] = [
  ...gradientCases(plain),
  gradient('weight counted from one', f32([3, 40]), { eps: 1e-5, weightOffset: 1 }),
  gradient('squares beyond f32', f32([2, 9], [1e30, -1e30, 3e30, 0, 1, 2, -3e30, 1e20, 5, ...new Array(9).fill(1e-40)]), plain),
];

export const layerNormGradCases: OpCase[] = [
  ...gradientCases({ eps: 1e-5 }),
  gradient('mean far above the deviation', shifted([4, 3000], 1000), { eps: 1e-5 }),
  gradient('constant rows', f32.fill([2, 19], 12345.678), { eps: 1e-5 }),
  gradient('squares beyond f32', f32([2, 9], [1e30, -1e30, 3e30, 0, 1, 2, -3e30, 1e20, 5, ...new Array(9).fill(1e-40)]), { eps: 1e-5 }),
];

const inverse = (name: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x },
  attrs: { eps: 1e-6 },
  outputs: { y: { dtype: 'f32', dims: x.dims.slice(0, -1) } },
  reduction: x.dims.at(-1) as number,
  ...more,
});
export const inverseRmsCases: OpCase[] = [
  ...[
    [1, 1],
    [3, 17],
    [2, 3, 33],
    [2, 2, 3, 8],
    [0, 16],
    [7, 2048],
  ].map((dims) => inverse(`[${dims}]`, f32(dims))),
  inverse('squares beyond f32', huge),
  inverse('NaN and zero rows', notNumbers),
  inverse('columns of a wider tensor', f32.strided([6, 48], 144)),
  inverse('a result of another shape', f32([3, 8]), { outputs: { y: { dtype: 'f32', dims: [4] } }, error: /y is f32 \[4\]/ }),
];
