import { f16, f32, i32, type OpCase, type Operand } from './check_op.ts';

const out = (dims: readonly number[], stride?: number, first?: number) => ({
  y: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride, first }) },
});
const one = (name: string, inputs: OpCase['inputs'], dims: readonly number[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs,
  outputs: out(dims),
  ...more,
});

export const concatColumnsCases: OpCase[] = [
  one('one part', { a: f32([3, 5]) }, [3, 5]),
  one('two parts', { a: f32([3, 5]), b: f32([3, 2]) }, [3, 7]),
  one('four parts, one of them empty', { a: f32([9, 1]), b: f32([9, 0]), c: f32([9, 33]), d: f32([9, 4]) }, [9, 38]),
  one('no rows', { a: f32([0, 5]), b: f32([0, 2]) }, [0, 7]),
  one('many rows', { a: f32([300, 70]), b: f32([300, 111]) }, [300, 181]),
  one('columns of wider tensors', { a: f32.strided([6, 3], 10), b: f32.strided([6, 4], 9) }, [6, 7], { outputs: out([6, 7], 12) }),
  one('parts of 16 bytes', { a: f32.strided([6, 8], 24, undefined, 4), b: f32([6, 4]), c: f32([6, 520]) }, [6, 532], {
    outputs: out([6, 532], 540, 8),
  }),
  one('parts that begin anywhere', { a: f32.strided([6, 8], 24, undefined, 3), b: f32([6, 4]) }, [6, 12], { outputs: out([6, 12], 15, 2) }),
  one('more rows than a grid is high', { a: f32([70000, 2]), b: f32([70000, 1]) }, [70000, 3]),
  one('unequal rows', { a: f32([3, 5]), b: f32([4, 2]) }, [3, 7], { error: /a part is f32 \[4, 2\]/ }),
  one('too few columns in y', { a: f32([3, 5]), b: f32([3, 2]) }, [3, 6], { error: /the parts have 7 columns/ }),
];

export const concatRowsCases: OpCase[] = [
  one('rank 1', { a: f32([3]), b: f32([5]) }, [8]),
  one('rank 2', { a: f32([3, 5]), b: f32([1, 5]) }, [4, 5]),
  one('rank 4', { a: f32([2, 1, 2, 3]), b: f32([1, 1, 2, 3]) }, [3, 1, 2, 3]),
  one('nothing above', { a: f32([0, 5]), b: f32([2, 5]) }, [2, 5]),
  one('many rows', { a: f32([130, 177]), b: f32([71, 177]) }, [201, 177]),
  one('columns of wider tensors', { a: f32.strided([4, 5], 9), b: f32.strided([3, 5], 6) }, [7, 5], { outputs: out([7, 5], 8) }),
  one('columns that begin anywhere', { a: f32.strided([4, 8], 20, undefined, 4), b: f32.strided([3, 8], 20, undefined, 7) }, [7, 8], {
    outputs: out([7, 8], 12, 4),
  }),
  one('more rows than a grid is high', { a: f32([70000, 2]), b: f32([9, 2]) }, [70009, 2]),
  one('unequal columns', { a: f32([3, 5]), b: f32([3, 4]) }, [6, 5], { error: /b is f32 \[3, 4\]/ }),
  one('too few rows in y', { a: f32([3, 5]), b: f32([3, 5]) }, [5, 5], { error: /y is f32 \[5, 5\]/ }),
];

const window = (name: string, x: Operand, dims: readonly number[], from: number, atEnd: boolean, more: Partial<OpCase> = {}): OpCase =>
  one(name, { x }, dims, { attrs: { from, atEnd }, ...more });

export const sliceRowsCases: OpCase[] = [
  window('rank 1', f32([9]), [4], 2, false),
  window('from the start', f32([9, 5]), [4, 5], 3, false),
  window('from the end', f32([9, 5]), [4, 5], 3, true),
  window('everything', f32([3, 2, 4]), [3, 2, 4], 0, false),
  window('nothing', f32([3, 4]), [0, 4], 3, false),
  window('columns of wider tensors', f32.strided([9, 5], 8), [4, 5], 1, true, { outputs: out([4, 5], 7) }),
  window('columns of 16 bytes', f32.strided([9, 8], 16, undefined, 4), [4, 8], 1, true, { outputs: out([4, 8], 12, 4) }),
  window('more rows than a grid is high', f32.strided([70009, 2], 3), [70000, 2], 5, false),
  window('beyond the end', f32([9, 5]), [4, 5], 6, false, { error: /rows 6 to 6 \+ 4 are not within f32 \[9, 5\]/ }),
  window('before the start', f32([9, 5]), [4, 5], -1, false, { error: /rows -1 to/ }),
  window('other columns', f32([9, 5]), [4, 6], 0, false, { error: /expected f32 of equal inner dimensions/ }),
];

export const padRowsCases: OpCase[] = [
  window('rank 1', f32([4]), [9], 2, false),
  window('from the start', f32([4, 5]), [9, 5], 3, false),
  window('from the end', f32([4, 5]), [9, 5], 3, true),
  window('nothing', f32([0, 5]), [3, 5], 0, false),
  window('columns of wider tensors', f32.strided([4, 5], 8), [9, 5], 1, true, { outputs: out([9, 5], 7) }),
  window('more rows than a grid is high', f32([66000, 2]), [70000, 2], 3000, true),
  window('too little room', f32([4, 5]), [6, 5], 3, false, { error: /rows 3 to 3 \+ 4 are not within f32 \[6, 5\]/ }),
];

export const swapAxesCases: OpCase[] = [
  ...[
    [1, 1],
    [3, 5],
    [1, 70],
    [33, 65],
    [0, 4],
    [130, 257],
    [70000, 3],
    [9, 1],
    [68, 132],
  ].map((dims) => one(`[${dims}]`, { x: f32(dims) }, [dims[1] as number, dims[0] as number])),
  ...[
    [2, 3, 4],
    [33, 40, 1],
    [7, 1, 65],
    [3, 0, 2],
    [40, 9, 64],
    [2, 35000, 2],
  ].map((dims) => one(`[${dims}]`, { x: f32(dims) }, [dims[1] as number, dims[0] as number, dims[2] as number])),
  one('columns of wider tensors', { x: f32.strided([34, 5], 8) }, [5, 34], { outputs: out([5, 34], 40) }),
  one('columns of wider tensors, 16 bytes', { x: f32.strided([34, 40], 48, undefined, 4) }, [40, 34], { outputs: out([40, 34], 44, 8) }),
  one('columns of wider tensors that begin anywhere', { x: f32.strided([34, 40], 48, undefined, 3) }, [40, 34], {
    outputs: out([40, 34], 44, 1),
  }),
  one('one column of a wider tensor', { x: f32.strided([70, 1], 3, undefined, 2) }, [1, 70]),
  one('heads of a wider tensor', { x: f32.strided([6, 3, 4], 20) }, [3, 6, 4]),
  one('the same shape again', { x: f32([3, 5]) }, [3, 5], { error: /first two dimensions exchanged/ }),
];

const numbers = (...rows: number[]): Operand => i32([rows.length], rows);
const upTo = (count: number, value: (i: number) => number): number[] => Array.from({ length: count }, (_, i) => value(i));
const many = Array.from({ length: 500 }, (_, i) => ((i * 37) % 61) - 1);

export const scatterAddRowsCases: OpCase[] = [
  one('each row once', { x: f32([3, 5]), rows: numbers(2, 0, 1) }, [3, 5]),
  one('rows that repeat, rows that are skipped', { x: f32([6, 5]), rows: numbers(2, 0, 2, -1, 2, 5) }, [7, 5], { reduction: 3 }),
  one('rank 1', { x: f32([4]), rows: numbers(1, 1, 0, 3) }, [4], { reduction: 2, absolute: 1e-6 }),
  one('rank 3', { x: f32([4, 2, 3]), rows: numbers(1, 1, 0, 3) }, [5, 2, 3], { reduction: 2 }),
  one('nothing to add', { x: f32([0, 5]), rows: numbers() }, [3, 5]),
  one('many rows', { x: f32([500, 333]), rows: i32([500], many) }, [60, 333], { reduction: 10 }),
  one('columns of wider tensors', { x: f32.strided([4, 5], 9), rows: numbers(1, 1, 0, 2) }, [3, 5], {
    outputs: out([3, 5], 8),
    reduction: 2,
  }),
  ...[200, 1000].flatMap((count) => [
    one(
      `${count} rows, most of them to one`,
      {
        x: f32([count, 37]),
        rows: i32(
          [count],
          upTo(count, (i) => (i % 5 ? 2 : i % 7)),
        ),
      },
      [7, 37],
      {
        reduction: count,
      },
    ),
    one(
      `${count} rows of more than a block's columns`,
      {
        x: f32([count, 1100]),
        rows: i32(
          [count],
          upTo(count, (i) => i % 23),
        ),
      },
      [24, 1100],
      {
        reduction: 50,
      },
    ),
  ]),
  one(
    'columns that begin anywhere',
    {
      x: f32.strided([300, 8], 12, undefined, 3),
      rows: i32(
        [300],
        upTo(300, (i) => i % 100),
      ),
    },
    [100, 8],
    {
      outputs: out([100, 8], 12, 4),
      reduction: 3,
    },
  ),
  one(
    'more rows than a grid is high',
    {
      x: f32([70000, 2]),
      rows: i32(
        [70000],
        upTo(70000, (i) => (i * 3) % 66000),
      ),
    },
    [66000, 2],
    {
      absolute: 1e-6,
      reduction: 4,
    },
  ),
  one('to no rows', { x: f32([3, 5]), rows: numbers(-1, -1, -2) }, [0, 5]),
  one('a row of nothing', { x: f32([3, 5]), rows: numbers(-1, 0, -2) }, [0, 5], { error: /rows\[1\] is 0: expected less than 0/ }),
  one(
    'a row that is not there, of many',
    {
      x: f32([300, 5]),
      rows: i32(
        [300],
        upTo(300, (i) => (i === 299 ? 8 : i % 8)),
      ),
    },
    [8, 5],
    {
      error: /rows\[299\] is 8: expected less than 8/,
    },
  ),
  one('a row that is not there', { x: f32([3, 5]), rows: numbers(0, 3, 1) }, [3, 5], { error: /rows\[1\] is 3: expected less than 3/ }),
  one('too few numbers', { x: f32([3, 5]), rows: numbers(0, 1) }, [3, 5], { error: /rows is i32 \[2\]: expected i32 \[3\]/ }),
];

const over = (name: string, base: Operand, x: Operand, rows: Operand, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { base, x, rows },
  ...more,
});
export const replaceRowsCases: OpCase[] = [
  over('some rows', f32([5, 4]), f32([3, 4]), numbers(4, -1, 0)),
  over('rank 1', f32([5]), f32([2]), numbers(3, 1)),
  over('rank 3', f32([5, 2, 2]), f32([2, 2, 2]), numbers(3, 1)),
  over('none', f32([5, 4]), f32([0, 4]), numbers()),
  over('columns of wider tensors', f32.strided([5, 4], 7), f32.strided([2, 4], 6), numbers(2, 1)),
  over(
    'many rows',
    f32([400, 177]),
    f32([300, 177]),
    i32(
      [300],
      Array.from({ length: 300 }, (_, i) => (i * 7) % 400),
    ),
  ),
  over('columns of 16 bytes', f32.strided([5, 8], 20, undefined, 4), f32.strided([2, 8], 12, undefined, 4), numbers(2, 1)),
  over(
    'more rows than a grid is high',
    f32([70000, 2]),
    f32([66000, 2]),
    i32(
      [66000],
      upTo(66000, (i) => (i * 3) % 70000),
    ),
  ),
  over('a row named twice', f32([5, 4]), f32([2, 4]), numbers(3, 3), { error: /rows\[1\] is 3 again: expected each row at most once/ }),
  over('a row that is not there', f32([5, 4]), f32([2, 4]), numbers(3, 5), { error: /rows\[1\] is 5: expected less than 5/ }),
  over('another dtype', f32([5, 4]), f16([2, 4]), numbers(3, 1), { error: /x is f16 \[2, 4\]/ }),
];
