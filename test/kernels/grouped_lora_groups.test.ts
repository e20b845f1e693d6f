// Rows of B as the processor's adapters have them: in groups whose pieces alternate.
import { describe, expect, it } from 'vitest';
import { checkOp, i32, type OpCase, type Operand, runOp, u8 } from './check_op.ts';
import { dense, inGroups, loraCase, lowRank } from './grouped_lora.case.ts';
import { loraCases } from './grouped_lora.cases.ts';
import { groupedLora } from './grouped_lora.reference.ts';
import { testsCpu } from './test_devices.ts';

describe('rows of B in groups', () => {
  checkOp('grouped_lora', { cases: loraCases.map(inGroups), reference: groupedLora, cpuOnly: true });

  it.skipIf(!testsCpu).each(loraCases.map((test) => [test.name, test] as const))('have the bits of single rows: %s', async (_, test) => {
    const [single, grouped] = [await runOp('grouped_lora', test), await runOp('grouped_lora', inGroups(test))];
    expect(Buffer.from((grouped.y as Float64Array).buffer).equals(Buffer.from((single.y as Float64Array).buffer))).toBe(true);
  });

  const grouped = (error: RegExp, name: string, change: (entry: Int32Array, rows: Int32Array) => void, cut = 0): OpCase => {
    const test = inGroups(loraCase(name, [[lowRank(21)], [dense()]], [0, 0, 1]));
    const { entries, rows, pool } = test.inputs as Record<string, Operand>;
    const table = Int32Array.from((entries as Operand).values);
    const addresses = Int32Array.from((rows as Operand).values);
    change(table, addresses);
    const bytes = Uint8Array.from((pool as Operand).values).slice(0, ((pool as Operand).dims[0] as number) - cut);
    const operands = {
      entries: i32((entries as Operand).dims, table),
      rows: i32([addresses.length], addresses),
      pool: u8([bytes.length], bytes),
    };
    return { ...test, inputs: { ...test.inputs, ...operands }, error };
  };
  const outside = /do not all lie inside/;
  checkOp('grouped_lora', {
    cases: [
      grouped(outside, 'a group behind the table', (entry, rows) => {
        entry[4] = rows.length - 1;
      }),
      grouped(outside, 'a group before the table', (entry) => {
        entry[4] = -1;
      }),
      grouped(outside, 'the last group ends behind the pool', () => {}, 1),
      grouped(outside, 'a whole group ends behind the pool', (entry, rows) => {
        rows[entry[4] as number] = (rows[rows.length - 1] as number) - 15;
      }),
      grouped(outside, 'a group at a negative address', (_, rows) => {
        rows[rows.length - 1] = -1;
      }),
      grouped(/dtype 3/, 'groups of no float', (entry) => {
        entry[1] = 259;
      }),
      grouped(/dtype 258/, 'a whole weight in groups', (entry) => {
        entry[2 * 8 + 1] = 258;
      }),
    ],
    reference: groupedLora,
    cpuOnly: true,
  });
});
