// Bits of gradients and of the forward pass depend on an adapter's own tokens alone.
import { afterAll, describe, expect, it } from 'vitest';
import type { OpName } from '../../lib/generated/op_table.js';
import { binding } from '../../lib/runtime/binding.js';
import { cpu, type Device } from '../../lib/runtime/device.js';
import { type OpCase, type Operand, runOp } from './check_op.ts';
import { type Adapters, caseOf, type GradientOp, lowRank, operandsOf, repeat } from './grouped_lora_grad.scene.ts';
import { hasCudaKernel, testedCuda, testsCpu } from './test_devices.ts';

const native = binding();
const { threads, target: best } = native.cpu();

async function everywhere(op: OpName, body: (device: Device) => Promise<void>): Promise<void> {
  for (const target of testsCpu ? native.cpu().targets : [])
    for (const count of [1, 2]) {
      await native.setCpuTarget(target);
      native.setThreads(count);
      await body(cpu);
    }
  if (testedCuda !== undefined && hasCudaKernel(op)) await body(testedCuda);
}

const bytesOf = (values: Float64Array): Buffer => Buffer.from(values.buffer, values.byteOffset, values.byteLength);

function expectSameBits(actual: Float64Array, expected: Float64Array, what: string): void {
  expect(bytesOf(actual).equals(bytesOf(expected)), `bits of ${what}`).toBe(true);
}

const only = (operand: Operand, tokens: readonly number[]): Operand => {
  const width = operand.dims[1] as number;
  const values = new Float64Array(tokens.length * width);
  tokens.forEach((t, i) => {
    values.set(operand.values.subarray(t * width, (t + 1) * width), i * width);
  });
  return { dtype: operand.dtype, dims: [tokens.length, width], values };
};
const perToken = ['x', 'dy', 'dx', 'dweight', 'index', 'weight'];
const withTokens = (operands: Record<string, Operand>, tokens: readonly number[]): Record<string, Operand> => ({
  ...operands,
  ...Object.fromEntries(perToken.map((name) => [name, only(operands[name] as Operand, tokens)])),
});

describe('equal bits', () => {
  afterAll(async () => {
    native.setThreads(threads);
    await native.setCpuTarget(best);
  });

  // Adapter 1 has tokens in many places; adapters 0 and 2 are its neighbours.
  const slots = Array.from({ length: 150 }, (_, t) => (t % 7 === 3 ? -1 : t < 60 ? 1 : t % 3));
  const adapters: Adapters = [
    [lowRank(5), lowRank(2)],
    [lowRank(70, { shift: true }), lowRank(16)],
    [lowRank(3), undefined],
  ];
  const operands = operandsOf(adapters, slots, { inputs: 67, outputs: [77, 31], weights: (i) => (i % 3 === 0 ? 1 : 0.7) });
  const run = async (op: GradientOp, what: Record<string, Operand>, device: Device): Promise<Float64Array> =>
    Object.values(await runOp(op, caseOf(op, '', what, 0), device))[0] as Float64Array;
  const mine = slots.flatMap((slot, t) => (slot === 1 ? [t] : []));

  // Elements of the gradients that belong to slot 1.
  const owned = (): number[] => {
    const entries = (operands.entries as Operand).values;
    const addresses = (operands.rows as Operand).values;
    const found: number[] = [];
    const row = (index: number, width: number): void => {
      for (let i = 0; i < width; i++) found.push((addresses[index] as number) * 16 + i);
    };
    for (let site = 0; site < 2; site++) {
      const entry = entries.subarray((3 + site) * 8, (4 + site) * 8);
      for (let r = 0; r < (entry[2] as number); r++) {
        row((entry[3] as number) + r, 67);
        row((entry[4] as number) + r, site === 0 ? 77 : 31);
      }
      if ((entry[5 + 1] as number) >= 0) row(entry[6] as number, 77);
    }
    return found;
  };

  it('gives an adapter the same gradients alone and among others', async () => {
    const elements = owned();
    expect(elements.length).toBe(70 * (67 + 77) + 77 + 16 * (67 + 31));
    await everywhere('grouped_lora_grad_factors', async (device) => {
      const together = await run('grouped_lora_grad_factors', operands, device);
      const alone = await run('grouped_lora_grad_factors', withTokens(operands, mine), device);
      const taken = (all: Float64Array): Float64Array => Float64Array.from(elements, (i) => all[i] as number);
      expectSameBits(taken(together), taken(alone), 'the gradients of slot 1');
    });
  });

  it('adds up over launches as over the tokens of one launch', async () => {
    await everywhere('grouped_lora_grad_factors', async (device) => {
      const whole = await run('grouped_lora_grad_factors', operands, device);
      let gradients = operands.gradients as Operand;
      for (const [from, to] of [
        [0, 41],
        [41, 42],
        [42, 150],
      ] as const) {
        const part = withTokens(operands, slots.map((_, t) => t).slice(from, to));
        gradients = { ...gradients, values: await run('grouped_lora_grad_factors', { ...part, gradients }, device) };
      }
      expectSameBits(gradients.values, whole, 'the sums of three launches');
    });
  });

  it('leaves every element that is no row of the batch as it was', async () => {
    const before = (operands.gradients as Operand).values;
    const elements = new Set(owned());
    await everywhere('grouped_lora_grad_factors', async (device) => {
      const after = await run('grouped_lora_grad_factors', withTokens(operands, mine), device);
      const wrong = Array.from(before.keys()).filter((i) => elements.has(i) === Object.is(after[i], before[i]));
      expect(wrong).toEqual([]);
    });
  });

  for (const op of ['grouped_lora_grad_x', 'grouped_lora_grad_weight'] as const)
    it(`gives a token the same ${op === 'grouped_lora_grad_x' ? 'dx' : 'dweight'} alone and among others`, async () => {
      await everywhere(op, async (device) => {
        const together = await run(op, operands, device);
        const width = together.length / slots.length;
        for (const t of [0, 1, 3, 47, 48, 59, 60, 61, 149]) {
          const alone = await run(op, withTokens(operands, [t]), device);
          expectSameBits(together.subarray(t * width, (t + 1) * width), alone, `token ${t}`);
        }
      });
    });

  for (const [shape, sites, inputs, outputs] of [
    ['ranks beyond a block', [lowRank(258), lowRank(19, { dtype: 'bf16', shift: true })], 270, 70],
    ['columns beyond a block', [lowRank(3), lowRank(5, { dtype: 'bf16', shift: true })], 37, 1030],
  ] as const)
    it.skipIf(!testsCpu && !hasCudaKernel('grouped_lora'))(
      `gives a token the same y among a few tokens of its adapter and among many: ${shape}`,
      async () => {
        const many = operandsOf(
          [[sites[0]], [sites[1]], [lowRank(4, { dtype: 'f16', gain: true })], [lowRank(0, { shift: true })]],
          [...repeat([0, 1], 101), ...repeat([1, 0], 50), ...repeat([2, 0], 30), ...repeat([3, -1], 19), ...repeat([1, 1], 70)],
          { inputs, outputs: [outputs], weights: (i) => (i % 5 === 0 ? 1 : 0.3) },
        );
        const forward = async (what: Record<string, Operand>, device: Device): Promise<Float64Array> => {
          const { x, dy: base, index, weight, entries, rows, pool, columns } = what;
          const test: OpCase = { name: '', inputs: { x, base, index, weight, entries, rows, pool, columns }, attrs: { site: 0 } };
          return (await runOp('grouped_lora', test, device)).y as Float64Array;
        };
        await everywhere('grouped_lora', async (device) => {
          const together = await forward(many, device);
          for (const tokens of [[0], [99, 100, 101, 102], [149, 150, 151], [180, 181], [199, 200], [268, 269]]) {
            const few = await forward(withTokens(many, tokens), device);
            tokens.forEach((t, i) => {
              const alone = few.subarray(i * outputs, (i + 1) * outputs);
              expectSameBits(together.subarray(t * outputs, (t + 1) * outputs), alone, `token ${t}`);
            });
          }
        });
      },
    );
});
