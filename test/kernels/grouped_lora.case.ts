// Cases of grouped_lora: adapters of all kinds, and tokens that go to them.
import { f32, i32, type OpCase, type Operand } from './check_op.ts';
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
