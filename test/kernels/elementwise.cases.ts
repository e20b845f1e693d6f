import { bf16, f16, f32, i32, type OpCase, type Operand, u8 } from './check_op.ts';
import * as reference from './elementwise.reference.ts';

const like = (operand: Operand, stride?: number, first?: number) => ({
  y: { dtype: operand.dtype, dims: operand.dims, ...(stride === undefined ? {} : { stride, first }) },
});
/** Every distance from zero: dense steps near it, then up to the largest finite numbers. */
const sweep = [
  ...Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100),
  ...Array.from({ length: 60 }, (_, i) => 10 ** (i / 3 - 15)),
].flatMap((v) => [v, -v]);
const extremes = [0, -0, 1e-45, -1e-45, 1e-38, -1e-38, 88, -88, 89, -89, 104, -104, 1e30, -1e30, 3.4e38, -3.4e38, Infinity, -Infinity, NaN];

const awayFromZero = (x: Operand): Operand => ({ ...x, values: x.values.map((v) => Math.fround(v + (v < 0 ? -0.5 : 0.5))) });
const placed = (name: string, dims: number[], first: number, stride: number): OpCase => {
  const operand = () => f32.strided(dims, stride, undefined, first);
  return { name, inputs: { a: operand(), b: operand() }, outputs: like(operand(), stride, first) };
};
const pairCases = (): OpCase[] => {
  const cases: OpCase[] = [[1], [17], [3, 5], [2, 3, 4], [2, 3, 4, 5], [0, 8], [70, 1031]].map((dims) => {
    const a = f32(dims);
    return { name: `[${dims}]`, inputs: { a, b: f32(dims) }, outputs: like(a) };
  });
  const a = f32.strided([5, 19], 40);
  cases.push({ name: 'columns of wider tensors', inputs: { a, b: f32.strided([5, 19], 23) }, outputs: like(a, 21) });
  const cube = f32.strided([5, 3, 7], 40);
  cases.push({ name: 'columns of wider tensors, heads', inputs: { a: cube, b: f32([5, 3, 7]) }, outputs: like(cube) });
  cases.push(placed('columns that begin anywhere', [5, 32], 3, 41));
  cases.push(placed('columns at multiples of four, a rest of two', [5, 30], 4, 40));
  cases.push({ name: 'extremes', inputs: { a: f32([19], extremes), b: f32([19]) }, outputs: like(f32([19])) });
  cases.push({
    name: 'unequal shapes',
    inputs: { a: f32([4]), b: f32([5]) },
    outputs: like(f32([4])),
    error: /\[(add|mul|divide)\] b is f32 \[5\]/,
  });
  cases.push({ name: 'other dtypes', inputs: { a: f16([4]), b: f32([4]) }, outputs: like(f32([4])), error: /expected f32/ });
  return cases;
};
const names = Object.keys(reference.functions);
const tail = 'far below zero a rounded exponent is multiplied by its own size';
const loosened = (name: string): Partial<OpCase> => (name === 'gelu_tanh' || name === 'gelu' ? { absolute: 2e-8, because: tail } : {});

export const addCases: OpCase[] = [
  ...pairCases(),
  placed('more rows than a grid is high', [70000, 3], 0, 4),
  placed('more rows than a grid is high, which begin anywhere', [70000, 3], 1, 5),
];

export const mulCases: OpCase[] = pairCases();

export const addBiasCases: OpCase[] = [
  {
    name: 'heads of a wider tensor, columns of four',
    inputs: { x: f32.strided([5, 3, 8], 40, undefined, 8), bias: f32([8]) },
    outputs: like(f32([5, 3, 8]), 28),
  },
  {
    name: 'heads of a wider tensor, columns that begin anywhere',
    inputs: { x: f32.strided([5, 3, 8], 41, undefined, 3), bias: f32([8]) },
    outputs: like(f32([5, 3, 8])),
  },
  { name: 'more rows than a grid is high', inputs: { x: f32([70000, 3]), bias: f32([3]) }, outputs: like(f32([70000, 3])) },
  { name: 'rows of more than a tile', inputs: { x: f32([3, 2500]), bias: f32([2500]) }, outputs: like(f32([3, 2500])) },
  ...[[4], [3, 17], [2, 3, 33], [0, 4]].map(
    (dims): OpCase => ({ name: `[${dims}]`, inputs: { x: f32(dims), bias: f32(dims.slice(-1)) }, outputs: like(f32(dims)) }),
  ),
  { name: 'columns of a wider tensor', inputs: { x: f32.strided([6, 9], 20), bias: f32([9]) }, outputs: like(f32([6, 9]), 11) },
  {
    name: 'bias of another width',
    inputs: { x: f32([3, 4]), bias: f32([5]) },
    outputs: like(f32([3, 4])),
    error: /bias is f32 \[5\]: expected f32 \[4\]/,
  },
];

export const scaleCases: OpCase[] = [-2.5, 0, 1e-3].map((factor) => ({
  name: `${factor}`,
  inputs: { x: f32([5, 33]) },
  attrs: { factor },
  outputs: like(f32([5, 33])),
}));

export const activateCases: OpCase[] = names.flatMap((name): OpCase[] => [
  {
    name: `${name}, sweep`,
    inputs: { x: f32([sweep.length], sweep) },
    attrs: { function: name },
    outputs: like(f32([sweep.length], sweep)),
    absolute: 1e-37,
    ...loosened(name),
  },
  { name: `${name}, extremes`, inputs: { x: f32([19], extremes) }, attrs: { function: name }, outputs: like(f32([19])), absolute: 1e-36 },
  {
    name: `${name}, strided`,
    inputs: { x: f32.strided([300, 65], 130) },
    attrs: { function: name },
    outputs: like(f32([300, 65]), 66),
    ...loosened(name),
  },
]);

export const gateCases: OpCase[] = [
  ...names.map(
    (name): OpCase => ({
      name,
      inputs: { gate: f32([9, 45]), up: f32([9, 45]) },
      attrs: { function: name },
      outputs: like(f32([9, 45])),
      ...loosened(name),
    }),
  ),
  {
    name: 'two halves of one projection',
    inputs: { gate: f32.strided([33, 688], 1376), up: f32.strided([33, 688], 1376) },
    attrs: { function: 'silu' },
    outputs: like(f32([33, 688])),
  },
  {
    name: 'two halves of one projection that begin anywhere',
    inputs: { gate: f32.strided([7, 30], 61, undefined, 1), up: f32.strided([7, 30], 61, undefined, 31) },
    attrs: { function: 'gelu' },
    outputs: like(f32([7, 30])),
    ...loosened('gelu'),
  },
  { name: 'no rows', inputs: { gate: f32([0, 8]), up: f32([0, 8]) }, attrs: { function: 'silu' }, outputs: like(f32([0, 8])) },
  {
    name: 'unequal shapes',
    inputs: { gate: f32([2, 8]), up: f32([2, 9]) },
    attrs: { function: 'silu' },
    outputs: like(f32([2, 8])),
    error: /up is f32 \[2, 9\]/,
  },
];

export const softCapCases: OpCase[] = [
  { name: 'around the cap', inputs: { x: f32([sweep.length], sweep) }, attrs: { cap: 30 }, outputs: like(f32([sweep.length], sweep)) },
  { name: 'extremes', inputs: { x: f32([19], extremes) }, attrs: { cap: 50 }, outputs: like(f32([19])), absolute: 1e-43 },
  {
    name: 'cap 0',
    inputs: { x: f32([3]) },
    attrs: { cap: 0 },
    outputs: like(f32([3])),
    error: /cap is 0\.0+: expected a finite number above 0/,
  },
];

export const copyCases: OpCase[] = [
  ...[
    f32([3, 5]),
    f16([7]),
    bf16([2, 3, 4]),
    i32([4], [1, -2, 3, 2 ** 31 - 1]),
    u8([5], Uint8Array.of(1, 2, 3, 254, 255)),
    f32([0, 3]),
    f32([300, 777]),
  ].map((x): OpCase => ({ name: `${x.dtype} [${x.dims}]`, inputs: { x }, outputs: like(x) })),
  { name: 'columns of a wider tensor', inputs: { x: bf16.strided([5, 3], 8) }, outputs: like(bf16([5, 3])) },
  { name: 'columns that begin anywhere', inputs: { x: bf16.strided([6, 8], 17, undefined, 5) }, outputs: like(bf16([6, 8]), 20, 2) },
  { name: 'columns of 16 bytes', inputs: { x: f32.strided([6, 8], 20, undefined, 4) }, outputs: like(f32([6, 8]), 16, 8) },
  { name: 'more rows than a grid is high', inputs: { x: f16.strided([70000, 3], 4) }, outputs: like(f16([70000, 3]), 5, 1) },
  { name: 'into columns of a wider tensor', inputs: { x: f32([5, 3]) }, outputs: like(f32([5, 3]), 4) },
  { name: 'another dtype', inputs: { x: f32([5]) }, outputs: like(f16([5])), error: /expected equal dtypes and shapes/ },
];

const gradientCases = (
  name: string,
  inputs: (x: Operand) => OpCase['inputs'],
  attrs: OpCase['attrs'],
  outputs: (x: Operand, stride?: number) => OpCase['outputs'],
): OpCase[] => {
  const one = (what: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
    name: `${name}, ${what}`,
    inputs: inputs(x),
    attrs,
    outputs: outputs(x),
    // Derivatives have roots: judged against the size of dy there.
    absolute: 3e-6,
    ...more,
  });
  return [
    one('sweep', f32([sweep.length], sweep), { absolute: 1e-5 }),
    one('extremes', f32([19], extremes)),
    one('none', f32([0, 5])),
    one('rank 3', f32([3, 5, 7])),
    one('strided', f32.strided([70, 65], 130), { outputs: outputs(f32([70, 65]), 66) }),
  ];
};
const dx = (x: Operand, stride?: number) => ({ dx: { dtype: x.dtype, dims: x.dims, ...(stride === undefined ? {} : { stride }) } });

export const activateGradCases: OpCase[] = [
  ...names.flatMap((name) => gradientCases(name, (x) => ({ x, dy: f32(x.dims) }), { function: name }, dx)),
  {
    name: 'unequal shapes',
    inputs: { x: f32([4]), dy: f32([5]) },
    attrs: { function: 'silu' },
    outputs: dx(f32([4])),
    error: /\[activate_grad\] dy is f32 \[5\]/,
  },
];
export const gateGradCases: OpCase[] = [
  ...names.flatMap((name) =>
    gradientCases(
      name,
      (x) => ({ gate: x, up: f32(x.dims), dy: f32(x.dims) }),
      { function: name },
      (x, stride) => ({
        dGate: { dtype: 'f32', dims: x.dims, ...(stride === undefined ? {} : { stride }) },
        dUp: { dtype: 'f32', dims: x.dims },
      }),
    ).map((test) => ({ ...test, absolute: 2e-5 })),
  ),
  {
    name: 'unequal shapes',
    inputs: { gate: f32([4]), up: f32([4]), dy: f32([5]) },
    attrs: { function: 'silu' },
    outputs: { dGate: { dtype: 'f32', dims: [4] }, dUp: { dtype: 'f32', dims: [4] } },
    error: /\[gate_grad\] dy is f32 \[5\]/,
  },
];
export const softCapGradCases: OpCase[] = [
  ...[0.5, 30].flatMap((cap) => gradientCases(`cap ${cap}`, (x) => ({ x, dy: f32(x.dims) }), { cap }, dx)),
  {
    name: 'cap 0',
    inputs: { x: f32([3]), dy: f32([3]) },
    attrs: { cap: 0 },
    outputs: dx(f32([3])),
    error: /cap is 0\.0+: expected a finite number above 0/,
  },
];

const positive = new Set(['log', 'sqrt', 'rsqrt', 'reciprocal']);
export const mapCases: OpCase[] = [
  ...Object.keys(reference.maps).flatMap((name): OpCase[] => {
    // Where e^x, or the function itself, is beyond f32 the last bits of a subnormal or of the largest number are not promised.
    const range =
      name === 'exp'
        ? sweep.filter((v) => Math.abs(v) < 85)
        : name === 'sin' || name === 'cos'
          ? sweep.filter((v) => Math.abs(v) < 1e4)
          : sweep;
    const values = positive.has(name) ? range.filter((v) => v > 0) : range;
    const smooth = positive.has(name)
      ? f32(
          [300, 65],
          f32([300, 65]).values.map((v) => Math.abs(v) + 0.5),
        ).values
      : undefined;
    const one = (what: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
      name: `${name}, ${what}`,
      inputs: { x },
      attrs: { function: name },
      outputs: like(x),
      absolute: name === 'normal_cdf' ? 1e-37 : 0,
      ...more,
    });
    return [
      one('sweep', f32([values.length], values), name === 'normal_cdf' ? { loosen: 16, because: tail } : {}),
      one('extremes', f32([19], extremes), { absolute: 1e-36 }),
      one('none', f32([0, 3])),
      one('strided', f32.strided([300, 65], 130, smooth), { outputs: like(f32([300, 65]), 66) }),
    ];
  }),
  { name: 'another dtype', inputs: { x: f16([4]) }, attrs: { function: 'exp' }, outputs: like(f32([4])), error: /expected f32/ },
];

export const divideCases: OpCase[] = [
  ...pairCases().map((test) =>
    test.error === undefined ? { ...test, inputs: { ...test.inputs, b: awayFromZero(test.inputs.b as Operand) } } : test,
  ),
  { name: 'by zero', inputs: { a: f32([4], [1, -1, 0, NaN]), b: f32([4], [0, 0, 0, 1]) }, outputs: like(f32([4])) },
];

export const scaleColumnsCases: OpCase[] = [
  {
    name: 'heads of a wider tensor, columns of four',
    inputs: { x: f32.strided([5, 3, 8], 40, undefined, 8), factor: f32([8]) },
    outputs: like(f32([5, 3, 8]), 28),
  },
  {
    name: 'heads of a wider tensor, columns that begin anywhere',
    inputs: { x: f32.strided([5, 3, 8], 41, undefined, 3), factor: f32([8]) },
    outputs: like(f32([5, 3, 8])),
  },
  { name: 'more rows than a grid is high', inputs: { x: f32([70000, 3]), factor: f32([3]) }, outputs: like(f32([70000, 3])) },
  { name: 'rows of more than a tile', inputs: { x: f32([3, 2500]), factor: f32([2500]) }, outputs: like(f32([3, 2500])) },
  ...[[4], [3, 17], [2, 3, 33], [2, 2, 3, 5], [0, 4], [200, 333]].map(
    (dims): OpCase => ({ name: `[${dims}]`, inputs: { x: f32(dims), factor: f32(dims.slice(-1)) }, outputs: like(f32(dims)) }),
  ),
  { name: 'columns of a wider tensor', inputs: { x: f32.strided([6, 9], 20), factor: f32([9]) }, outputs: like(f32([6, 9]), 11) },
  {
    name: 'a factor of another width',
    inputs: { x: f32([3, 4]), factor: f32([3]) },
    outputs: like(f32([3, 4])),
    error: /factor is f32 \[3\]: expected f32 \[4\]/,
  },
];

export const scaleRowsCases: OpCase[] = [
  { name: 'more rows than a grid is high', inputs: { x: f32([70000, 4]), factor: f32([70000]) }, outputs: like(f32([70000, 4])) },
  { name: 'rows of more than a tile', inputs: { x: f32([3, 2500]), factor: f32([3]) }, outputs: like(f32([3, 2500])) },
  ...[[4], [3, 17], [2, 3, 33], [2, 2, 3, 5], [0, 4], [200, 333]].map(
    (dims): OpCase => ({ name: `[${dims}]`, inputs: { x: f32(dims), factor: f32(dims.slice(0, 1)) }, outputs: like(f32(dims)) }),
  ),
  { name: 'columns of a wider tensor', inputs: { x: f32.strided([6, 9], 20), factor: f32([6]) }, outputs: like(f32([6, 9]), 11) },
  { name: 'heads of a wider tensor', inputs: { x: f32.strided([6, 3, 3], 20), factor: f32([6]) }, outputs: like(f32([6, 3, 3])) },
  {
    name: 'a factor of another length',
    inputs: { x: f32([3, 4]), factor: f32([4]) },
    outputs: like(f32([3, 4])),
    error: /factor is f32 \[4\]: expected f32 \[3\]/,
  },
];

export const zerosLikeCases: OpCase[] = [[5], [3, 4], [0, 4], [300, 333]].map((dims) => ({
  name: `[${dims}]`,
  inputs: { x: f32(dims) },
  outputs: like(f32(dims)),
}));

export const accumulateCases: OpCase[] = [
  ...[[5], [3, 4], [0, 4], [300, 333]].map((dims): OpCase => ({ name: `[${dims}]`, inputs: { target: f32(dims), x: f32(dims) } })),
  { name: 'columns of wider tensors', inputs: { target: f32.strided([5, 4], 7), x: f32.strided([5, 4], 9) } },
  { name: 'unequal shapes', inputs: { target: f32([5]), x: f32([4]) }, error: /x is f32 \[4\]/ },
];
