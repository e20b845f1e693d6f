// linear, linear_grad and embedding over weights that the addon made compact, against the definitions over their values.
import { afterAll, describe, expect, it } from 'vitest';
import { binding } from '../../lib/runtime/binding.js';
import { emptyTensor } from '../../lib/runtime/device_tensor.js';
import { bf16, checkOp, f32, i32, type OpCase, type Operand, type Reference, runOp, u8 } from './check_op.ts';
import { embedding } from './embedding.reference.ts';
import { linear, linearGrad, packWeight } from './linear.reference.ts';
import { randomNormal, toBits } from './numbers.ts';
import { testedCuda, testsCpu } from './test_devices.ts';

const native = binding();
const best = native.cpu().target;

// The same weight as bf16 panels, which the definitions read.
const plain = new Map<Operand, Operand>();

/** A weight [outputs, k] as the addon lays it out; fails where it stays plain but should not. */
async function compact(outputs: number, k: number, values: Float64Array, expected = true): Promise<Operand> {
  const dims = [Math.ceil(outputs / 16), 1 + (k + (k % 2)) / 2, 64];
  const { buffer } = emptyTensor('u8', dims);
  await native.packRows(
    toBits('bf16', values),
    0,
    { dtype: 2, rows: outputs, inputs: k, transposed: false, mayBeCompact: true },
    buffer,
    0,
  );
  await native.compactPanels(buffer, outputs, k);
  const bytes = new Uint8Array(await buffer.read(0, buffer.byteLength));
  buffer.dispose();
  if ((bytes[0] === 1) !== expected) throw new Error(`a weight [${outputs}, ${k}] is ${expected ? 'plain' : 'compact'}`);
  const operand = u8(dims, bytes);
  plain.set(operand, packWeight('bf16', outputs, k, values));
  return operand;
}

const overPlain =
  (reference: Reference): Reference =>
  (inputs, attrs, outputs) =>
    reference({ ...inputs, weight: plain.get(inputs.weight as Operand) }, attrs, outputs);

const normal = (count: number, seed = 5): Float64Array => randomNormal(count, seed).map((value) => value * 0.02);
// Weights far from the others in both directions, and zeros: exceptions of different kinds.
const mixed = (count: number): Float64Array =>
  normal(count).map((value, i) => (i % 173 === 3 ? value * 2 ** 20 : i % 181 === 5 ? value * 2 ** -60 : i % 191 === 7 ? 0 : value));
const exact = (rows: number, columns: number, stride?: number, first?: number): Operand => {
  const { values } = bf16([rows, columns]);
  return stride === undefined ? f32([rows, columns], values) : f32.strided([rows, columns], stride, values, first);
};
const ofSize = { loosen: 4, because: 'an exception is added as a difference to its stand-in' };

async function linearCase(
  name: string,
  rows: number,
  outputs: number,
  k: number,
  more: Partial<OpCase> & { weight?: Operand } = {},
): Promise<OpCase> {
  const { weight = await compact(outputs, k, normal(outputs * k)), inputs, ...rest } = more;
  return {
    name,
    inputs: { x: exact(rows, k), ...inputs, weight },
    attrs: { activation: 'fast' },
    outputs: { y: { dtype: 'f32', dims: [rows, outputs] } },
    reduction: k,
    absolute: 1e-6,
    ...ofSize,
    ...rest,
  };
}

const rounds = { loosen: 2048, because: 'x is rounded to 8 bits where products are of bf16' };
const splits = { loosen: 16, because: 'x keeps 16 of its 24 bits where products are of bf16' };
const cases = await Promise.all([
  ...[1, 2, 3, 4, 6, 7, 8, 9, 12, 13, 24, 25, 130].map((rows) => linearCase(`${rows} rows`, rows, 100, 130)),
  ...[1, 15, 16, 17, 33, 64, 65, 80].map((outputs) => linearCase(`${outputs} outputs`, 5, outputs, 64)),
  ...[32, 33, 34, 36, 38, 40, 41, 63, 1024, 1030].map((k) => linearCase(`k ${k}`, 3, 40, k)),
  ...[5, 70].map((rows) => linearCase(`k beyond one block, ${rows} rows`, rows, 50, 2101)),
  linearCase('no rows', 0, 40, 64),
  linearCase('a bias', 9, 50, 65, { inputs: { bias: f32([50]) } }),
  linearCase('columns of wider tensors', 14, 35, 48, {
    inputs: { x: exact(14, 48, 100, 7) },
    outputs: { y: { dtype: 'f32', dims: [14, 35], stride: 61, first: 3 } },
  }),
  linearCase('fast', 13, 40, 99, { inputs: { x: f32([13, 99]) }, ...rounds }),
  ...[1, 13, 70].map((rows) =>
    linearCase(`precise, ${rows} rows`, rows, 40, 299, { inputs: { x: f32([rows, 299]) }, attrs: { activation: 'precise' }, ...splits }),
  ),
  ...[1, 8, 30].map(async (rows) =>
    linearCase(`exceptions, ${rows} rows`, rows, 40, 700, { weight: await compact(40, 700, mixed(40 * 700)) }),
  ),
  // Tiles of panels that are far apart.
  ...[1, 3, 8].map(async (rows) =>
    linearCase(`exceptions, many panels, ${rows} rows`, rows, 430, 200, { weight: await compact(430, 200, mixed(430 * 200)) }),
  ),
  ...[1, 13].map(async (rows) =>
    linearCase(`exceptions, precise, ${rows} rows`, rows, 40, 700, {
      weight: await compact(40, 700, mixed(40 * 700)),
      inputs: { x: f32([rows, 700]) },
      attrs: { activation: 'precise' },
      ...splits,
    }),
  ),
  linearCase('zeros', 3, 40, 64, { weight: await compact(40, 64, new Float64Array(40 * 64)) }),
  linearCase('some outputs of zeros only', 3, 40, 64, {
    weight: await compact(
      40,
      64,
      normal(40 * 64).map((value, i) => (Math.floor(i / 64) % 5 === 2 ? 0 : value)),
    ),
  }),
  linearCase('NaN and infinite weights', 3, 40, 256, {
    weight: await compact(
      40,
      256,
      normal(40 * 256).map((value, i) => (i === 900 ? Number.NaN : i === 5000 ? Infinity : i === 7000 ? -Infinity : value)),
    ),
    inputs: { x: f32([3, 256], new Float64Array(3 * 256).fill(1)) },
  }),
  linearCase('NaN in a row', 2, 40, 64, { inputs: { x: f32([2, 64], new Float64Array(128).fill(1).fill(Number.NaN, 3, 4)) } }),
  ...[1, 20].map(async (rows) =>
    linearCase(`a weight that stays plain, ${rows} rows`, rows, 40, 96, {
      weight: await compact(
        40,
        96,
        randomNormal(40 * 96, 9).map((value, i) => value * 2 ** ((i % 23) * 9 - 100)),
        false,
      ),
    }),
  ),
  linearCase('a weight of too few panels', 2, 33, 64, {
    weight: await compact(32, 64, normal(32 * 64)),
    error: /weight is .* expected \[3, /,
  }),
  linearCase('a weight of another k', 2, 16, 64, {
    weight: await compact(16, 66, normal(16 * 66)),
    error: /weight is .* expected \[1, 33, 64\]/,
  }),
]);
checkOp('linear', { cases, reference: overPlain(linear), cpuOnly: true });

async function gradCase(
  name: string,
  rows: number,
  outputs: number,
  k: number,
  more: Partial<OpCase> & { weight?: Operand } = {},
): Promise<OpCase> {
  const { weight = await compact(outputs, k, normal(outputs * k)), inputs, ...rest } = more;
  return {
    name,
    inputs: { dy: exact(rows, outputs), ...inputs, weight },
    attrs: { activation: 'fast' },
    outputs: { dx: { dtype: 'f32', dims: [rows, k] } },
    reduction: outputs,
    absolute: 1e-6,
    ...rest,
  };
}

checkOp('linear_grad', {
  cases: await Promise.all([
    ...[1, 2, 12, 13, 70].map((rows) => gradCase(`${rows} rows`, rows, 37, 130)),
    ...[32, 33, 40, 41, 63, 515].map((k) => gradCase(`k ${k}`, 3, 40, k)),
    ...[1, 16, 17, 100, 1100].map((outputs) => gradCase(`${outputs} outputs`, 5, outputs, 64)),
    gradCase('exceptions', 9, 60, 700, { weight: await compact(60, 700, mixed(60 * 700)) }),
    gradCase('precise', 13, 99, 64, { inputs: { dy: f32([13, 99]) }, attrs: { activation: 'precise' }, ...splits }),
    gradCase('a weight that stays plain', 9, 40, 96, {
      weight: await compact(
        40,
        96,
        randomNormal(40 * 96, 9).map((value, i) => value * 2 ** ((i % 23) * 9 - 100)),
        false,
      ),
    }),
  ]),
  reference: overPlain(linearGrad),
  cpuOnly: true,
});

async function rowsCase(name: string, vocabulary: number, width: number, weight: Operand): Promise<OpCase> {
  const ids = i32([6], [0, vocabulary - 1, -1, Math.floor(vocabulary / 2), 1 % vocabulary, 0]);
  return { name, inputs: { ids, weight }, attrs: { vocabulary }, outputs: { y: { dtype: 'f32', dims: [6, width] } } };
}

checkOp('embedding', {
  cases: await Promise.all([
    rowsCase('rows', 100, 130, await compact(100, 130, normal(13000))),
    rowsCase('exceptions, an odd width', 41, 701, await compact(41, 701, mixed(41 * 701))),
    rowsCase('a weight that stays plain', 20, 6, await compact(20, 6, normal(120), false)),
  ]),
  reference: overPlain(embedding),
  cpuOnly: true,
});

describe.skipIf(!testsCpu)('compact panels', () => {
  afterAll(() => native.setCpuTarget(best));

  for (const activation of ['fast', 'precise'])
    it(`${activation}: a row has the same bits whatever the number of rows`, async () => {
      const [outputs, k, most] = [75, 1100, 64];
      const values = randomNormal(most * k, 3);
      const weight = await compact(outputs, k, mixed(outputs * k));
      const run = async (first: number, rows: number): Promise<Float64Array> => {
        const x = f32([rows, k], values.subarray(first * k, (first + rows) * k));
        return (await runOp('linear', await linearCase('', rows, outputs, k, { weight, inputs: { x }, attrs: { activation } })))
          .y as Float64Array;
      };
      for (const target of native.cpu().targets) {
        await native.setCpuTarget(target);
        for (const rows of [2, 5, 8, 12, 13, most]) {
          const together = await run(0, rows);
          for (const row of [0, 1, rows - 1])
            expect(
              Buffer.from(together.slice(row * outputs, (row + 1) * outputs).buffer).equals(Buffer.from((await run(row, 1)).buffer)),
              `${target}: row ${row} of ${rows}`,
            ).toBe(true);
        }
      }
    });
});

// Bytes that no packing left, in a weight that says it is compact.
const damaged = await compact(40, 128, mixed(40 * 128));
const withBytes = (at: number, bytes: readonly number[]): Operand => {
  const values = Float64Array.from(damaged.values);
  values.set(bytes, at);
  return { ...damaged, values };
};
describe.skipIf(!testsCpu)('a damaged compact weight', () => {
  const word = (value: number): number[] => [...new Uint8Array(new BigInt64Array([BigInt(value)]).buffer)];
  const run = async (weight: Operand): Promise<void> => {
    const ids = i32([3], [0, 39, 17]);
    await runOp('linear', await linearCase('', 3, 40, 128, { weight }));
    await runOp('linear_grad', await gradCase('', 3, 40, 128, { weight }));
    await runOp('embedding', {
      name: '',
      inputs: { ids, weight },
      attrs: { vocabulary: 40 },
      outputs: { y: { dtype: 'f32', dims: [3, 128] } },
    });
  };

  it.each([
    ['the units before the header ends', 8, word(0)],
    ['the units beyond the panel', 8, word(2 ** 40)],
    ['the units between lines', 8, word(65)],
    ['panels that overlap', 16, word(64)],
    ['panels far apart', 16, word(2 ** 40)],
    ['panels that go back', 16, word(-4096)],
  ])('is refused: %s', async (_, at, bytes) => {
    await expect(run(withBytes(at, bytes))).rejects.toThrow(/weight u8 .* has panels of .*: expected compact panels of k 128/);
  });

  it('is read within its memory, whatever its lists say', async () => {
    for (let i = 0; i < 200; i++) {
      const values = Float64Array.from(damaged.values);
      const noise = randomNormal(40, 1000 + i);
      // Not the words that are refused.
      for (let j = 0; j < noise.length; j += 2) {
        const at = 24 + (Math.floor(Math.abs(noise[j] as number) * 1e6) % (values.length - 24));
        values[at] = Math.floor(Math.abs(noise[j + 1] as number) * 1e5) % 256;
      }
      values.set([255, 255, 255, 255], 4);
      await run({ ...damaged, values });
    }
  });
});

const refused = await linearCase('', 2, 40, 64);
it.skipIf(testedCuda === undefined)('a CUDA device refuses compact weights', async () => {
  for (const [op, test] of [
    ['linear', refused],
    ['linear_grad', await gradCase('', 2, 40, 64)],
  ] as const)
    await expect(runOp(op, test, testedCuda)).rejects.toThrow(/weight is u8/);
});
