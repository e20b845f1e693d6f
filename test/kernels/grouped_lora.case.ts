// Cases of grouped_lora: adapters of all kinds, and tokens that go to them.
import { f32, i32, type OpCase, type Operand, u8 } from './check_op.ts';
import { AdapterScene, type AdapterSite, routes } from './grouped_lora.scene.ts';

export type Slots = readonly (number | readonly number[])[];

export interface LoraOptions {
  inputs?: number;
  outputs?: number[];
  site?: number;
  bias?: boolean;
  weights?: (i: number) => number;
  strided?: boolean;
}

/** One adapter per slot, with `adapters[slot][s]` at site s. */
export function loraCase(
  name: string,
  adapters: readonly (readonly (AdapterSite | undefined)[])[],
  slots: Slots,
  options: LoraOptions = {},
): OpCase {
  const { inputs = 33, outputs = [47], site = 0, strided = false } = options;
  const scene = new AdapterScene(Math.max(1, adapters.length), site + outputs.length + 1);
  adapters.forEach((sites, slot) => {
    sites.forEach((what, s) => {
      if (what !== undefined) scene.set(slot, site + s, inputs, outputs[s] as number, what);
    });
  });
  const columns = [0];
  for (const n of outputs) columns.push((columns.at(-1) as number) + n);
  const total = columns.at(-1) as number;
  const tokens = slots.length;
  const make = (width: number): Operand => (strided ? f32.strided([tokens, width], width + 3) : f32([tokens, width]));
  return {
    name,
    inputs: {
      x: make(inputs),
      base: make(total),
      baseBias: options.bias ? f32([total]) : undefined,
      ...routes(slots, options.weights),
      ...scene.lay().operands(),
      columns: i32([columns.length], columns),
    },
    attrs: { site },
    // A row of a wide output is compared in parts: 8203 = 13 · 631, 2049 = 3 · 683.
    outputs: { y: { dtype: 'f32', dims: [tokens, total === 8203 ? 631 : total === 2049 ? 683 : total] } },
    reduction: inputs + 256,
  };
}

export const lowRank = (rank: number, more: Partial<AdapterSite> = {}): AdapterSite => ({ kind: 'lowRank', rank, ...more });
export const dense = (more: Partial<AdapterSite> = {}): AdapterSite => ({ kind: 'dense', ...more });
export const repeat = <T>(value: T, count: number): T[] => new Array<T>(count).fill(value);

export const network = (kind: 'parallel' | 'series', rank: number, activation: number, more: Partial<AdapterSite> = {}): AdapterSite => ({
  ...{ kind, rank, activation, dtype: 'f32' },
  ...more,
});

const groupRows = 16;
const pieceBytes = 64;

/** The same case with the rows of B in groups, which are added behind the rows that were there. */
export function inGroups(test: OpCase): OpCase {
  const { entries, rows, pool, columns } = test.inputs as Record<string, Operand>;
  const [slots, sites] = (entries as Operand).dims as [number, number];
  const table = Int32Array.from((entries as Operand).values);
  const addresses = Array.from((rows as Operand).values);
  const bytes = Array.from((pool as Operand).values);
  const site = test.attrs?.site as number;
  const at = (columns as Operand).values;
  for (let slot = 0; slot < slots; slot++)
    for (let s = 0; s + 1 < at.length; s++) {
      const entry = table.subarray((slot * sites + site + s) * 8);
      const [kind, dtype, rank, , firstB] = entry as unknown as [number, number, number, number, number];
      if (kind === 0 || kind === 2) continue;
      const rowBytes = ((at[s + 1] as number) - (at[s] as number)) * (dtype === 0 ? 4 : 2);
      entry[1] = dtype + 256;
      entry[4] = addresses.length;
      for (let first = 0; first < rank; first += groupRows) {
        while (bytes.length % pieceBytes > 0) bytes.push(0xff);
        addresses.push(bytes.length / pieceBytes);
        const count = Math.min(groupRows, rank - first);
        for (let from = 0; from < rowBytes; from += pieceBytes)
          for (let row = first; row < first + count; row++)
            for (let i = from; i < from + pieceBytes; i++)
              bytes.push(i < rowBytes ? (bytes[(addresses[firstB + row] as number) * pieceBytes + i] as number) : 0xff);
      }
    }
  return {
    ...test,
    inputs: {
      ...test.inputs,
      entries: i32([slots, sites, 8], table),
      rows: i32([addresses.length], addresses),
      pool: u8([bytes.length], Uint8Array.from(bytes)),
    },
  };
}
