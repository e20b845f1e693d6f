// grouped_lora where its CUDA kernel has edges of its own: work split over blocks, lists made on the device, programs run again.
import { describe, expect, it } from 'vitest';
import { newValue } from '../../lib/plan/ir.js';
import { compilePlan } from '../../lib/plan/plan.js';
import { emptyTensor } from '../../lib/runtime/device_tensor.js';
import { viewAs } from '../../lib/runtime/dtype.js';
import { checkOp, type OpCase, type Operand, runOp, tolerance } from './check_op.ts';
import { dense, inGroups, loraCase, lowRank, network, repeat, type Slots } from './grouped_lora.case.ts';
import { groupedLora } from './grouped_lora.reference.ts';
import { toBits, uniform } from './numbers.ts';
import { testedCuda } from './test_devices.ts';

const ranks = [1, 3, 8, 16, 64, 200];
const mixed = ranks.map((rank, i) => [lowRank(rank, { dtype: (['bf16', 'f16', 'f32'] as const)[i % 3] as 'bf16' })]);

/** Which of `adapters` each of `tokens` has. */
const populations: Record<string, (tokens: number, adapters: number) => number[]> = {
  distinct: (tokens, adapters) => Array.from({ length: tokens }, (_, t) => t % adapters),
  identical: (tokens) => repeat(3, tokens),
  skewed: (tokens) => Array.from({ length: tokens }, (_, t) => (t === 0 ? 5 : 4)),
  zipf: (tokens, adapters) => {
    const next = uniform(77);
    return Array.from({ length: tokens }, () => Math.min(adapters - 1, Math.floor((1 - next()) ** -0.7 - 1)));
  },
  'a quarter without': (tokens, adapters) => Array.from({ length: tokens }, (_, t) => (t % 4 === 2 ? -1 : (t * 5) % adapters)),
};

const many = (tokens: number, slots: (t: number) => number): Slots => Array.from({ length: tokens }, (_, t) => slots(t));

checkOp('grouped_lora', {
  cases: [
    ...[0, 1, 2, 33, 200].flatMap((tokens) =>
      Object.entries(populations).map(([name, slots]) => loraCase(`${tokens} tokens, ${name}`, mixed, slots(tokens, ranks.length))),
    ),
    loraCase('several chunks of inputs and blocks of outputs', [[lowRank(17)], [lowRank(33, { dtype: 'f32' })]], [0, 1, 1, 0, 1], {
      inputs: 2311,
      outputs: [631],
    }),
    loraCase('inputs that end within a load', [[lowRank(5)], [lowRank(5, { dtype: 'f16' })]], [0, 1, 0], { inputs: 1029, outputs: [523] }),
    loraCase('a network in series wider than the inputs', [[network('series', 9, 5)]], repeat(0, 3), { inputs: 20, outputs: [2731] }),
    loraCase('whole weights of several chunks', [[dense()], [dense({ dtype: 'f32', shift: true })]], [0, 1, 0], {
      ...{ inputs: 1100, outputs: [77], bias: true },
    }),
    loraCase(
      'groups of tokens of one adapter',
      [[lowRank(9)], [lowRank(20, { gain: true })]],
      many(300, (t) => (t % 7 === 0 ? 1 : 0)),
    ),
    loraCase(
      'rows that lie apart, many tokens',
      [[lowRank(9)], [lowRank(4, { shift: true })]],
      many(290, (t) => t % 2),
      {
        ...{ inputs: 18, outputs: [10, 21], strided: true },
      },
    ),
    loraCase(
      'more tokens than a slice has',
      [[lowRank(3)], [lowRank(2)]],
      many(4500, (t) => (t % 5) - 3 + (t > 2100 ? 1 : 0)).map((s) => Math.min(1, Math.max(-1, s as number))),
      {
        ...{ inputs: 9, outputs: [6] },
      },
    ),
    loraCase(
      'more adapters than a slice lists',
      Array.from({ length: 1300 }, () => [lowRank(1)]),
      many(1500, (t) => (t * 7) % 1300),
      { inputs: 3, outputs: [2] },
    ),
    loraCase(
      'a slice without adapters between others',
      [[lowRank(3)]],
      many(6200, (t) => (t < 2048 || t >= 4096 ? 0 : -1)),
      { inputs: 5, outputs: [4] },
    ),
    loraCase(
      'a rank that leaves room for few tokens at once',
      [[lowRank(400)], [network('series', 300, 3)], [lowRank(2)]],
      many(16, (t) => t % 3),
      {
        ...{ inputs: 12, outputs: [14] },
      },
    ),
    loraCase(
      'two routes each of more tokens than a slice has',
      [[lowRank(3)], [lowRank(2, { gain: true })], [dense()]],
      Array.from({ length: 1100 }, (_, t) => [t % 3, (t % 4) - 1]),
      { inputs: 6, outputs: [5], bias: true, weights: (i) => (i % 3 === 0 ? 1 : 0.5) },
    ),
  ],
  reference: groupedLora,
});

describe.skipIf(testedCuda === undefined)('grouped_lora on CUDA', () => {
  const device = testedCuda as NonNullable<typeof testedCuda>;

  it('refuses rows of B in groups, which lie so for the processor', async () => {
    const test = inGroups(loraCase('', [[lowRank(5)]], [0, 0]));
    await expect(runOp('grouped_lora', test, device)).rejects.toThrow(/dtype 258/);
  });

  it('takes more tokens than a grid has rows', async () => {
    const tokens = 66_000;
    const test = loraCase(
      '',
      [[lowRank(2)], [lowRank(1)]],
      many(tokens, (t) => (t % 1000 === 999 ? t % 2 : -1)),
      { inputs: 4, outputs: [4] },
    );
    const { y } = await runOp('grouped_lora', test, device);
    const expected = groupedLora(test.inputs, { site: 0 }, {}).y as Float64Array;
    const allowed = tolerance('f32', 260) * expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
    expected.forEach((value, i) => {
      if (!(Math.abs(((y as Float64Array)[i] as number) - value) <= allowed))
        throw new Error(`y[${i}] is ${(y as Float64Array)[i]}, expected ${value}`);
    });
  });

  // The same program, which a device may run from what it captured: only data tell it which adapters there are.
  it('is right when run again with other adapters', async () => {
    const tokens = 24;
    const test = loraCase('', [...mixed, [dense()], [network('series', 9, 3)]], repeat(0, tokens), { inputs: 40, outputs: [48] });
    const place = (operand: Operand) => {
      const tensor = emptyTensor(operand.dtype, operand.dims, device);
      void tensor.buffer.write(0, toBits(operand.dtype, operand.values));
      return { tensor, value: { ...newValue(operand.dtype, operand.dims), bound: tensor } };
    };
    const names = ['x', 'base', 'baseBias', 'index', 'weight', 'entries', 'rows', 'pool', 'columns'];
    const placed = names.map((name) => (test.inputs[name] === undefined ? undefined : place(test.inputs[name] as Operand)));
    const at = (name: string) => (placed[names.indexOf(name)] as ReturnType<typeof place>).tensor;
    const base = test.inputs.base as Operand;
    const program = compilePlan({
      nodes: [{ op: 'grouped_lora', inputs: placed.map((p) => p?.value), outputs: [newValue('f32', base.dims)], attrs: { site: 0 } }],
      inputs: [],
      outputs: [],
      extents: new Map(),
      feeds: [],
    });
    try {
      const batches: number[][] = [
        repeat(0, tokens),
        Array.from({ length: tokens }, (_, t) => t % 8),
        repeat(-1, tokens),
        Array.from({ length: tokens }, (_, t) => (t === 5 ? 7 : -1)),
        Array.from({ length: tokens }, (_, t) => (t * 3) % 8),
        repeat(5, tokens),
      ];
      for (const slots of batches) {
        const index = { ...(test.inputs.index as Operand), values: Float64Array.from(slots) };
        await at('index').buffer.write(0, toBits('i32', slots));
        await at('base').buffer.write(0, toBits('f32', base.values));
        await program.run({});
        const bytes = await at('base').buffer.read(0, base.values.length * 4);
        const y = viewAs('f32', bytes) as Float32Array;
        const expected = groupedLora({ ...test.inputs, index }, { site: 0 }, {}).y as Float64Array;
        for (let t = 0; t < tokens; t++) {
          const row = expected.subarray(t * 48, (t + 1) * 48);
          const allowed = tolerance('f32', 300) * row.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
          row.forEach((value, n) => {
            expect(Math.abs((y[t * 48 + n] as number) - value), `slot ${slots[t]}, output ${n}`).toBeLessThanOrEqual(allowed);
          });
        }
      }
    } finally {
      program.dispose();
      for (const p of placed) p?.tensor.buffer.dispose();
    }
  });

  it('gives a token the same bits alone and in company', async () => {
    const adapters = [...mixed, [dense({ shift: true })], [network('series', 9, 3)], [lowRank(3, { gain: true, shift: true })]];
    const slots = Array.from({ length: 40 }, (_, t) => (t < 20 ? 4 : t % adapters.length));
    const width = 77;
    const whole: OpCase = loraCase('', adapters, slots, {
      inputs: 1131,
      outputs: [width],
      bias: true,
      weights: (i) => (i % 3 === 0 ? 1 : 0.7),
    });
    const together = (await runOp('grouped_lora', whole, device)).y as Float64Array;
    const rowOf = ({ dtype, dims, values }: Operand, t: number): Operand => ({
      ...{ dtype, dims: [1, dims[1] as number] },
      values: values.slice(t * (dims[1] as number), (t + 1) * (dims[1] as number)),
    });
    for (let t = 0; t < slots.length; t += 3) {
      const inputs = { ...whole.inputs };
      for (const name of ['x', 'base', 'index', 'weight']) inputs[name] = rowOf(inputs[name] as Operand, t);
      const alone = (await runOp('grouped_lora', { ...whole, inputs }, device)).y as Float64Array;
      expect(Array.from(together.subarray(t * width, (t + 1) * width)), `token ${t}`).toEqual(Array.from(alone));
    }
  });
});
