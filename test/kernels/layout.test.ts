import { describe, expect, it } from 'vitest';
import { compile, gradient, graph, ops, type Tensor } from '../../lib/index.js';
import { checkOp, f32, i32, runOp } from './check_op.ts';
import * as cases from './layout.cases.ts';
import * as reference from './layout.reference.ts';
import { testedDevices, testsCpu } from './test_devices.ts';

checkOp('concat_columns', { cases: cases.concatColumnsCases, reference: reference.concatColumns });
checkOp('concat_rows', { cases: cases.concatRowsCases, reference: reference.concatRows });
checkOp('slice_rows', { cases: cases.sliceRowsCases, reference: reference.sliceRows });
checkOp('pad_rows', { cases: cases.padRowsCases, reference: reference.padRows });
checkOp('swap_axes', { cases: cases.swapAxesCases, reference: reference.swapAxes });
checkOp('scatter_add_rows', { cases: cases.scatterAddRowsCases, reference: reference.scatterAddRows });
checkOp('replace_rows', { cases: cases.replaceRowsCases, reference: reference.replaceRows });

describe.each(testedDevices)('scatter_add_rows on $name', (device) => {
  // Few rows, many that share a row with few others, many that share one row: the sums of each in f32, one after another.
  it.each([
    [100, 3],
    [1000, 100],
    [1000, 1],
  ])('sums %i rows into %i in rising order', async (count, sums) => {
    const x = f32([count, 5]);
    const rows = i32(
      [count],
      Array.from({ length: count }, (_, i) => (i * 7919) % sums),
    );
    const { y } = await runOp(
      'scatter_add_rows',
      { name: 'order', inputs: { x, rows }, outputs: { y: { dtype: 'f32', dims: [sums, 5] } } },
      device,
    );
    const expected = new Float32Array(sums * 5);
    x.values.forEach((v, i) => {
      const at = (rows.values[Math.floor(i / 5)] as number) * 5 + (i % 5);
      expected[at] = (expected[at] as number) + v;
    });
    expect(y).toEqual(Float64Array.from(expected));
  });
});

describe.skipIf(!testsCpu)('rows of symbolic extent', () => {
  const g = graph();
  const x = g.input('x', 'f32', ['tokens', 2]);
  const pair = g.input('pair', 'f32', [2, 2]);

  it('join, swap and are summed by number, forwards and backwards', async () => {
    const rows = g.input('rows', 'i32', ['tokens']);
    const both = ops.concatRows([x, ops.scale(x, 2)]);
    const turned = ops.swapAxes(x);
    const sums = ops.scatterAddRows(x, rows, pair);
    const total = ops.sumRows(x);
    const spread = ops.repeatRows(total, x);
    const columns = ops.repeatColumns(ops.reduce(x, 'sum'), x);
    const [dx] = gradient(both, [x], { upstream: ops.concatRows([x, x]) }) as [Tensor];
    const program = compile(g, { outputs: { both, turned, sums, spread, columns, dx }, extents: { tokens: { max: 4 } } });
    const got = await program.run({
      x: Float32Array.of(1, 2, 3, 4, 5, 6),
      rows: Int32Array.of(1, -1, 1),
    });
    program.dispose();
    const expected = {
      both: [1, 2, 3, 4, 5, 6, 2, 4, 6, 8, 10, 12],
      turned: [1, 3, 5, 2, 4, 6],
      sums: [0, 0, 6, 8],
      spread: [9, 12, 9, 12, 9, 12],
      columns: [3, 3, 7, 7, 11, 11],
      dx: [3, 6, 9, 12, 15, 18],
    };
    for (const [name, values] of Object.entries(expected)) expect(Array.from(got[name] as Float32Array), name).toEqual(values);
  });

  it('are refused where they do not fit', () => {
    expect(() => ops.concatRows([x, pair])).toThrow('[concat_rows] a is [tokens, 2] and b is [2, 2]: expected rows that add up to');
    expect(() => ops.sliceRows(pair, 1, 3)).toThrow('[slice_rows] x is [2, 2]: cannot take rows 1 to 3');
    expect(() => ops.concatRows([])).toThrow('[concat_rows] got no tensors');
    expect(() => ops.repeatColumns(pair, x)).toThrow('[repeat_columns] x is [2, 2] but like is [tokens, 2]: expected one dimension more');
    expect(() => ops.swapAxes(ops.sumRows(x))).toThrow('[swap_axes] x is [2]: expected 2 or 3 dimensions');
  });
});
