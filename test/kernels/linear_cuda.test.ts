// Which bits of a CUDA device's products do not depend on the rows beside.
import { describe, expect, it } from 'vitest';
import type { OpName } from '../../lib/generated/op_table.js';
import { f32, type OpCase, runOp } from './check_op.ts';
import { packWeight, type WeightType } from './linear.reference.ts';
import { randomNormal } from './numbers.ts';
import { testedCuda } from './test_devices.ts';

const [k, outputs, most] = [840, 75, 140];

async function rowsAgree(op: OpName, groups: readonly (readonly number[])[], sum: number, make: (rows: number) => OpCase): Promise<void> {
  for (const group of groups) {
    const longest = await runOp(op, make(group.at(-1) as number), testedCuda);
    const [name, whole] = Object.entries(longest)[0] as [string, Float64Array];
    const width = whole.length / (group.at(-1) as number);
    expect(whole.some((value) => value !== 0)).toBe(true);
    for (const rows of group) {
      const part = (await runOp(op, make(rows), testedCuda))[name] as Float64Array;
      expect(Buffer.from(part.buffer).equals(Buffer.from(whole.slice(0, rows * width).buffer)), `${rows} rows, sums of ${sum}`).toBe(true);
    }
  }
}

describe.skipIf(testedCuda === undefined)('products on a CUDA device', () => {
  const values = randomNormal(most * k, 3);
  const x = (rows: number, width: number) => f32([rows, width], values.subarray(0, rows * width));
  const out = (rows: number, width: number) => ({ dtype: 'f32' as const, dims: [rows, width] });
  const types: readonly WeightType[] = ['f32', 'f16', 'bf16'];
  const few = [1, 3, 8, 9, 17, 32];
  const many = [33, 64, 65, most];

  for (const dtype of types)
    for (const activation of ['fast', 'precise']) {
      it(`linear, ${dtype}, ${activation}: rows among few agree, and rows among many`, async () => {
        const weight = packWeight(dtype, outputs, k, randomNormal(outputs * k, 5));
        const groups =
          dtype === 'f32'
            ? [
                [1, 2, 4, 5, 8],
                [9, 32, ...many],
              ]
            : [few, many];
        await rowsAgree('linear', groups, k, (rows) => ({
          name: '',
          inputs: { x: x(rows, k), weight },
          attrs: { activation },
          outputs: { y: out(rows, outputs) },
        }));
      });
      it(`linear_grad, ${dtype}, ${activation}: rows agree among as many terms`, async () => {
        const weight = packWeight(dtype, k, outputs, randomNormal(outputs * k, 5));
        const groups = dtype === 'f16' && activation === 'fast' ? [few, many] : [[...few, ...many]];
        await rowsAgree('linear_grad', groups, k, (rows) => ({
          name: '',
          inputs: { dy: x(rows, k), weight },
          attrs: { activation },
          outputs: { dx: out(rows, outputs) },
        }));
      });
    }

  it('matmul: rows agree, whichever tiles are taken', async () => {
    const b = f32([k, 264]);
    await rowsAgree('matmul', [[1, 12, 33, 65, most]], k, (rows) => ({
      name: '',
      inputs: { a: x(rows, k), b },
      attrs: { transposeA: false, transposeB: false },
      outputs: { y: out(rows, 264) },
    }));
  });
});
