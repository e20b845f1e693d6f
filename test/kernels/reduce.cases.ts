import { f32, type OpCase, type Operand } from './check_op.ts';
import { randomNormal } from './numbers.ts';

const I = Infinity;
const one = (name: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x },
  reduction: Math.max(1, x.dims.at(-1) as number),
  ...more,
});
// Values with some of them replaced.
const spoiled = (dims: readonly number[], at: Record<number, number>, fill?: number): Operand => {
  const count = dims.reduce((n, d) => n * d, 1);
  const values = fill === undefined ? randomNormal(count, 9) : new Float64Array(count).fill(fill);
  for (const [index, value] of Object.entries(at)) values[Number(index)] = value;
  return f32(dims, values);
};
const shapes = [
  [1, 1],
  [17],
  [600],
  [3, 17],
  [2, 3, 4],
  [2, 3, 2, 129],
  [0, 5],
  [70, 333],
  [2, 512],
  [3, 513],
  [2, 16_384],
  [2, 16_385],
  [2, 50_001],
];
const inputs: OpCase[] = [
  ...shapes.map((dims) => one(`[${dims}]`, f32(dims))),
  one('extremes', f32([4, 3], [1e30, -1e30, 1, 1e-45, 0, -1e-45, -I, 3, 4, I, 2, 3])),
  one('NaN', f32([4, 3], [NaN, 1, 2, 1, NaN, 2, 1, 2, NaN, NaN, NaN, NaN])),
  one('minus infinity everywhere', f32([2, 20], new Array(40).fill(-I))),
  one('NaN late in a wide row', spoiled([2, 20_000], { 17000: NaN })),
  one('minus infinity but for one', spoiled([2, 20_000], { 19998: 3, 20001: -7 }, -I)),
  one('wide columns of a wider tensor', f32.strided([2, 16_390], 16_396)),
  one('wide columns off the 16-byte grid', f32.strided([3, 601], 605)),
  one('columns of a wider tensor', f32.strided([5, 19], 30)),
  one('per head of a fused projection', f32.strided([5, 3, 6], 30)),
];
const typed = (dtype: 'f32' | 'i32', cases: OpCase[], attrs?: OpCase['attrs']): OpCase[] =>
  cases.map((test) => ({
    ...test,
    name: attrs === undefined ? test.name : `${attrs.kind}, ${test.name}`,
    attrs,
    outputs: { y: { dtype, dims: (test.inputs.x as Operand).dims.slice(0, -1) } },
  }));

export const reduceCases: OpCase[] = ['sum', 'mean', 'max'].flatMap((kind) => [
  // Sums of both signs cancel: judged against the size of what was added.
  ...typed('f32', inputs, { kind }).map((test) => ({
    ...test,
    absolute: test.name.includes('extremes') ? 1e24 : 2 ** -23 * (test.reduction as number),
  })),
  ...typed('f32', [one('nothing to reduce', f32([3, 0])), ...(kind === 'max' ? [one('rows beyond 65535', f32([70_000, 3]))] : [])], {
    kind,
  }),
  {
    name: `${kind}, another shape`,
    inputs: { x: f32([3, 4]) },
    attrs: { kind },
    outputs: { y: { dtype: 'f32' as const, dims: [4] } },
    error: /y is f32 \[4\]/,
  },
]);

const ties = new Float64Array(6000).fill(-3);
for (const i of [70, 71, 2047, 2048, 2049, 5999]) ties[i] = 2.5;
export const argmaxCases: OpCase[] = typed('i32', [
  ...inputs,
  one('the first of equal maxima', f32([3, 2000], ties)),
  one('equal maxima in different blocks', f32([1, 6000], ties)),
  one('equal maxima in different parts', spoiled([1, 20_000], { 4095: 4, 4096: 4, 8192: 4, 19999: 4 }, -3)),
  one('zeros of both signs', spoiled([2, 20_000], { 12000: 0, 27000: -0 }, -0)),
  one('nothing to choose from', f32([3, 0]), { error: /expected a last dimension of 1/ }),
]);

const y = (dims: readonly number[], stride?: number) => ({
  y: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) },
});

export const sumRowsCases: OpCase[] = [
  ...[
    [7],
    [1, 5],
    [3, 17],
    [2, 3, 4],
    [2, 3, 2, 33],
    [0, 5],
    [3, 0],
    [129, 65],
    [1000, 70],
    [20_000, 3],
    [128, 4],
    [129, 1],
    [300, 1030],
    [40_000, 5],
  ].map(
    (dims): OpCase => ({
      name: `[${dims}]`,
      inputs: { x: f32(dims) },
      outputs: y(dims.slice(-1)),
      reduction: Math.max(
        2,
        dims.slice(0, -1).reduce((n, d) => n * d, 1),
      ),
      // Sums of both signs cancel: judged against the size of what was added.
      absolute: 2 ** -23 * Math.sqrt(dims.slice(0, -1).reduce((n, d) => n * d, 1)),
    }),
  ),
  { name: 'columns of a wider tensor', inputs: { x: f32.strided([50, 19], 30) }, outputs: y([19]), reduction: 50 },
  { name: 'heads of a wider tensor', inputs: { x: f32.strided([50, 3, 6], 30) }, outputs: y([6]), reduction: 150 },
  {
    name: 'extremes stay in their columns',
    inputs: { x: f32([3, 4], [I, 1, NaN, 1, 2, -I, 1, 1, 3, 3, 1, 1e-45]) },
    outputs: y([4]),
    reduction: 3,
  },
  { name: 'another width', inputs: { x: f32([3, 4]) }, outputs: y([3]), error: /y is f32 \[3\]/ },
];

export const repeatRowsCases: OpCase[] = [
  ...[[7], [3, 17], [2, 3, 4], [0, 5], [700, 65], [3, 1030], [70_000, 3]].map(
    (dims): OpCase => ({ name: `[${dims}]`, inputs: { x: f32(dims.slice(-1)) }, outputs: y(dims), reduction: 1 }),
  ),
  { name: 'into columns of a wider tensor', inputs: { x: f32([5]) }, outputs: y([9, 5], 8) },
  { name: 'another width', inputs: { x: f32([4]) }, outputs: y([3, 5]), error: /y is f32 \[3, 5\]/ },
];

export const repeatColumnsCases: OpCase[] = [
  ...[
    [3, 17],
    [2, 3, 4],
    [2, 2, 3, 5],
    [0, 5],
    [5, 0],
    [700, 65],
    [3, 1030],
    [70_000, 3],
  ].map((dims): OpCase => ({ name: `[${dims}]`, inputs: { x: f32(dims.slice(0, -1)) }, outputs: y(dims) })),
  { name: 'columns of wider tensors', inputs: { x: f32.strided([6, 3], 5) }, outputs: y([6, 3, 4]) },
  { name: 'into columns of a wider tensor', inputs: { x: f32([9]) }, outputs: y([9, 5], 8) },
  { name: 'other rows', inputs: { x: f32([4]) }, outputs: y([3, 5]), error: /y is f32 \[3, 5\]/ },
];
