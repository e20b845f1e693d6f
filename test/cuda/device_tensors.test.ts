// Tensors and programs on a CUDA device, beside the processor's.
import { describe, expect, it } from 'vitest';
import {
  compile,
  DeviceError,
  emptyTensor,
  graph,
  memory,
  ops,
  PoolExhaustedError,
  packedWeight,
  tensor,
  tensorSlice,
} from '../../lib/index.js';
import { newValue } from '../../lib/plan/ir.js';
import { compilePlan } from '../../lib/plan/plan.js';
import type { Device } from '../../lib/runtime/device.js';
import { until } from '../engine/driving.js';
import { randomNormal } from '../kernels/numbers.js';
import { testedCuda } from '../kernels/test_devices.js';

const device = testedCuda as Device;
const held = (): { bytes: number; blocks: number } => {
  const { bytes = 0, blocks = 0 } = memory().devices.find(({ name }) => name === device.name) ?? {};
  return { bytes, blocks };
};
const normal = (count: number, seed: number): Float32Array => Float32Array.from(randomNormal(count, seed));

describe.skipIf(testedCuda === undefined)('tensors', () => {
  it('lie in the memory of the device, begin as zeros and are counted until they are disposed', async () => {
    const before = held();
    const host = memory().bytes;
    const made = emptyTensor('f32', [1000], device);
    expect(held()).toEqual({ bytes: before.bytes + 4000, blocks: before.blocks + 1 });
    expect(memory().bytes).toBe(host);
    expect(new Float32Array(await made.buffer.read(0, 4000))).toEqual(new Float32Array(1000));
    made.buffer.dispose();
    await until(() => held().bytes <= before.bytes && held().blocks <= before.blocks, 'the memory comes back');
    await expect(async () => made.buffer.read(0, 4)).rejects.toThrow(/dispose/);
  });

  it('have what was written, in order, whole and in parts', async () => {
    const data = normal(70_001, 1);
    const made = tensor('f32', [data.length], data, device);
    const writes = Array.from({ length: 20 }, (_, i) => made.buffer.write(4 * i * 100, Float32Array.of(i)));
    const read = new Float32Array(await made.buffer.read(0, data.byteLength));
    await Promise.all(writes);
    for (let i = 0; i < 20; i++) data[i * 100] = i;
    expect(read).toEqual(data);
    expect(new Float32Array(await made.buffer.read(4 * 777, 8))).toEqual(data.slice(777, 779));
    made.buffer.dispose();
  });

  it('throw PoolExhaustedError with the sizes where there is no memory', () => {
    const before = held();
    expect(() => emptyTensor('u8', [2 ** 42], device)).toThrow(PoolExhaustedError);
    expect(() => emptyTensor('u8', [2 ** 42], device)).toThrow(/cannot allocate 4398046511104 bytes/);
    expect(held()).toEqual(before);
  });
});

describe.skipIf(testedCuda === undefined)('programs', () => {
  it('run where their tensors lie, and give what the processor gives', async () => {
    const x = normal(5 * 33, 2);
    const w = normal(40 * 33, 3);
    const results: Float32Array[] = [];
    for (const where of [undefined, device]) {
      const weight = await packedWeight(w, 40, 33, where);
      const bias = tensor('f32', [40], normal(40, 4), where);
      const g = graph();
      const y = ops.linear(g.input('x', 'f32', ['rows', 33]), g.weight('w', weight), { outputs: 40, bias: g.weight('b', bias) });
      using program = compile(g, { outputs: { y: ops.softmax(y) }, extents: { rows: { max: 8 } } });
      expect(program.device.name).toBe(where?.name ?? 'cpu');
      results.push((await program.run({ x })).y as Float32Array);
      weight.buffer.dispose();
      bias.buffer.dispose();
    }
    const [cpu, cuda] = results as [Float32Array, Float32Array];
    expect(cuda.length).toBe(5 * 40);
    for (let i = 0; i < cpu.length; i++) expect(Math.abs((cuda[i] as number) - (cpu[i] as number))).toBeLessThan(2e-6);
  });

  it('without tensors run on the device that is named', async () => {
    const g = graph();
    using program = compile(g, { outputs: { y: ops.scale(g.input('x', 'f32', [3]), 2) }, device });
    expect(program.device).toBe(device);
    expect((await program.run({ x: Float32Array.of(1, 2, 3) })).y).toEqual(Float32Array.of(2, 4, 6));
  });

  it('change state on the device, through slices too', async () => {
    const state = tensor('f32', [32], new Float32Array(32).fill(1), device);
    const g = graph();
    const part = g.state('part', tensorSlice(state, 16, [16]));
    using program = compile(g, { outputs: {}, effects: [ops.accumulate(part, g.input('x', 'f32', [16]))] });
    await program.run({ x: new Float32Array(16).fill(2) });
    await program.run({ x: new Float32Array(16).fill(3) });
    const expected = new Float32Array(32).fill(1);
    expected.fill(6, 16);
    expect(new Float32Array(await state.buffer.read(0, 128))).toEqual(expected);
    state.buffer.dispose();
  });

  it('are refused where tensors lie on different devices, naming both', () => {
    const here = tensor('f32', [4], new Float32Array(4));
    const there = tensor('f32', [4], new Float32Array(4), device);
    const g = graph();
    const y = ops.add(g.weight('here', here), g.weight('there', there));
    expect(() => compile(g, { outputs: { y } })).toThrow(DeviceError);
    expect(() => compile(g, { outputs: { y } })).toThrow(/\[add\] uses memory of cuda in a program that uses memory of cpu/);
    const h = graph();
    expect(() => compile(h, { outputs: { y: ops.scale(h.weight('here', here), 2) }, device })).toThrow(
      /memory of cpu in a program for cuda/,
    );
    here.buffer.dispose();
    there.buffer.dispose();
  });

  it('give their memory back, also when they are disposed while they run', async () => {
    const before = held();
    const g = graph();
    let y = g.input('x', 'f32', ['rows', 64]);
    for (let i = 0; i < 20; i++) y = ops.softmax(ops.scale(y, 1.5));
    const program = compile(g, { outputs: { y }, extents: { rows: { max: 64 } }, device });
    expect(held().bytes).toBeGreaterThan(before.bytes);
    const running = program.run({ x: normal(64 * 64, 5) });
    program.dispose();
    expect((await running).y?.length).toBe(64 * 64);
    await until(() => held().bytes <= before.bytes && held().blocks <= before.blocks, 'the memory comes back');
  });

  it('that end early leave nothing of what they refused to the next run', async () => {
    const bound = (dims: number[], data?: Int32Array) => {
      const made = data === undefined ? emptyTensor('f32', dims, device) : tensor('i32', dims, data, device);
      return { ...newValue(made.dtype, dims), bound: made };
    };
    const x = bound([4, 8]);
    const [there, beyond] = [bound([2], Int32Array.of(0, 3)), bound([2], Int32Array.of(0, 4))];
    const [y, narrow] = [bound([2, 8]), bound([2, 7])];
    const planned = (nodes: [typeof x, typeof x][]) =>
      compilePlan({
        nodes: nodes.map(([rows, to]) => ({ op: 'gather_rows', inputs: [x, rows], outputs: [to], attrs: {} })),
        inputs: [],
        outputs: [],
        extents: new Map(),
        feeds: [],
      });
    // The kernel of the first refuses a row while the second is refused on the host.
    const [wrong, right] = [
      planned([
        [beyond, y],
        [there, narrow],
      ]),
      planned([[there, y]]),
    ];
    await expect(wrong.run({})).rejects.toThrow(/\[gather_rows\] .*f32 \[2, 7\]/);
    await right.run({});
    for (const program of [wrong, right]) program.dispose();
    for (const { bound: held } of [x, there, beyond, y, narrow]) held.buffer.dispose();
  });

  it('take no optimiser step over gradients of which some were refused', async () => {
    const [table, parameters, velocity] = [
      tensor('f32', [4, 8], normal(32, 7), device),
      emptyTensor('f32', [2, 8], device),
      emptyTensor('f32', [2, 8], device),
    ];
    const g = graph();
    const gradients = ops.embedding(g.input('ids', 'i32', [2]), g.weight('table', table));
    const state = { parameters: g.parameter('parameters', parameters), velocity: g.state('velocity', velocity) };
    const { applied } = ops.sgd({ ...state, gradients, schedule: g.input('rate', 'f32', [1]) });
    using program = compile(g, { outputs: { applied } });
    const rate = Float32Array.of(1);
    await expect(program.run({ ids: Int32Array.of(0, 4), rate })).rejects.toThrow(/ids\[1\] is 4: expected less than 4/);
    expect(new Float32Array(await parameters.buffer.read(0, 64))).toEqual(new Float32Array(16));
    expect((await program.run({ ids: Int32Array.of(0, 3), rate })).applied).toEqual(Int32Array.of(1));
    expect(new Float32Array(await parameters.buffer.read(0, 64))).not.toEqual(new Float32Array(16));
    for (const held of [table, parameters, velocity]) held.buffer.dispose();
  });

  it('stop when their signal is aborted, and run again afterwards', async () => {
    const g = graph();
    const y = ops.softmax(g.input('x', 'f32', ['rows', 64]));
    const feeds = [{ output: 'y', input: 'x' }];
    using program = compile(g, { outputs: { y }, extents: { rows: { max: 8 } }, feeds, device });
    const controller = new AbortController();
    const x = normal(64, 6);
    const run = program.runBurst({ x }, { signal: controller.signal, steps: 1_000_000 });
    setTimeout(() => controller.abort(), 20);
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    expect((await program.run({ x })).y?.length).toBe(64);
  });
});
