import { describe, expect, it } from 'vitest';
import { bf16, checkOp, f16, f32, i32, type OpCase, type Operand, runOp, u8 } from './check_op.ts';
import * as reference from './elementwise.reference.ts';

const like = (operand: Operand, stride?: number) => ({
  y: { dtype: operand.dtype, dims: operand.dims, ...(stride === undefined ? {} : { stride }) },
});
/** Every distance from zero: dense steps near it, then up to the largest finite numbers. */
const sweep = [
  ...Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100),
  ...Array.from({ length: 60 }, (_, i) => 10 ** (i / 3 - 15)),
].flatMap((v) => [v, -v]);
const extremes = [0, -0, 1e-45, -1e-45, 1e-38, -1e-38, 88, -88, 89, -89, 104, -104, 1e30, -1e30, 3.4e38, -3.4e38, Infinity, -Infinity, NaN];

const pairCases = (): OpCase[] => {
  const cases: OpCase[] = [[1], [17], [3, 5], [2, 3, 4], [2, 3, 4, 5], [0, 8], [70, 1031]].map((dims) => {
    const a = f32(dims);
    return { name: `[${dims}]`, inputs: { a, b: f32(dims) }, outputs: like(a) };
  });
  const a = f32.strided([5, 19], 40);
  cases.push({ name: 'columns of wider tensors', inputs: { a, b: f32.strided([5, 19], 23) }, outputs: like(a, 21) });
  const cube = f32.strided([5, 3, 7], 40);
  cases.push({ name: 'columns of wider tensors, heads', inputs: { a: cube, b: f32([5, 3, 7]) }, outputs: like(cube) });
  cases.push({ name: 'extremes', inputs: { a: f32([19], extremes), b: f32([19]) }, outputs: like(f32([19])) });
  cases.push({
    name: 'unequal shapes',
    inputs: { a: f32([4]), b: f32([5]) },
    outputs: like(f32([4])),
    error: /\[(add|mul)\] b is f32 \[5\]/,
  });
  cases.push({ name: 'other dtypes', inputs: { a: f16([4]), b: f32([4]) }, outputs: like(f32([4])), error: /expected f32/ });
  return cases;
};
checkOp('add', { cases: pairCases(), reference: reference.add });
checkOp('mul', { cases: pairCases(), reference: reference.mul });

checkOp('add_bias', {
  cases: [
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
  ],
  reference: reference.addBias,
});

checkOp('scale', {
  cases: [-2.5, 0, 1e-3].map((factor) => ({
    name: `${factor}`,
    inputs: { x: f32([5, 33]) },
    attrs: { factor },
    outputs: like(f32([5, 33])),
  })),
  reference: reference.scale,
});

const names = Object.keys(reference.functions);
const loosened = (name: string): Partial<OpCase> =>
  name === 'gelu_tanh' || name === 'gelu'
    ? { absolute: 2e-8, because: 'far below zero a rounded exponent is multiplied by its own size' }
    : {};
checkOp('activate', {
  cases: names.flatMap((name): OpCase[] => [
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
  ]),
  reference: reference.activate,
});

checkOp('gate', {
  cases: [
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
    { name: 'no rows', inputs: { gate: f32([0, 8]), up: f32([0, 8]) }, attrs: { function: 'silu' }, outputs: like(f32([0, 8])) },
    {
      name: 'unequal shapes',
      inputs: { gate: f32([2, 8]), up: f32([2, 9]) },
      attrs: { function: 'silu' },
      outputs: like(f32([2, 8])),
      error: /up is f32 \[2, 9\]/,
    },
  ],
  reference: reference.gate,
});

checkOp('soft_cap', {
  cases: [
    { name: 'around the cap', inputs: { x: f32([sweep.length], sweep) }, attrs: { cap: 30 }, outputs: like(f32([sweep.length], sweep)) },
    { name: 'extremes', inputs: { x: f32([19], extremes) }, attrs: { cap: 50 }, outputs: like(f32([19])), absolute: 1e-43 },
    {
      name: 'cap 0',
      inputs: { x: f32([3]) },
      attrs: { cap: 0 },
      outputs: like(f32([3])),
      error: /cap is 0\.0+: expected a finite number above 0/,
    },
  ],
  reference: reference.softCap,
});

checkOp('copy', {
  cases: [
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
    { name: 'into columns of a wider tensor', inputs: { x: f32([5, 3]) }, outputs: like(f32([5, 3]), 4) },
    { name: 'another dtype', inputs: { x: f32([5]) }, outputs: like(f16([5])), error: /expected equal dtypes and shapes/ },
  ],
  reference: reference.copy,
});

describe('activate', () => {
  it.each(names)('%s goes to its limits without jumping back', async (name) => {
    const x = Float64Array.from({ length: 4000 }, (_, i) => -i / 10 - 2);
    const { y } = await runOp('activate', {
      name,
      inputs: { x: f32([4000], x) },
      attrs: { function: name },
      outputs: { y: { dtype: 'f32', dims: [4000] } },
    });
    for (let i = 1; i < 4000; i++) {
      expect(Number.isFinite((y as Float64Array)[i]), `${name}(${x[i]})`).toBe(true);
      expect(Math.abs((y as Float64Array)[i] as number), `${name}(${x[i]})`).toBeLessThanOrEqual(
        name === 'tanh' ? 1 : Math.abs((y as Float64Array)[i - 1] as number) + 1e-41,
      );
    }
  });
});
