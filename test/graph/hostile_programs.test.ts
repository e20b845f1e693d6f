// Encoded programs that were tampered with: the native side refuses them, or runs them without leaving its memory.
import { describe, expect, it } from 'vitest';
import { opTable, opTableHash } from '../../lib/generated/op_table.js';
import { compile, graph, loadModel, ops, type Program, packedWeight, tensor } from '../../lib/index.js';
import { binding, type NativeBuffer } from '../../lib/runtime/binding.js';
import type { TensorData } from '../../lib/runtime/dtype.js';
import { randomNormal, uniform } from '../kernels/numbers.js';
import { adapterFolder, modelFolder } from '../models/fixture_files.js';

type Native = InstanceType<ReturnType<typeof binding>['Program']>;
interface Recorded {
  bytes: Uint8Array;
  buffers: NativeBuffer[];
  ordinal: number | undefined;
  runs: { extents: number[]; inputs: TensorData[]; steps: number }[];
}

/** Runs `work` and notes every program that it makes, and what it runs them with. */
async function recorded(work: () => Promise<void>): Promise<Recorded[]> {
  const native = binding();
  const Original = native.Program;
  const made: Recorded[] = [];
  native.Program = new Proxy(Original, {
    construct(target, [bytes, buffers, ordinal]: [Uint8Array, NativeBuffer[], number | undefined]) {
      const program = new target(bytes, buffers, ordinal);
      const record: Recorded = { bytes: Uint8Array.from(bytes), buffers, ordinal, runs: [] };
      made.push(record);
      const run = program.run.bind(program);
      const value: Native['run'] = (extents, inputs, steps, control) => {
        if (record.runs.length < 3) record.runs.push({ extents, inputs: inputs.map((i) => i.slice()), steps });
        return run(extents, inputs, steps, control);
      };
      Object.defineProperty(program, 'run', { value });
      return program;
    },
  });
  try {
    await work();
  } finally {
    native.Program = Original;
  }
  return made;
}

async function simpleProgram(): Promise<Recorded> {
  const [record] = await recorded(async () => {
    const g = graph();
    const x = g.input('x', 'f32', ['n', 12]);
    const weight = g.weight('w', await packedWeight(Float32Array.from(randomNormal(12 * 12, 1)), 12, 12));
    const norm = g.weight('v', tensor('f32', [12], new Float32Array(12).fill(1)));
    const y = ops.linear(ops.rmsNorm(x, norm, { eps: 1e-6 }), weight, { outputs: 12 });
    const program: Program = compile(g, { outputs: { y: ops.add(ops.relu(y.columns(0, 12)), x) }, extents: { n: { max: 6 } } });
    await program.run({ x: Float32Array.from(randomNormal(36, 2)) });
  });
  return record as Recorded;
}

const build = (bytes: Uint8Array, buffers: NativeBuffer[], ordinal?: number): Native => new (binding().Program)(bytes, buffers, ordinal);

// The code that the native side gives its own refusals.
const refusal = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect((error as { code?: string }).code).toBe('ERR_HEDDLE_PROGRAM');
    return (error as Error).message;
  }
  throw new Error('expected a refusal');
};

describe('the native side refuses', () => {
  it('a program for another set of operations, and says which', async () => {
    const { bytes, buffers } = await simpleProgram();
    const other = Uint8Array.from(bytes);
    other.set(Buffer.from('0123456789abcdef'), 4);
    expect(refusal(() => build(other, buffers))).toBe(
      `encoded program: made for op table 0123456789abcdef, this library has ${opTableHash}`,
    );
  });

  it('bytes that are no program, cut short, or too long', async () => {
    const { bytes, buffers } = await simpleProgram();
    expect(refusal(() => build(new Uint8Array(0), buffers))).toBe('encoded program: does not begin with HLD1');
    expect(refusal(() => build(new Uint8Array(500).fill(255), buffers))).toBe('encoded program: does not begin with HLD1');
    for (let length = 20; length < bytes.length; length++)
      expect(refusal(() => build(bytes.subarray(0, length), buffers))).toMatch(/^encoded program: |^program: /);
    expect(refusal(() => build(Uint8Array.from([...bytes, 0]), buffers))).toBe('encoded program: has bytes after its end');
  });

  it('buffers that are missing or too small', async () => {
    const { bytes, buffers } = await simpleProgram();
    expect(refusal(() => build(bytes, buffers.slice(1)))).toMatch(/^program: wants 2 bound buffers, got 1$/);
    const tiny = new (binding().Buffer)(16);
    expect(
      refusal(() =>
        build(
          bytes,
          buffers.map(() => tiny),
        ),
      ),
    ).toMatch(/^program: tensor \d+ ends at byte \d+ of a buffer of 16$/);
  });

  it('extents and inputs that do not belong to it', async () => {
    const { bytes, buffers, runs } = await simpleProgram();
    const program = build(bytes, buffers);
    const { extents, inputs } = runs[0] as Recorded['runs'][number];
    await expect(program.run([7], inputs, 1)).rejects.toThrow('run: extent 0 is 7: expected 0 to 6');
    await expect(program.run([-1], inputs, 1)).rejects.toThrow('run: extent 0 is -1: expected 0 to 6');
    await expect(program.run([], inputs, 1)).rejects.toThrow('run: wrong number of extents or inputs');
    await expect(program.run(extents, [], 1)).rejects.toThrow('run: wrong number of extents or inputs');
    await expect(program.run(extents, [new Float32Array(3)], 1)).rejects.toThrow('run: input 0 has 12 bytes: expected 144');
    expect((await program.run(extents, inputs, 1)).steps).toBe(1);
  });
});

/** Changes a few bytes, as a lie about a count, a size or a number of something would. */
function mutate(bytes: Uint8Array, next: () => number): Uint8Array {
  const changed = Uint8Array.from(bytes);
  const view = new DataView(changed.buffer);
  const body = 20; // after the magic and the hash, which are checked first
  for (let n = 1 + Math.floor(next() * 3); n > 0; n--) {
    const at = body + Math.floor(next() * (changed.length - body - 8));
    const kind = next();
    if (kind < 0.3) changed[at] = Math.floor(next() * 256);
    else if (kind < 0.5) changed[at] = (changed[at] as number) ^ (1 << Math.floor(next() * 8));
    else if (kind < 0.7) view.setUint32(at, Math.floor(next() * 40), true);
    else if (kind < 0.8) view.setUint32(at, 0xffffffff, true);
    else if (kind < 0.9) view.setBigInt64(at, BigInt(Math.floor(next() * 64)), true);
    else changed.copyWithin(at, body + Math.floor(next() * (changed.length - body - 16)), changed.length - 16);
  }
  return changed;
}

/** Tries `count` mutations, and what they would be run with. Gives how many were refused, and how many ran or failed while running. */
async function torture(record: Recorded, count: number, seed: number): Promise<{ refused: number; built: number }> {
  const next = uniform(seed);
  const seen = { refused: 0, built: 0 };
  for (let i = 0; i < count; i++) {
    let program: Native;
    try {
      program = build(mutate(record.bytes, next), record.buffers, record.ordinal);
    } catch (error) {
      expect((error as { code?: string }).code).toMatch(/^ERR_HEDDLE_(PROGRAM|OUT_OF_MEMORY)$/);
      seen.refused++;
      continue;
    }
    seen.built++;
    for (const { extents, inputs, steps } of record.runs) {
      try {
        await program.run(extents, inputs, steps);
      } catch (error) {
        expect((error as { code?: string }).code).toMatch(/^ERR_HEDDLE_/);
      }
    }
    program.dispose();
  }
  return seen;
}

describe('random changes of an encoded program', () => {
  it('of a few operations', async () => {
    const record = await simpleProgram();
    const { refused, built } = await torture(record, 3000, 1);
    expect(refused).toBeGreaterThan(300);
    expect(built).toBeGreaterThan(300);
    const again = build(record.bytes, record.buffers, record.ordinal);
    const [run] = record.runs;
    expect((await again.run(run?.extents ?? [], run?.inputs ?? [], 1)).steps).toBe(1);
  });

  it('of a whole model', async () => {
    const tokens = Array.from({ length: 20 }, (_, i) => 3 + i);
    let model: Awaited<ReturnType<typeof loadModel>> | undefined;
    const records = await recorded(async () => {
      model = await loadModel(modelFolder('llama'), {
        adapters: { all: adapterFolder('lora-all-r3') },
        maxRequests: 8,
        maxStepTokens: 32,
        poolBytes: 4 << 20,
      });
      await model.complete({ tokens, maxTokens: 3, temperature: 0, ignoreEos: true, adapter: 'all' });
      await model.score({ tokens, adapter: 'all' });
    });
    expect(records).toHaveLength(2);
    for (const [i, record] of records.entries()) {
      const { refused, built } = await torture(record, 600, 10 + i);

      expect(refused + built).toBe(600);
      expect(built).toBeGreaterThan(50);
    }
    model?.dispose();
  });
});

it('knows every operation by one number', () => {
  const ids = Object.values(opTable).map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
});
