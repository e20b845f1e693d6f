import { f32, i32, type OpCase, type Operand, u8 } from './check_op.ts';
import { uniform } from './numbers.ts';

/** Places of a sparse matrix as operands. @param perRow numbers of each row, in turn */
export function placesOf(outputs: number, inputs: number, perRow: readonly number[], seed: number): { starts: Operand; columns: Operand } {
  const random = uniform(seed);
  const starts = [0];
  const columns: number[] = [];
  for (let row = 0; row < outputs; row++) {
    const count = perRow[row % perRow.length] as number;
    for (let i = 0; i < count; i++) columns.push(Math.floor(random() * inputs));
    starts.push(columns.length);
  }
  return {
    starts: i32([outputs + 1], starts),
    columns: u8([2 * columns.length], new Uint8Array(Uint16Array.from(columns).buffer)),
  };
}

const sizes: readonly { name: string; tokens: number; outputs: number; inputs: number; perRow: readonly number[] }[] = [
  { name: 'a number or two per row', tokens: 3, outputs: 5, inputs: 7, perRow: [1, 2] },
  { name: 'empty rows', tokens: 9, outputs: 6, inputs: 4, perRow: [0, 3, 0] },
  { name: 'no tokens', tokens: 0, outputs: 3, inputs: 4, perRow: [2] },
  { name: 'no numbers', tokens: 3, outputs: 3, inputs: 4, perRow: [0] },
  { name: 'one token, one number', tokens: 1, outputs: 1, inputs: 1, perRow: [1] },
  { name: 'several chunks', tokens: 37, outputs: 131, inputs: 257, perRow: [17, 0, 64, 5] },
  { name: 'groups of tokens', tokens: 200, outputs: 33, inputs: 70, perRow: [3, 0, 9] },
  { name: 'more groups than are summed beside each other', tokens: 1100, outputs: 35, inputs: 40, perRow: [5, 2] },
  { name: 'long rows', tokens: 9, outputs: 40, inputs: 300, perRow: [250, 1] },
  { name: 'columns beyond 15 bits', tokens: 5, outputs: 3, inputs: 40_001, perRow: [20] },
];

const y = (tokens: number, width: number, stride?: number) => ({ dtype: 'f32' as const, dims: [tokens, width], ...(stride && { stride }) });

export const sparseLinearCases: OpCase[] = [
  ...sizes.map(({ name, tokens, outputs, inputs, perRow }, seed): OpCase => {
    const places = placesOf(outputs, inputs, perRow, seed + 1);
    const values = f32([(places.columns.dims[0] as number) / 2]);
    const operands = { x: f32([tokens, inputs]), base: f32([tokens, outputs]), values, ...places };
    return {
      name,
      inputs: operands,
      reduction: Math.max(...perRow),
      absolute: Math.max(2e-6, 2 ** -23 * Math.max(...perRow)),
      because: 'base and product cancel',
    };
  }),
  {
    name: 'columns of wider tensors',
    inputs: { x: f32.strided([6, 5], 9), base: f32.strided([6, 4], 7), values: f32([8]), ...placesOf(4, 5, [2], 5) },
  },
  {
    name: 'extreme values',
    inputs: {
      x: f32([2, 2], [1e30, -1e-30, 0, 3e38]),
      base: f32([2, 2], [-1e30, 1, 2, 3]),
      values: f32([4], [1, 1e-30, 0, 1e-38]),
      ...placesOf(2, 2, [2], 8),
    },
    reduction: 3,
  },
  {
    name: 'a column beyond the inputs',
    inputs: { x: f32([2, 3]), base: f32([2, 1]), values: f32([1]), starts: i32([2], [0, 1]), columns: u8([2], Uint8Array.of(3, 0)) },
    error: /columns\[0\] is 3: expected less than 3/,
  },
  {
    name: 'starts that fall',
    inputs: { x: f32([2, 3]), base: f32([2, 2]), values: f32([2]), starts: i32([3], [0, 3, 2]), columns: u8([4], new Uint8Array(4)) },
    error: /starts\[2\] is 2: expected at least 3/,
  },
  {
    name: 'starts that do not end with the numbers',
    inputs: { x: f32([2, 3]), base: f32([2, 1]), values: f32([2]), starts: i32([2], [0, 1]), columns: u8([4], new Uint8Array(4)) },
    error: /starts goes from 0 to 1: expected 0 to 2/,
  },
  {
    name: 'a value too few',
    inputs: { x: f32([2, 3]), base: f32([2, 1]), values: f32([1]), starts: i32([2], [0, 2]), columns: u8([4], new Uint8Array(4)) },
    error: /values is f32 \[1\]: expected f32 \[2\]/,
  },
];

export const sparseLinearGradXCases: OpCase[] = [
  ...sizes.map(({ name, tokens, outputs, inputs, perRow }, seed): OpCase => {
    const places = placesOf(outputs, inputs, perRow, seed + 1);
    const values = f32([(places.columns.dims[0] as number) / 2]);
    return { name, inputs: { dy: f32([tokens, outputs]), values, ...places }, outputs: { dx: y(tokens, inputs) }, reduction: 64 };
  }),
  {
    name: 'columns of a wider tensor',
    inputs: { dy: f32.strided([6, 4], 7), values: f32([8]), ...placesOf(4, 5, [2], 5) },
    outputs: { dx: y(6, 5, 8) },
    reduction: 8,
  },
  {
    name: 'a column beyond the inputs',
    inputs: { dy: f32([2, 1]), values: f32([1]), starts: i32([2], [0, 1]), columns: u8([2], Uint8Array.of(0, 1)) },
    outputs: { dx: y(2, 3) },
    error: /columns\[0\] is 256: expected less than 3/,
  },
];

export const sparseLinearGradValuesCases: OpCase[] = [
  ...sizes.map(({ name, tokens, outputs, inputs, perRow }, seed): OpCase => {
    const places = placesOf(outputs, inputs, perRow, seed + 1);
    const count = (places.columns.dims[0] as number) / 2;
    return {
      name,
      inputs: { x: f32([tokens, inputs]), dy: f32([tokens, outputs]), ...places },
      outputs: { dvalues: { dtype: 'f32', dims: [count] } },
      reduction: tokens,
    };
  }),
  {
    name: 'columns of wider tensors',
    inputs: { x: f32.strided([6, 5], 9), dy: f32.strided([6, 4], 7), ...placesOf(4, 5, [2], 5) },
    outputs: { dvalues: { dtype: 'f32', dims: [8] } },
    reduction: 6,
  },
  {
    name: 'unequal tokens',
    inputs: { x: f32([3, 5]), dy: f32([2, 4]), ...placesOf(4, 5, [2], 5) },
    outputs: { dvalues: { dtype: 'f32', dims: [8] } },
    error: /dy is f32 \[2, 4\]: expected 3 rows/,
  },
];
