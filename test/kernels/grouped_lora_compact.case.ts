// Cases of grouped_lora whose bf16 factors the addon makes compact.
import { binding } from '../../lib/runtime/binding.js';
import { viewAs } from '../../lib/runtime/dtype.js';
import { i32, type OpCase, type Operand, u8 } from './check_op.ts';

const bf16Code = 2;
const compactRows = 512;
const groupRows = 16;
const rowUnit = 64;

/** Sites of the case's entries that have factors: the entry, and how wide rows of A and B are. */
function* factorsOf(test: OpCase, table: Int32Array): Generator<{ entry: Int32Array; inputs: number; outputs: number }> {
  const { x, entries, columns } = test.inputs as Record<string, Operand>;
  const [slots, sites] = (entries as Operand).dims as [number, number];
  const at = (columns as Operand).values;
  const inputs = (x as Operand).dims[1] as number;
  for (let slot = 0; slot < slots; slot++)
    for (let s = 0; s + 1 < at.length; s++) {
      const entry = table.subarray((slot * sites + (test.attrs?.site as number) + s) * 8).subarray(0, 8);
      if (entry[0] === 1 && entry[1] === bf16Code) yield { entry, inputs, outputs: (at[s + 1] as number) - (at[s] as number) };
    }
}

/** The same case with some numbers of its bf16 factors far from the others in both directions, and zeros: as many as a group may have. */
export function withOutliers(test: OpCase): OpCase {
  const { entries, rows, pool } = test.inputs as Record<string, Operand>;
  const table = Int32Array.from((entries as Operand).values);
  const bytes = Uint8Array.from((pool as Operand).values);
  const outliers = [0x0000, 0x8000, 0x0001, 0x4480, 0xc480, 0x2000, 0x8001, 0x0080];
  let found = 0;
  for (const { entry, inputs, outputs } of factorsOf(test, table))
    for (const [first, width] of [
      [entry[3], inputs],
      [entry[4], outputs],
    ] as [number, number][])
      for (let row = 0; row < (entry[2] as number); row += groupRows) {
        const numbers = Math.min(groupRows, (entry[2] as number) - row) * width;
        const count = 3 + Math.floor(numbers / 128 / 20);
        for (let i = 0; i < count; i++) {
          const number = (Math.floor((numbers * i) / count) + 37 * i) % numbers;
          const at = ((rows as Operand).values[first + row + Math.floor(number / width)] as number) * rowUnit;
          new DataView(bytes.buffer).setUint16(at + 2 * (number % width), outliers[found++ % outliers.length] as number, true);
        }
      }
  return { ...test, name: `${test.name}, outliers`, inputs: { ...test.inputs, pool: u8([bytes.length], bytes) } };
}

/** The same case with its bf16 factors compact where they can be, behind the rows that were there. Fails where none are. */
export function compacted(test: OpCase): OpCase {
  const { entries, rows, pool } = test.inputs as Record<string, Operand>;
  const table = Int32Array.from((entries as Operand).values);
  const addresses = Array.from((rows as Operand).values);
  const bytes = Uint8Array.from((pool as Operand).values);
  const added: Uint8Array[] = [];
  let end = Math.ceil(bytes.length / rowUnit) * rowUnit;
  const groupsOf = (first: number, rank: number, width: number): Uint8Array[] | undefined => {
    const groups: Uint8Array[] = [];
    for (let row = 0; row < rank; row += groupRows) {
      const count = Math.min(groupRows, rank - row);
      const numbers = new Uint16Array(count * width);
      for (let r = 0; r < count; r++) {
        const at = (addresses[first + row + r] as number) * rowUnit;
        numbers.set(viewAs('bf16', bytes.slice(at, at + 2 * width).buffer) as Uint16Array, r * width);
      }
      const group = binding().compactRows(numbers, count);
      if (group === undefined) return undefined;
      groups.push(group);
    }
    return groups;
  };
  for (const { entry, inputs, outputs } of factorsOf(test, table)) {
    const [rank, firstA, firstB] = [entry[2] as number, entry[3] as number, entry[4] as number];
    const [a, b] = [groupsOf(firstA, rank, inputs), groupsOf(firstB, rank, outputs)];
    if (rank === 0 || a === undefined || b === undefined) {
      if (rank > 0 && rank % 4 === 0 && inputs % 32 === 0 && outputs % 32 === 0) throw new Error(`${test.name}: too many outliers`);
      continue;
    }
    entry[1] = bf16Code + compactRows;
    for (const [column, groups] of [
      [3, a],
      [4, b],
    ] as const) {
      entry[column] = addresses.length;
      for (const group of groups) {
        addresses.push(end / rowUnit);
        added.push(group);
        end += group.byteLength;
      }
    }
  }
  if (added.length === 0) throw new Error(`${test.name}: nothing can be compact`);
  // The pool ends with the last group's last byte.
  const all = new Uint8Array(end).fill(0xff);
  all.set(bytes);
  let at = Math.ceil(bytes.length / rowUnit) * rowUnit;
  for (const group of added) {
    all.set(group, at);
    at += group.byteLength;
  }
  return {
    ...test,
    inputs: {
      ...test.inputs,
      entries: i32((entries as Operand).dims, table),
      rows: i32([addresses.length], addresses),
      pool: u8([all.length], all),
    },
  };
}
