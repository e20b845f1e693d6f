import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { bf16, checkOp, f32, i32, type OpCase, type Operand, runOp } from './check_op.ts';
import { linear, linearGrad, packWeight, type WeightType } from './linear.reference.ts';
import { randomNormal, replaced } from './numbers.ts';
import { testsCpu } from './test_devices.ts';

const types: readonly WeightType[] = ['f32', 'f16', 'bf16'];
const out = (dims: readonly number[], stride?: number) => ({
  dx: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) },
});

// dy that bf16 holds exactly, so that `fast` has nothing to round.
const exact = (rows: number, outputs: number, stride?: number): Operand => {
  const { values } = bf16([rows, outputs]);
  return stride === undefined ? f32([rows, outputs], values) : f32.strided([rows, outputs], stride, values);
};
const weight = (dtype: WeightType, outputs: number, k: number, seed = 5): Operand =>
  packWeight(dtype, outputs, k, randomNormal(outputs * k, seed));

const one = (name: string, dtype: WeightType, rows: number, outputs: number, k: number, more: Partial<OpCase> = {}): OpCase => ({
  name: `${dtype}: ${name}`,
  inputs: { dy: exact(rows, outputs), weight: weight(dtype, outputs, k) },
  attrs: { activation: 'fast' },
  outputs: out([rows, k]),
  reduction: outputs,
  ...more,
});

const sizes = [1, 2, 3, 15, 16, 17, 33, 100];
const cases = types.flatMap((dtype): OpCase[] => [
  // One input per row: nothing to judge a sum that cancels by.
  ...sizes.map((n, i) => one(`${n} outputs of ${sizes.at(-1 - i)}`, dtype, 5, n, sizes.at(-1 - i) as number, { absolute: 1e-5 })),
  ...[0, 1, 2, 4, 7, 11, 12, 13, 30].map((rows) => one(`${rows} rows`, dtype, rows, 37, 41)),
  one('no outputs', dtype, 3, 0, 20),
  one('no inputs', dtype, 3, 20, 0),
  one('outputs beyond one block, many tiles', dtype, 70, 2101, 50),
  one('outputs that fill one block', dtype, 3, 1024, 19),
  one('more rows than are packed at a time', dtype, 800, 24, 17),
  one('columns of wider tensors', dtype, 14, 48, 35, {
    inputs: { dy: exact(14, 48, 100), weight: weight(dtype, 48, 35) },
    outputs: out([14, 35], 61),
  }),
  one('one row of a wider tensor', dtype, 1, 48, 35, {
    inputs: { dy: exact(1, 48, 100), weight: weight(dtype, 48, 35) },
    outputs: out([1, 35], 61),
  }),
  one('precise', dtype, 13, 99, 40, {
    inputs: { dy: f32([13, 99]), weight: weight(dtype, 99, 40) },
    attrs: { activation: 'precise' },
    ...(dtype === 'bf16' ? { loosen: 8, because: 'dy keeps 16 of its 24 bits where products are of bf16' } : {}),
  }),
  one('fast', dtype, 13, 99, 40, {
    inputs: { dy: f32([13, 99]), weight: weight(dtype, 99, 40) },
    ...(dtype === 'bf16' ? { loosen: 2048, because: 'dy is rounded to 8 bits where products are of bf16' } : {}),
  }),
  one('large and infinite values stay in their rows', dtype, 3, 3, 17, {
    inputs: {
      dy: f32([3, 3], [Infinity, 1, 1, 2 ** 100, -(2 ** 100), 2 ** 90, 1, 2, 3]),
      weight: packWeight(dtype, 3, 17, new Float64Array(51).fill(1)),
    },
    attrs: { activation: 'precise' },
  }),
  one('NaN', dtype, 2, 3, 17, {
    inputs: { dy: f32([2, 3], [NaN, 1, 1, 1, 2, 3]), weight: weight(dtype, 3, 17) },
    attrs: { activation: 'precise' },
  }),
  // Tiles of 64, 128 and 256, stages of 64 outputs; rows of the weight that begin at 16 bytes, and that do not.
  ...[240, 250, 296, 302].map((k) => one(`tiles of [140, ${k}]`, dtype, 140, 330, k)),
  ...[8, 70].map((rows) =>
    one(`precise, ${rows} rows`, dtype, rows, 700, 70, {
      inputs: { dy: f32([rows, 700]), weight: weight(dtype, 700, 70) },
      attrs: { activation: 'precise' },
      ...(dtype === 'bf16' ? { loosen: 8, because: 'dy keeps 16 of its 24 bits where products are of bf16' } : {}),
    }),
  ),
  one('fast, many rows', dtype, 70, 99, 40, {
    inputs: { dy: f32([70, 99]), weight: weight(dtype, 99, 40) },
    ...(dtype === 'bf16' ? { loosen: 2048, because: 'dy is rounded to 8 bits where products are of bf16' } : {}),
    ...(dtype === 'f16' ? { loosen: 256, because: 'tensor cores take dy rounded to 11 bits' } : {}),
  }),
  one('gradients as small as they become', dtype, 40, 16, 33, {
    inputs: {
      dy: f32(
        [40, 16],
        Float64Array.from({ length: 640 }, (_, i) => (1 + (i % 5) / 4) * 2 ** ((Math.floor(i / 16) % 3) * 30 - 90)),
      ),
      weight: weight(dtype, 16, 33),
    },
  }),
  one('a weight of too few panels', dtype, 2, 33, 8, {
    inputs: { dy: exact(2, 33), weight: weight(dtype, 32, 8) },
    error: /weight is .* expected \[3, /,
  }),
  one('a weight of another k', dtype, 2, 16, 8, { inputs: { dy: exact(2, 16), weight: weight(dtype, 16, 10) }, error: /weight is / }),
]);

checkOp('linear_grad', {
  cases: [
    ...cases,
    one('dy of another dtype', 'f32', 2, 16, 8, {
      inputs: { dy: bf16([2, 16]), weight: weight('f32', 16, 8) },
      error: /dy is bf16 \[2, 16\]/,
    }),
    one('a weight of integers', 'f32', 2, 16, 8, {
      inputs: { dy: exact(2, 16), weight: i32([1, 8, 16], new Float64Array(128)) },
      error: /weight is i32/,
    }),
  ],
  reference: linearGrad,
});

describe.skipIf(!testsCpu)('linear_grad', () => {
  const native = binding();
  const best = native.cpu().target;
  afterAll(() => native.setCpuTarget(best));

  it('is the derivative of linear', () => {
    const [rows, outputs, k, step] = [3, 17, 9, 1e-3];
    const packed = weight('f32', outputs, k);
    const x = f32([rows, k]);
    const dy = f32([rows, outputs]);
    const loss = (values: Float64Array): number => {
      const { y } = linear({ x: { ...x, values }, weight: packed }, {}, { y: [rows, outputs] });
      return (y as Float64Array).reduce((sum, value, i) => sum + value * (dy.values[i] as number), 0);
    };
    const { dx } = linearGrad({ dy, weight: packed }, {}, { dx: [rows, k] }) as { dx: Float64Array };
    for (let i = 0; i < rows * k; i++) {
      const [up, down] = [1, -1].map((sign) => loss(replaced(x.values, i, (x.values[i] as number) + sign * step))) as [number, number];
      expect(dx[i]).toBeCloseTo((up - down) / (2 * step), 8);
    }
  });

  const [outputs, k, most] = [1100, 75, 130];
  const sampled = [0, 1, 2, 5, 6, 7, 11, 12, 31, 63, 64, 128, 129];
  for (const dtype of types)
    for (const activation of dtype === 'bf16' ? ['fast', 'precise'] : ['fast'])
      it(`${dtype}, ${activation}: a row has the same bits whatever the number of rows`, async () => {
        const values = randomNormal(most * outputs, 3);
        const packed = weight(dtype, outputs, k);
        const run = async (first: number, rows: number): Promise<Float64Array> => {
          const dy = f32([rows, outputs], values.subarray(first * outputs, (first + rows) * outputs));
          const { dx } = await runOp('linear_grad', {
            name: '',
            inputs: { dy, weight: packed },
            attrs: { activation },
            outputs: out([rows, k]),
          });
          return dx as Float64Array;
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
                  Buffer.from(together.slice(row * k, (row + 1) * k).buffer).equals(Buffer.from(bits.buffer)),
                  `${target}: row ${row} of ${rows}`,
                ).toBe(true);
          }
        }
      });
});
