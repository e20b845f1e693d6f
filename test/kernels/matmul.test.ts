import { afterAll, describe, expect, it } from 'vitest';
import { compile, graph, ops } from '../../lib/index.js';
import { binding } from '../../lib/runtime/binding.js';
import { checkOp, f32, runOp } from './check_op.ts';
import { matmulCases } from './matmul.cases.ts';
import { matmul } from './matmul.reference.ts';
import { randomNormal } from './numbers.ts';
import { testsCpu } from './test_devices.ts';

checkOp('matmul', { cases: matmulCases, reference: matmul });

describe.skipIf(!testsCpu)('matmul', () => {
  const native = binding();
  const best = native.cpu().target;
  afterAll(() => native.setCpuTarget(best));
  const [k, columns, most] = [530, 75, 130];

  it.each([false, true])('a row has the same bits whatever the number of rows (b transposed: %s)', async (transposeB) => {
    const values = randomNormal(most * k, 3);
    const b = f32(transposeB ? [columns, k] : [k, columns]);
    const run = async (first: number, rows: number, transposeA: boolean): Promise<Float64Array> => {
      const part = values.subarray(first * k, (first + rows) * k);
      const turned = Float64Array.from({ length: part.length }, (_, i) => part[(i % rows) * k + Math.floor(i / rows)] as number);
      const a = transposeA ? f32([k, rows], turned) : f32([rows, k], part);
      const outputs = { y: { dtype: 'f32' as const, dims: [rows, columns] } };
      const { y } = await runOp('matmul', { name: '', inputs: { a, b }, attrs: { transposeA, transposeB }, outputs });
      return y as Float64Array;
    };
    for (const target of native.cpu().targets) {
      await native.setCpuTarget(target);
      const alone = new Map<number, Float64Array>();
      for (const row of [0, 1, 5, 11, 12, 63, 129]) alone.set(row, await run(row, 1, false));
      for (const rows of [2, 7, 12, 13, 64, most])
        for (const transposeA of [false, true]) {
          const together = await run(0, rows, transposeA);
          for (const [row, bits] of alone)
            if (row < rows) expect(together.slice(row * columns, (row + 1) * columns), `${target}: row ${row} of ${rows}`).toEqual(bits);
        }
    }
  });

  it('takes symbolic rows, symbolic k and a shared b', async () => {
    const g = graph();
    const x = g.input('x', 'f32', ['tokens', 6]);
    const w = g.input('w', 'f32', [6, 4]);
    const heads = g.input('heads', 'f32', ['tokens', 3, 6]);
    const outputs = { y: ops.matmul(x, w), gram: ops.matmul(x, x, { transposeA: true }), shared: ops.matmul(heads, w) };
    const program = compile(g, { outputs, extents: { tokens: { max: 9 } } });
    const data = { x: randomNormal(30, 1), w: randomNormal(24, 2), heads: randomNormal(90, 3) };
    const got = (await program.run(Object.fromEntries(Object.entries(data).map(([name, v]) => [name, Float32Array.from(v)])))) as Record<
      string,
      Float32Array
    >;
    program.dispose();
    const plain = { transposeA: false, transposeB: false };
    const check = (name: string, a: readonly number[], b: readonly number[], left: Float64Array, right: Float64Array, turn = false) => {
      const dims: [number, number] = [a[turn ? 1 : 0] as number, b[1] as number];
      const { y } = matmul({ a: f32(a, left), b: f32(b, right) }, { ...plain, transposeA: turn }, { y: dims });
      expect(got[name]?.length).toBe(dims[0] * dims[1]);
      got[name]?.forEach((v, i) => {
        expect(v).toBeCloseTo(y?.[i] as number, 4);
      });
    };
    check('y', [5, 6], [6, 4], data.x, data.w);
    check('gram', [5, 6], [5, 6], data.x, data.x, true);
    check('shared', [15, 6], [6, 4], data.heads, data.w);
  });

  it('refuses operands that do not fit', () => {
    const g = graph();
    const a = g.input('a', 'f32', ['tokens', 6]);
    const b = g.input('b', 'f32', [5, 4]);
    const cube = g.input('cube', 'f32', [2, 3, 5]);
    expect(() => ops.matmul(a, b)).toThrow('[matmul] a is [tokens, 6] but b is [5, 4]: expected b.shape[0] = 6');
    expect(() => ops.matmul(b, cube)).toThrow('[matmul] b is [2, 3, 5]: expected 2 dimensions');
    expect(() => ops.matmul(cube, b, { transposeA: true })).toThrow(
      '[matmul] a is [2, 3, 5] transposed but b is [5, 4]: expected b of rank 3',
    );
    expect(() => ops.matmul(a, g.input('h', 'f16', [6, 4]))).toThrow('b is f16: expected f32');
  });
});
