import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { bf16, checkOp, f32, i32, type OpCase, type Operand, runOp } from './check_op.ts';
import { linear, packWeight, type WeightType } from './linear.reference.ts';
import { randomNormal } from './numbers.ts';
import { testsCpu } from './test_devices.ts';

const types: readonly WeightType[] = ['f32', 'f16', 'bf16'];
const out = (dims: readonly number[], stride?: number) => ({
  y: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) },
});

// x that bf16 holds exactly, so that `fast` has nothing to round.
const exact = (rows: number, k: number, stride?: number): Operand => {
  const { values } = bf16([rows, k]);
  return stride === undefined ? f32([rows, k], values) : f32.strided([rows, k], stride, values);
};
const weight = (dtype: WeightType, outputs: number, k: number, seed = 5): Operand =>
  packWeight(dtype, outputs, k, randomNormal(outputs * k, seed));

const one = (name: string, dtype: WeightType, rows: number, outputs: number, k: number, more: Partial<OpCase> = {}): OpCase => ({
  name: `${dtype}: ${name}`,
  inputs: { x: exact(rows, k), weight: weight(dtype, outputs, k) },
  attrs: { activation: 'fast' },
  outputs: out([rows, outputs]),
  reduction: k,
  ...more,
});

const sizes = [1, 2, 3, 15, 16, 17, 33, 100];
const cases = types.flatMap((dtype): OpCase[] => [
  // One output per row: nothing to judge a sum that cancels by.
  ...sizes.map((n, i) => one(`${n} outputs of ${sizes.at(-1 - i)}`, dtype, 5, n, sizes.at(-1 - i) as number, { absolute: 1e-5 })),
  ...[0, 1, 2, 4, 7, 11, 12, 13, 30].map((rows) => one(`${rows} rows`, dtype, rows, 40, 37)),
  one('no k', dtype, 3, 20, 0),
  one('no k, a bias', dtype, 3, 20, 0, { inputs: { x: exact(3, 0), weight: weight(dtype, 20, 0), bias: f32([20]) } }),
  one('k beyond one block, many tiles', dtype, 70, 50, 2100),
  one('more rows than are packed at a time', dtype, 800, 17, 24),
  one('a bias', dtype, 9, 50, 65, { inputs: { x: exact(9, 65), weight: weight(dtype, 50, 65), bias: f32([50]) } }),
  one('columns of wider tensors', dtype, 14, 35, 48, {
    inputs: { x: exact(14, 48, 100), weight: weight(dtype, 35, 48) },
    outputs: out([14, 35], 61),
  }),
  one('one row of a wider tensor', dtype, 1, 35, 48, {
    inputs: { x: exact(1, 48, 100), weight: weight(dtype, 35, 48) },
    outputs: out([1, 35], 61),
  }),
  one('precise', dtype, 13, 40, 99, {
    inputs: { x: f32([13, 99]), weight: weight(dtype, 40, 99) },
    attrs: { activation: 'precise' },
    ...(dtype === 'bf16' ? { loosen: 8, because: 'x keeps 16 of its 24 bits where products are of bf16' } : {}),
  }),
  one('fast', dtype, 13, 40, 99, {
    inputs: { x: f32([13, 99]), weight: weight(dtype, 40, 99) },
    ...(dtype === 'bf16' ? { loosen: 2048, because: 'x is rounded to 8 bits where products are of bf16' } : {}),
  }),
  one('large and infinite values stay in their rows', dtype, 3, 17, 3, {
    inputs: {
      x: f32([3, 3], [Infinity, 1, 1, 2 ** 100, -(2 ** 100), 2 ** 90, 1, 2, 3]),
      weight: packWeight(dtype, 17, 3, new Float64Array(51).fill(1)),
    },
    attrs: { activation: 'precise' },
  }),
  one('NaN', dtype, 2, 17, 3, {
    inputs: { x: f32([2, 3], [NaN, 1, 1, 1, 2, 3]), weight: weight(dtype, 17, 3) },
    attrs: { activation: 'precise' },
  }),
  // Tiles of 64, 128 and 256, stages of 64 k, warps that take 64 k in turn; rows of the weight that begin at 16 bytes, and that do not.
  ...[328, 330].flatMap((k) => [250, 300].map((n) => one(`tiles of [140, ${n}], k ${k}`, dtype, 140, n, k))),
  ...[1, 5, 8, 9, 20, 32, 33].map((rows) => one(`${rows} rows of much k`, dtype, rows, 100, rows % 2 === 0 ? 1104 : 1101)),
  one('few outputs of much k, a bias, columns of wider tensors', dtype, 8, 40, 1231, {
    inputs: { x: exact(8, 1231, 1301), weight: weight(dtype, 40, 1231), bias: f32([40]) },
    outputs: out([8, 40], 67),
  }),
  ...[8, 20, 70].map((rows) =>
    one(`precise, ${rows} rows`, dtype, rows, 70, 700, {
      inputs: { x: f32([rows, 700]), weight: weight(dtype, 70, 700) },
      attrs: { activation: 'precise' },
      ...(dtype === 'bf16' ? { loosen: 8, because: 'x keeps 16 of its 24 bits where products are of bf16' } : {}),
    }),
  ),
  one('fast, many rows', dtype, 70, 40, 99, {
    inputs: { x: f32([70, 99]), weight: weight(dtype, 40, 99) },
    ...(dtype === 'bf16' ? { loosen: 2048, because: 'x is rounded to 8 bits where products are of bf16' } : {}),
    ...(dtype === 'f16' ? { loosen: 256, because: 'tensor cores take x rounded to 11 bits' } : {}),
  }),
  ...[3, 40].map((rows) =>
    one(`rows far apart in size, ${rows} rows`, dtype, rows, 33, 16, {
      inputs: {
        x: f32(
          [rows, 16],
          Float64Array.from({ length: rows * 16 }, (_, i) => (1 + (i % 5) / 4) * 2 ** ((Math.floor(i / 16) % 3) * 60 - 60)),
        ),
        weight: weight(dtype, 33, 16),
      },
    }),
  ),
  one('a weight of too few panels', dtype, 2, 33, 8, {
    inputs: { x: exact(2, 8), weight: weight(dtype, 32, 8) },
    error: /weight is .* expected \[3, /,
  }),
  one('a weight of another k', dtype, 2, 16, 8, { inputs: { x: exact(2, 8), weight: weight(dtype, 16, 10) }, error: /weight is / }),
  one('a bias of another length', dtype, 2, 16, 8, {
    inputs: { x: exact(2, 8), weight: weight(dtype, 16, 8), bias: f32([17]) },
    error: /bias is f32 \[17\]: expected f32 \[16\]/,
  }),
]);

checkOp('linear', {
  cases: [
    ...cases,
    one('x of another dtype', 'f32', 2, 16, 8, { inputs: { x: bf16([2, 8]), weight: weight('f32', 16, 8) }, error: /x is bf16 \[2, 8\]/ }),
    one('a weight of integers', 'f32', 2, 16, 8, {
      inputs: { x: exact(2, 8), weight: i32([1, 8, 16], new Float64Array(128)) },
      error: /weight is i32/,
    }),
  ],
  reference: linear,
});

describe.skipIf(!testsCpu)('linear', () => {
  const native = binding();
  const best = native.cpu().target;
  afterAll(() => native.setCpuTarget(best));
  const [outputs, k, most] = [75, 1100, 130];
  const sampled = [0, 1, 2, 5, 6, 7, 11, 12, 31, 63, 64, 128, 129];
  for (const dtype of types)
    for (const activation of dtype === 'bf16' ? ['fast', 'precise'] : ['fast'])
      it(`${dtype}, ${activation}: a row has the same bits whatever the number of rows`, async () => {
        const values = randomNormal(most * k, 3);
        const packed = weight(dtype, outputs, k);
        const bias = f32([outputs]);
        const run = async (first: number, rows: number): Promise<Float64Array> => {
          const x = f32([rows, k], values.subarray(first * k, (first + rows) * k));
          const { y } = await runOp('linear', {
            name: '',
            inputs: { x, weight: packed, bias },
            attrs: { activation },
            outputs: out([rows, outputs]),
          });
          return y as Float64Array;
        };
        for (const target of native.cpu().targets) {
          await native.setCpuTarget(target);
          const alone = new Map<number, Float64Array>();
          for (const row of sampled) alone.set(row, await run(row, 1));
          for (const rows of [2, 3, 7, 12, 13, 64, most]) {
            const together = await run(0, rows);
            for (const [row, bits] of alone)
              if (row < rows)
                expect(
                  Buffer.from(together.slice(row * outputs, (row + 1) * outputs).buffer).equals(Buffer.from(bits.buffer)),
                  `${target}: row ${row} of ${rows}`,
                ).toBe(true);
          }
        }
      });
});
