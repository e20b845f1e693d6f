import { bf16, f32, type OpCase, type Operand } from './check_op.ts';

const out = (dims: readonly number[], stride?: number) => ({
  y: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) },
});
const forms = [false, true].flatMap((transposeA) => [false, true].map((transposeB) => ({ transposeA, transposeB })));

type Make = (dims: readonly number[]) => Operand;
const product = (name: string, [m, k, n]: readonly number[], attrs: (typeof forms)[number], batch?: number, make: Make = f32): OpCase => {
  const whole = (rows = 0, columns = 0): number[] => (batch === undefined ? [rows, columns] : [batch, rows, columns]);
  return {
    name: `${attrs.transposeA ? 'aᵀ' : 'a'} ${attrs.transposeB ? 'bᵀ' : 'b'}, ${name}`,
    inputs: { a: make(attrs.transposeA ? whole(k, m) : whole(m, k)), b: make(attrs.transposeB ? whole(n, k) : whole(k, n)) },
    attrs,
    outputs: out(whole(m, n)),
    reduction: Math.max(1, k as number),
    // One column per row: nothing to judge a sum that cancels by.
    absolute: 1e-6 * Math.sqrt(k as number),
  };
};
const sizes = [
  [1, 1, 1],
  [1, 33, 17],
  [2, 5, 16],
  [3, 31, 1],
  [7, 64, 15],
  [8, 32, 48],
  [12, 33, 65],
  [13, 300, 33],
  [25, 7, 100],
  [5, 0, 9],
  [0, 4, 4],
  [4, 4, 0],
];

const I = Infinity;
export const matmulCases: OpCase[] = [
  ...forms.flatMap((attrs) => [
    ...sizes.map((size) => product(`[${size}]`, size, attrs)),
    product('k beyond two blocks, many tiles and panels', [70, 600, 210], attrs),
    product('many tiles of 128', [260, 45, 264], attrs),
    product('few tiles of 128 and a rest', [129, 20, 131], attrs, 2),
    ...[0, 1, 3].map((batch) => product(`${batch} of [9, 40, 20]`, [9, 40, 20], attrs, batch)),
  ]),
  {
    name: 'columns of wider tensors',
    inputs: { a: f32.strided([14, 24], 50), b: f32.strided([24, 35], 61) },
    attrs: forms[0],
    outputs: out([14, 35], 41),
    reduction: 24,
  },
  {
    name: 'transposed columns of wider tensors',
    inputs: { a: f32.strided([24, 14], 50), b: f32.strided([32, 24], 61) },
    attrs: forms[3],
    outputs: out([14, 32], 41),
    reduction: 24,
  },
  {
    name: 'products apart from each other',
    inputs: { a: f32.strided([3, 5, 8], 100), b: f32.strided([3, 8, 16], 130) },
    attrs: forms[0],
    outputs: out([3, 5, 16]),
    reduction: 8,
  },
  {
    name: 'extremes stay in their rows and columns',
    inputs: {
      a: f32([4, 3], [I, 1, 1, 2 ** 100, -(2 ** 100), 2 ** 90, NaN, 1, 2, 1, 2, 3]),
      b: f32([3, 2], [1, 2, 1, 3, 1, -4]),
    },
    attrs: forms[0],
    outputs: out([4, 2]),
    reduction: 3,
  },
  {
    name: 'unequal k',
    inputs: { a: f32([3, 4]), b: f32([5, 2]) },
    attrs: forms[0],
    outputs: out([3, 2]),
    error: /\[matmul\] a is f32 \[3, 4\], b is f32 \[5, 2\]/,
  },
  {
    name: 'unequal batches',
    inputs: { a: f32([2, 3, 4]), b: f32([3, 4, 2]) },
    attrs: forms[0],
    outputs: out([2, 3, 2]),
    error: /\[\.\., m, k\] x \[\.\., k, n\]/,
  },
  {
    name: 'y of another shape',
    inputs: { a: f32([3, 4]), b: f32([4, 2]) },
    attrs: forms[0],
    outputs: out([2, 2]),
    error: /y is f32 \[2, 2\]/,
  },
  { name: 'another dtype', inputs: { a: bf16([3, 4]), b: f32([4, 2]) }, attrs: forms[0], outputs: out([3, 2]), error: /expected f32/ },
];
