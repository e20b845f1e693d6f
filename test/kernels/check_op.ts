// Runs one op on every CPU target and thread count and on a CUDA device, and compares with its float64 definition.
import { afterAll, describe, expect, it } from 'vitest';
import { type OpName, opTable } from '../../lib/generated/op_table.js';
import { newValue, type Value } from '../../lib/plan/ir.js';
import { compilePlan } from '../../lib/plan/plan.js';
import { binding } from '../../lib/runtime/binding.js';
import { cpu, type Device } from '../../lib/runtime/device.js';
import { type DeviceTensor, emptyTensor } from '../../lib/runtime/device_tensor.js';
import { type DType, dtypeBytes, type TensorData, viewAs } from '../../lib/runtime/dtype.js';
import { fromBits, randomNormal, toBits } from './numbers.ts';
import { type PackedWeight, rowMajorValues } from './packed_weight.ts';
import { hasCudaKernel, testedCuda, testsCpu } from './test_devices.ts';

/** A tensor of a test case: its exact values as float64, and the same as the bytes that the kernel reads. */
export interface Operand {
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Values after rounding to dtype, dense, row-major. */
  readonly values: Float64Array;
  /** Elements between rows when the kernel sees columns of a wider tensor; undefined: dense. */
  readonly stride?: number;
  /** Columns of the wider tensor before the first that the kernel sees; undefined: none. */
  readonly first?: number;
  /** A packed weight of linear: its values are in the CPU's order. */
  readonly packed?: PackedWeight;
}

export type Reference = (
  inputs: Record<string, Operand | undefined>,
  attrs: Record<string, number | boolean | string>,
  outputs: Record<string, readonly number[]>,
) => Record<string, ArrayLike<number>>;

export interface OpCase {
  name: string;
  inputs: Record<string, Operand | undefined>;
  attrs?: Record<string, number | boolean | string>;
  /** Types of the outputs; those in place over an input may be left out. `stride` and `first` make it columns of a wider tensor. */
  outputs?: Record<string, { dtype: DType; dims: readonly number[]; stride?: number; first?: number }>;
  /** Terms summed into one output element. */
  reduction?: number;
  /** A case may loosen the tolerance, but says why. */
  because?: string;
  loosen?: number;
  /** Added to the tolerance in terms of the largest output of the row, for results of cancellation. */
  absolute?: number;
  /** The kernel must refuse with this message. */
  error?: RegExp;
}

const elements = (dims: readonly number[]): number => dims.reduce((n, d) => n * d, 1);

let seed = 1;

function make(dtype: DType, dims: readonly number[], values?: ArrayLike<number>, stride?: number, first?: number): Operand {
  const count = elements(dims);
  const source = values ?? randomNormal(count, seed++);
  if (source.length !== count) throw new Error(`operand [${dims}] has ${count} elements, got ${source.length}`);
  return { dtype, dims, values: fromBits(dtype, toBits(dtype, source)), stride, first };
}

function maker(dtype: DType) {
  return Object.assign((dims: readonly number[], values?: ArrayLike<number>): Operand => make(dtype, dims, values), {
    fill: (dims: readonly number[], value: number): Operand => make(dtype, dims, new Float64Array(elements(dims)).fill(value)),
    strided: (dims: readonly number[], stride: number, values?: ArrayLike<number>, first?: number): Operand =>
      make(dtype, dims, values, stride, first),
  });
}

export const f32 = maker('f32');
export const f16 = maker('f16');
export const bf16 = maker('bf16');
export const i32 = maker('i32');
export const u8 = (dims: readonly number[], bytes: Uint8Array): Operand => ({ dtype: 'u8', dims, values: Float64Array.from(bytes) });

const ulp: Record<DType, number> = { f32: 2 ** -23, f16: 2 ** -10, bf16: 2 ** -7, i32: 0, u8: 0 };

// Halfway between the largest f32 and the next that there would be.
const f32Limit = 2 ** 128 - 2 ** 103;

/** The one tolerance: some ulp of the output's dtype, growing with the square root of the terms summed. Relative to `scale`. */
export function tolerance(dtype: DType, reduction: number): number {
  return ulp[dtype] * (4 + 2 * Math.sqrt(reduction));
}

/** The values of an operand in the order that a device holds them in. */
export const valuesOn = (device: Device, { dims, packed, values }: Operand): Float64Array =>
  packed === undefined || device.ordinal === undefined ? values : rowMajorValues(dims, packed, values);

// Memory that the op sees: dense, or rows `stride` apart inside a wider tensor whose other columns are a pattern that must survive.
function place(operand: Operand, device: Device): { tensor: DeviceTensor; value: Value } {
  const { dtype, dims, stride, first = 0 } = operand;
  const rows = dims[0] ?? 1;
  const inner = elements(dims.slice(1));
  const bits = toBits(dtype, valuesOn(device, operand));
  if (stride === undefined) {
    const tensor = emptyTensor(dtype, dims, device);
    void tensor.buffer.write(0, bits);
    return { tensor, value: { ...newValue(dtype, dims), bound: tensor } };
  }
  const tensor = emptyTensor(dtype, [rows, stride], device);
  const wide = toBits(dtype, new Float64Array(rows * stride).fill(7)) as Uint16Array;
  for (let r = 0; r < rows; r++) wide.set((bits as Uint16Array).subarray(r * inner, (r + 1) * inner), r * stride + first);
  void tensor.buffer.write(0, wide);
  const owner: Value = { ...newValue(dtype, [rows, stride]), bound: tensor };
  const columns: Value = { ...newValue(dtype, [rows, inner]), viewOf: owner, firstColumn: first };
  return { tensor, value: dims.length === 2 ? columns : { ...newValue(dtype, dims), viewOf: columns } };
}

async function read(
  operand: { dtype: DType; dims: readonly number[]; stride?: number; first?: number },
  tensor: DeviceTensor,
): Promise<{ values: Float64Array; padding: boolean }> {
  const bits = viewAs(operand.dtype, await tensor.buffer.read(tensor.offset, elements(tensor.dims) * dtypeBytes[operand.dtype]));
  const all = fromBits(operand.dtype, bits);
  if (operand.stride === undefined) return { values: all, padding: true };
  const { first = 0 } = operand;
  const inner = elements(operand.dims.slice(1));
  const values = new Float64Array(elements(operand.dims));
  let padding = true;
  for (let r = 0; r < (operand.dims[0] ?? 1); r++)
    for (let c = 0; c < operand.stride; c++) {
      const x = all[r * operand.stride + c] as number;
      if (c >= first && c < first + inner) values[r * inner + c - first] = x;
      else if (x !== 7) padding = false;
    }
  return { values, padding };
}

/** Runs an op once and returns its outputs; those in place come from the operand's memory. */
export async function runOp(op: OpName, test: OpCase, device: Device = cpu): Promise<Record<string, Float64Array>> {
  const info = opTable[op] as { inputs: readonly string[]; outputs: readonly string[]; alias: Readonly<Record<string, string>> };
  const operands = info.inputs.map((name) => (test.inputs[name] === undefined ? undefined : place(test.inputs[name], device)));
  const results = info.outputs.map((name) => {
    const over = info.alias[name];
    const index = over === undefined ? -1 : info.inputs.indexOf(over);
    if (index >= 0) {
      const type = test.inputs[over as string] as Operand;
      return { name, type, tensor: (operands[index] as { tensor: DeviceTensor }).tensor, value: newValue(type.dtype, type.dims) };
    }
    const type = test.outputs?.[name];
    if (type === undefined) throw new Error(`${op}: case '${test.name}' gives no type for output ${name}`);
    const fill = new Float64Array(elements(type.dims));
    return { name, type, ...place({ ...type, values: fill }, device) };
  });
  const program = compilePlan({
    nodes: [{ op, inputs: operands.map((o) => o?.value), outputs: results.map((r) => r.value), attrs: test.attrs ?? {} }],
    inputs: [],
    outputs: [],
    extents: new Map(),
    feeds: [],
  });
  try {
    await program.run({});
    const outputs: Record<string, Float64Array> = {};
    for (const { name, type, tensor } of results) {
      const { values, padding } = await read(type, tensor);
      expect(padding, `${op} wrote outside the columns of ${name}`).toBe(true);
      outputs[name] = values;
    }
    return outputs;
  } finally {
    program.dispose();
    for (const held of [...operands, ...results]) held?.tensor.buffer.dispose();
  }
}

function compare(op: OpName, test: OpCase, name: string, dtype: DType, actual: Float64Array, expected: ArrayLike<number>): void {
  expect(actual.length, `${op}.${name}: number of elements`).toBe(expected.length);
  const dims = test.outputs?.[name]?.dims ?? [];
  const width = Math.max(1, dims.at(-1) ?? 1);
  const relative = tolerance(dtype, test.reduction ?? 1) * (test.loosen ?? 1);
  let row = 0;
  for (let i = 0; i < actual.length; i++) {
    const a = actual[i] as number;
    // What is beyond f32 is infinite there.
    const e = dtype === 'f32' && Math.abs(expected[i] as number) >= f32Limit ? Math.fround(expected[i] as number) : (expected[i] as number);
    // Sums cancel: judge an element against the size of its row, never against its own smallness alone.
    if (i % width === 0) {
      row = 0;
      for (let j = i; j < Math.min(actual.length, i + width); j++) row = Math.max(row, Math.abs(expected[j] as number));
    }
    if (Object.is(a, e) || a === e || (Number.isNaN(a) && Number.isNaN(e))) continue;
    const size = (test.reduction ?? 1) > 1 && Number.isFinite(row) ? row : Math.abs(e);
    const allowed = relative * size + (test.absolute ?? 0) + 2e-45;
    if (!Number.isFinite(e) || !(Math.abs(a - e) <= allowed))
      throw new Error(
        `${op}.${name}[${i}] is ${a}, expected ${e} within ${allowed.toExponential(2)} (off by ${Math.abs(a - e).toExponential(2)})`,
      );
  }
}

// Where a case runs, and how often.
interface Run {
  readonly name: string;
  readonly device: Device;
  readonly target?: string;
  readonly threads: readonly number[];
}

function runsOf(op: OpName, cpuOnly: boolean): Run[] {
  const targets = testsCpu ? binding().cpu().targets : [];
  const runs: Run[] = targets.map((target) => ({ name: target, device: cpu, target, threads: [1, 2, 2] }));
  if (testedCuda !== undefined && hasCudaKernel(op) && !cpuOnly) runs.push({ name: 'cuda', device: testedCuda, threads: [1, 1] });
  return runs;
}

async function checkRun(op: OpName, test: OpCase, run: Run, expected: Record<string, ArrayLike<number>>): Promise<void> {
  const native = binding();
  if (run.target !== undefined) await native.setCpuTarget(run.target);
  if (test.error !== undefined) {
    await expect(runOp(op, test, run.device), run.name).rejects.toThrow(test.error);
    return;
  }
  let first: Record<string, Float64Array> | undefined;
  for (const count of run.threads) {
    native.setThreads(count);
    const actual = await runOp(op, test, run.device);
    for (const [name, values] of Object.entries(expected)) {
      const got = actual[name] as Float64Array;
      const alias = (opTable[op].alias as Record<string, string>)[name];
      const dtype = (alias === undefined ? test.outputs?.[name]?.dtype : test.inputs[alias]?.dtype) as DType;
      try {
        compare(op, test, name, dtype, got, values);
      } catch (error) {
        throw new Error(`${run.name}, ${count} thread(s): ${(error as Error).message}`);
      }
      if (first !== undefined)
        expect(
          Buffer.from(got.buffer).equals(Buffer.from((first[name] as Float64Array).buffer)),
          `${run.name}: bits of ${name} depend on threads or run`,
        ).toBe(true);
    }
    first ??= actual;
  }
}

/**
 * Registers the tests of an op: every case on every CPU target with 1 and 2 threads, twice, and twice on a CUDA device where there is one and
 * the op has a kernel for it; bits must agree between thread counts and runs. `cpuOnly`: operands laid out as no device but the processor has them.
 */
export function checkOp(
  op: OpName,
  { cases, reference, cpuOnly = false }: { cases: readonly OpCase[]; reference: Reference; cpuOnly?: boolean },
): void {
  const native = binding();
  const { threads } = native.cpu();
  const best = native.cpu().target;
  const runs = runsOf(op, cpuOnly);
  describe.skipIf(runs.length === 0)(op, () => {
    afterAll(async () => {
      native.setThreads(threads);
      await native.setCpuTarget(best);
    });
    for (const test of cases)
      it(test.name, async () => {
        if (test.loosen !== undefined && test.because === undefined)
          throw new Error('a case that loosens the tolerance says why in `because`');
        const dims = Object.fromEntries(Object.entries(test.outputs ?? {}).map(([name, type]) => [name, type.dims]));
        const expected = test.error === undefined ? reference(test.inputs, test.attrs ?? {}, dims) : {};
        for (const run of runs) await checkRun(op, test, run, expected);
      });
  });
}

export type { TensorData };
