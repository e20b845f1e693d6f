// One batch for all gradients of grouped_lora: its operands, and the case of each op over them.
import { f32, i32, type OpCase, type Operand } from './check_op.ts';
import { AdapterScene, type AdapterSite, routes } from './grouped_lora.scene.ts';

export type Slots = readonly (number | readonly number[])[];
export type Adapters = readonly (readonly (AdapterSite | undefined)[])[];

export interface GradientScene {
  inputs?: number;
  outputs?: number[];
  site?: number;
  weights?: (i: number) => number;
  strided?: boolean;
  /** Multiplies dy. */
  size?: number;
}

export const lowRank = (rank: number, more: Partial<AdapterSite> = {}): AdapterSite => ({ kind: 'lowRank', dtype: 'f32', rank, ...more });
export const repeat = <T>(value: T, count: number): T[] => new Array<T>(count).fill(value);
export const cycle = (slots: readonly number[], count: number): number[] =>
  Array.from({ length: count }, (_, i) => slots[i % slots.length] as number);

/** Lines of 64 bytes in a pool. */
export const unitsOf = (pool: Operand): number => Math.ceil((pool.dims[0] as number) / 64);

/** Every operand of the three gradients; one adapter per slot, with `adapters[slot][s]` at site s. */
export function operandsOf(adapters: Adapters, slots: Slots, options: GradientScene = {}): Record<string, Operand> {
  const { inputs = 33, outputs = [47], site = 0, strided = false, size = 1 } = options;
  const scene = new AdapterScene(Math.max(1, adapters.length), site + outputs.length + 1);
  adapters.forEach((sites, slot) => {
    sites.forEach((what, s) => {
      if (what !== undefined) scene.set(slot, site + s, inputs, outputs[s] as number, what);
    });
  });
  const columns = [0];
  for (const n of outputs) columns.push((columns.at(-1) as number) + n);
  const tokens = slots.length;
  const make = (width: number): Operand => (strided ? f32.strided([tokens, width], width + 3) : f32([tokens, width]));
  const dy = make(columns.at(-1) as number);
  const tables = scene.lay().operands();
  const routing = routes(slots, options.weights);
  return {
    x: make(inputs),
    dy: { ...dy, values: Float64Array.from(dy.values, (v) => Math.fround(v * size)) },
    dx: make(inputs),
    dweight: f32(routing.index.dims),
    gradients: f32([unitsOf(tables.pool) * 16]),
    ...routing,
    ...tables,
    columns: i32([columns.length], columns),
  };
}

const operandNames = {
  grouped_lora_grad_x: { dy: 'dy', base: 'dx', weight: 'weight' },
  grouped_lora_grad_factors: { x: 'x', dy: 'dy', gradients: 'gradients', weight: 'weight' },
  grouped_lora_grad_weight: { x: 'x', dy: 'dy', base: 'dweight' },
} as const;
export type GradientOp = keyof typeof operandNames;

/** The case of one op over the operands. */
export function caseOf(op: GradientOp, name: string, operands: Record<string, Operand>, site: number, error?: RegExp): OpCase {
  const pick: Record<string, Operand> = {};
  for (const [operand, source] of Object.entries(operandNames[op])) pick[operand] = operands[source] as Operand;
  for (const operand of ['index', 'entries', 'rows', 'pool', 'columns']) pick[operand] = operands[operand] as Operand;
  const dx = operands.dx as Operand;
  const dy = operands.dy as Operand;
  const units = (operands.gradients as Operand).dims[0] as number;
  return {
    name,
    inputs: pick,
    attrs: { site },
    // Gradients of factors are judged unit by unit of the pool, those of weights as one row.
    outputs: {
      grouped_lora_grad_x: { dx: { dtype: 'f32' as const, dims: dx.dims } },
      grouped_lora_grad_factors: { accumulated: { dtype: 'f32' as const, dims: [units / 16, 16] } },
      grouped_lora_grad_weight: { dweight: { dtype: 'f32' as const, dims: [1, (operands.dweight as Operand).values.length] } },
    }[op] as OpCase['outputs'] & object,
    reduction: (dx.dims[1] as number) + (dy.dims[1] as number) + (dx.dims[0] as number),
    ...(error && { error }),
  };
}
export const gradientOps = Object.keys(operandNames) as GradientOp[];
