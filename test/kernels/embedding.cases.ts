import { bf16, f16, f32, i32, type OpCase, type Operand, u8 } from './check_op.ts';
import { packWeight } from './linear.reference.ts';
import { randomNormal } from './numbers.ts';

const makers = { f32, f16, bf16 };
const ids = (...list: number[]): Operand => i32([list.length], list);
const plain = (dtype: keyof typeof makers, vocabulary: number, width: number, list: number[], more: Partial<OpCase> = {}): OpCase => ({
  name: `${dtype} [${vocabulary}, ${width}]`,
  inputs: { ids: ids(...list), weight: makers[dtype]([vocabulary, width]) },
  attrs: { vocabulary },
  outputs: { y: { dtype: 'f32', dims: [list.length, width] } },
  ...more,
});
const panels = (dtype: keyof typeof makers, vocabulary: number, width: number, list: number[]): OpCase => ({
  ...plain(dtype, vocabulary, width, list),
  name: `${dtype} panels of ${vocabulary} rows of ${width}`,
  inputs: { ids: ids(...list), weight: packWeight(dtype, vocabulary, width, randomNormal(vocabulary * width, 3)) },
});
const many = Array.from({ length: 70000 }, (_, i) => ((i * 7) % 41) - 1);

export const embeddingCases: OpCase[] = [
  ...(['f32', 'f16', 'bf16'] as const).flatMap((dtype) => [
    plain(dtype, 7, 19, [0, 6, 3, -1, 3]),
    plain(
      dtype,
      40,
      576,
      Array.from({ length: 130 }, (_, i) => (i * 7) % 40),
    ),
    plain(dtype, 3, 4, []),
    panels(dtype, 16, 8, [0, 15, 7]),
    panels(dtype, 37, 19, [36, 0, -1, 16, 15, 31, 32]),
    panels(
      dtype,
      50,
      260,
      Array.from({ length: 70 }, (_, i) => (i * 13) % 50),
    ),
  ]),
  ...(['f32', 'f16', 'bf16'] as const).flatMap((dtype) => [
    plain(dtype, 40, 3, many, { name: `${dtype}, many tokens` }),
    plain(dtype, 9, 12, [8, 0, 5], {
      name: `${dtype}, columns that begin anywhere`,
      inputs: { ids: ids(8, 0, 5), weight: makers[dtype].strided([9, 12], 24, undefined, 3) },
      outputs: { y: { dtype: 'f32', dims: [3, 12], stride: 20, first: 4 } },
    }),
    plain(dtype, 9, 12, [8, 0, 5], {
      name: `${dtype}, columns at a multiple of four`,
      inputs: { ids: ids(8, 0, 5), weight: makers[dtype].strided([9, 12], 24, undefined, 4) },
      outputs: { y: { dtype: 'f32', dims: [3, 12], stride: 20, first: 8 } },
    }),
  ]),
  plain('f32', 7, 5, [0], {
    name: 'columns of wider tensors',
    inputs: { ids: ids(6, 2), weight: f32.strided([7, 5], 9) },
    outputs: { y: { dtype: 'f32', dims: [2, 5], stride: 8 } },
  }),
  plain('f16', 2, 7, [0, 1], {
    name: 'infinities, NaN and subnormals',
    inputs: { ids: ids(0, 1), weight: f16([2, 7], [Infinity, -Infinity, NaN, 6e-8, -0, 65504, 1e-5, 1, 2, 3, 4, 5, 6, 7]) },
  }),
  plain('f32', 7, 5, [7], { name: 'id beyond the vocabulary', error: /ids\[0\] is 7: expected less than 7/ }),
  { ...panels('f32', 37, 8, [37]), name: 'id beyond the vocabulary, in a panel', error: /ids\[0\] is 37: expected less than 37/ },
  {
    ...panels('f32', 37, 8, [0]),
    name: 'too few panels',
    attrs: { vocabulary: 49 },
    error: /expected panels of 16 rows for 49 rows of 8/,
  },
  plain('f32', 7, 5, [0], {
    name: 'another width',
    outputs: { y: { dtype: 'f32', dims: [1, 6] } },
    error: /weight is f32 \[7, 5\]: expected \[7, 6\]/,
  }),
  plain('f32', 7, 5, [0], {
    name: 'integer weight',
    inputs: { ids: ids(0), weight: i32([7, 5], new Array(35).fill(1)) },
    error: /expected f32, f16 or bf16/,
  }),
];

const gather = (name: string, x: Operand, list: number[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x, rows: ids(...list) },
  outputs: { y: { dtype: x.dtype, dims: [list.length, ...x.dims.slice(1)] } },
  ...more,
});
export const gatherRowsCases: OpCase[] = [
  gather('f32', f32([5, 19]), [4, 0, 0, -1, 3]),
  gather('bf16', bf16([5, 2, 3]), [2, -7, 1]),
  gather(
    'bytes',
    u8(
      [4, 3],
      Uint8Array.from({ length: 12 }, (_, i) => 20 * i),
    ),
    [3, 1],
  ),
  gather('a list', i32([4], [9, 8, 7, 6]), [3, -1, 0]),
  gather('rows of an odd number of 16-bit elements', bf16([5, 3]), [4, 1, -1, 0]),
  gather(
    'columns of bytes',
    {
      ...u8(
        [4, 5],
        Uint8Array.from({ length: 20 }, (_, i) => 12 * i),
      ),
      stride: 11,
      first: 3,
    },
    [3, 0, -2],
  ),
  gather('columns that begin anywhere', f32.strided([5, 8], 12, undefined, 3), [4, 2], {
    outputs: { y: { dtype: 'f32', dims: [2, 8], stride: 16, first: 4 } },
  }),
  gather('more rows than a grid is high', f32([40, 2]), many),
  gather('rank 4', f32([3, 2, 2, 2]), [2, 2]),
  gather('no rows asked', f32([3, 4]), []),
  gather(
    'many rows',
    f32([64, 1031]),
    Array.from({ length: 200 }, (_, i) => (i * 5) % 64),
  ),
  gather('columns of a wider tensor', f32.strided([5, 7], 12), [4, 2], { outputs: { y: { dtype: 'f32', dims: [2, 7], stride: 9 } } }),
  gather('row beyond the end', f32([5, 2]), [1, 5], { error: /rows\[1\] is 5: expected less than 5/ }),
  gather('row of nothing', f32([0, 2]), [0], { error: /rows\[0\] is 0: expected less than 0/ }),
  gather('another dtype', f32([5, 2]), [1], {
    outputs: { y: { dtype: 'f16', dims: [1, 2] } },
    error: /expected y to have one row of x per entry/,
  }),
];
