// What an op gives for a row has the same bits alone and among others, whatever the width: sums are cut by the width alone.
import { describe, expect, it } from 'vitest';
import type { OpName } from '../../lib/generated/op_table.js';
import { f32, i32, type OpCase, runOp } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { testedDevices } from './test_devices.ts';

const rows = 5;
const widths = [7, 129, 700, 8200, 17_000];

/** Rows `from` to before `to` of each op's operands. */
type Slice = (width: number, from: number, to: number) => OpCase;
const made = new Map<string, Float64Array>();
function matrix(width: number, from: number, to: number, seed: number) {
  const key = `${width} ${seed}`;
  const values = made.get(key) ?? randomNormal(rows * width, seed);
  made.set(key, values);
  return f32([to - from, width], values.slice(from * width, to * width));
}
const weight = (width: number) => f32([width], randomNormal(width, 3));
const like = (width: number, count: number) => ({ dtype: 'f32' as const, dims: [count, width] });
const norm = { eps: 1e-5, weightOffset: 0 };
const target = (from: number, to: number, width: number) =>
  i32(
    [to - from],
    Array.from({ length: to - from }, (_, i) => ((from + i) * 1013) % width),
  );

const ops: Partial<Record<OpName, Slice>> = {
  rms_norm: (width, from, to) => ({
    name: '',
    inputs: { x: matrix(width, from, to, 1), weight: weight(width) },
    attrs: norm,
    outputs: { y: like(width, to - from) },
  }),
  layer_norm_grad: (width, from, to) => ({
    name: '',
    inputs: { x: matrix(width, from, to, 1), weight: weight(width), dy: matrix(width, from, to, 2) },
    attrs: { eps: 1e-5 },
  }),
  softmax: (width, from, to) => ({ name: '', inputs: { x: matrix(width, from, to, 1) }, outputs: { y: like(width, to - from) } }),
  log_softmax_grad: (width, from, to) => ({ name: '', inputs: { y: matrix(width, from, to, 1), dy: matrix(width, from, to, 2) } }),
  token_logprob: (width, from, to) => ({
    name: '',
    inputs: { logits: matrix(width, from, to, 1), target: target(from, to, width) },
    outputs: { logprob: { dtype: 'f32', dims: [to - from] } },
  }),
  reduce: (width, from, to) => ({
    name: '',
    inputs: { x: matrix(width, from, to, 1) },
    attrs: { kind: 'sum' },
    outputs: { y: { dtype: 'f32', dims: [to - from] } },
  }),
};

for (const device of testedDevices)
  describe(`rows on ${device.name}`, () => {
    for (const [op, slice] of Object.entries(ops) as [OpName, Slice][])
      it(`of ${op} do not depend on their neighbours`, async () => {
        for (const width of widths) {
          const [together] = Object.values(await runOp(op, slice(width, 0, rows), device)) as [Float64Array];
          const each = together.length / rows;
          for (const row of [0, rows - 1]) {
            const [alone] = Object.values(await runOp(op, slice(width, row, row + 1), device)) as [Float64Array];
            const bits = Buffer.from(together.slice(row * each, (row + 1) * each).buffer);
            expect(Buffer.from(alone.buffer).equals(bits), `row ${row} of ${width} columns`).toBe(true);
          }
        }
      });
  });
