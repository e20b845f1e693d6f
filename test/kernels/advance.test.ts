import { describe, expect, it } from 'vitest';
import { newValue } from '../../lib/plan/ir.js';
import { compilePlan } from '../../lib/plan/plan.js';
import { tensor } from '../../lib/runtime/device_tensor.js';
import { viewAs } from '../../lib/runtime/dtype.js';
import { checkOp, i32, type OpCase } from './check_op.ts';
import { advance } from './sampling.reference.ts';
import { capacity } from './sampling_step.ts';
import { testsCpu } from './test_devices.ts';

const turn = (name: string, more: Partial<OpCase['inputs']> = {}, rest: Partial<OpCase> = {}): OpCase => {
  // Row: 0 goes on, 1 stops, 2 is full, 3 ended before, 4 stops and is full at once, 5 goes on although its padding is -1.
  const rows = 6;
  const integers = Array.from({ length: rows }, (_, r) => [0, 0, 0, 0, rows - 1 - r, [9, 9, 4, 9, 4, 9][r] as number, 0, 0]).flat();
  return {
    name,
    inputs: {
      token: i32([rows], [11, 12, 13, -1, 12, 14]),
      positions: i32([rows], [2, 2, 2, -1, 2, 7]),
      integers: i32([rows, 8], integers),
      history: i32([rows, capacity], new Array(rows * capacity).fill(0)),
      historyState: i32([rows, 2], new Array(rows).fill([1, 3]).flat()),
      stopTokens: i32([rows, 2], [12, -1, 5, 12, -1, -1, 12, 12, 7, 12, -1, -1]),
      ...more,
    },
    outputs: Object.fromEntries(
      ['nextToken', 'nextPosition', 'state', 'running'].map((output) => [
        output,
        { dtype: 'i32' as const, dims: [output === 'running' ? 1 : rows] },
      ]),
    ),
    ...rest,
  };
};
checkOp('advance', {
  cases: [
    turn('every way a step can end'),
    turn('no stop tokens', { stopTokens: i32([6, 0], []) }),
    turn(
      'a full history',
      { historyState: i32([6, 2], [1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, capacity]) },
      { error: /row 0: its history has length 24: expected room for one more token in 24/ },
    ),
    turn('no such slot', { integers: i32([6, 8], new Array(48).fill(6)) }, { error: /row 0: its history slot is 6: expected 0 to 5/ }),
    turn('no token', { token: i32([6], new Array(6).fill(-1)) }, { error: /row 0: its token is -1/ }),
    turn('too few positions', { positions: i32([5], [1, 1, 1, 1, 1]) }, { error: /positions is i32 \[5\]: expected i32 \[6\]/ }),
  ],
  reference: advance,
});

describe.skipIf(!testsCpu)('advance', () => {
  it('appends to the history of the row, and only of rows that go on', async () => {
    const ints = (dims: number[], list: number[]) => tensor('i32', dims, Int32Array.from(list));
    const held = {
      token: ints([3], [5, 6, 7]),
      positions: ints([3], [4, -1, 0]),
      integers: ints([3, 8], [0, 0, 0, 0, 2, 99, 0, 0, 0, 0, 0, 0, 1, 99, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0]),
      history: ints([3, 4], [9, 0, 0, 0, 9, 9, 0, 0, 9, 9, 0, 0]),
      historyState: ints([3, 2], [1, 1, 1, 2, 2, 2]),
      stopTokens: ints([3, 1], [7, 7, 7]),
    };
    const list = newValue('i32', [3]);
    const program = compilePlan({
      nodes: [
        {
          op: 'advance',
          inputs: Object.values(held).map((bound) => ({ ...newValue('i32', bound.dims), bound })),
          outputs: [list, newValue('i32', [3]), newValue('i32', [3]), newValue('i32', [1])],
          attrs: {},
        },
      ],
      inputs: [],
      outputs: [{ name: 'nextToken', value: list }],
      extents: new Map(),
      feeds: [],
    });
    const read = async (bound: (typeof held)['history'], count: number) => [...viewAs('i32', await bound.buffer.read(0, count * 4))];
    await program.run({});
    expect(await read(held.history, 12)).toEqual([9, 7, 0, 0, 9, 9, 0, 0, 9, 9, 5, 0]);
    expect(await read(held.historyState, 6)).toEqual([1, 2, 1, 2, 2, 3]);
    await program.run({});
    expect(await read(held.history, 12)).toEqual([9, 7, 7, 0, 9, 9, 0, 0, 9, 9, 5, 5]);
    expect(await read(held.historyState, 6)).toEqual([1, 3, 1, 2, 2, 4]);
    await expect(program.run({})).rejects.toThrow(/row 0: its history has length 4/);
    program.dispose();
    for (const bound of Object.values(held)) bound.buffer.dispose();
  });
});
