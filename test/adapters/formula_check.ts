// A layer of odd sizes, a method's random tensors for it, and what the layer then amounts to.
import { describe, expect, it } from 'vitest';
import { CheckpointBase } from '../../lib/adapters/checkpoint_base.ts';
import type { SiteParts, SiteShape } from '../../lib/adapters/method.ts';
import { loadPeftAdapter, readPeftConfig } from '../../lib/adapters/peft_adapter.ts';
import { toFloat32 } from '../../lib/adapters/rows.ts';
import { randomNormal } from '../kernels/numbers.ts';
import { at, columnsOf, diagonal, type Matrix, matrix, plus, times, transposed } from './dense_matrix.ts';
import { MemoryTensors } from './memory_tensors.ts';

export const path = 'model.proj';
export const cache = { layers: 1, keyHeads: 1, width: 1 };
export type Values = Readonly<Record<string, readonly number[]>>;

export interface Formula {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly inputs: number;
  readonly outputs: number;
  /** Shapes by part; a number is the standard deviation, 0.3 unless given. */
  readonly tensors: Readonly<
    Record<string, { shape: readonly number[]; spread?: number; mean?: number; values?: readonly number[]; dtype?: 'I32' | 'U8' }>
  >;
  readonly weight: (w: Matrix, values: Values) => Matrix;
  readonly bias?: (b: readonly number[], values: Values) => readonly number[];
  /** What it is placed as. */
  readonly kind: 'lowRank' | 'dense';
  readonly rank?: number;
}

export const rowsOf = (values: readonly number[] | undefined, rows: number, columns: number, from = 0): Matrix =>
  matrix(rows, columns, (r, c) => values?.[from + r * columns + c] as number);
export const of = (values: Values, part: string): readonly number[] => values[part] as readonly number[];
export const normOf = (values: readonly number[]): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

let seed = 100;

function draw(formula: Formula): { tensors: MemoryTensors; values: Values } {
  const tensors = new MemoryTensors();
  const values: Record<string, number[]> = {};
  for (const [part, { shape, spread = 0.3, mean = 0, values: given, dtype }] of Object.entries(formula.tensors)) {
    const count = shape.reduce((all, size) => all * size, 1);
    const drawn = given ?? Array.from(randomNormal(count, seed++), (x) => mean + spread * x);
    const name = part.startsWith('base_model.') ? part : `base_model.model.${path}.${part}`;
    values[part] = Array.from(dtype === undefined ? Float32Array.from(drawn) : drawn);
    if (dtype === undefined) tensors.set(name, shape, drawn);
    else
      tensors.tensors.set(name, {
        dtype,
        shape,
        bytes: new Uint8Array((dtype === 'I32' ? Int32Array.from(drawn) : Uint8Array.from(drawn)).buffer),
      });
  }
  return { tensors, values };
}

function baseOf({ inputs, outputs }: { inputs: number; outputs: number }, bias: boolean): { base: CheckpointBase; w: Matrix; b: number[] } {
  const stored = new MemoryTensors();
  const w = Float32Array.from(randomNormal(inputs * outputs, seed++));
  const b = Float32Array.from(randomNormal(outputs, seed++));
  stored.set(`${path}.weight`, [outputs, inputs], w).set(`${path}.bias`, [outputs], b);
  const site: SiteShape = { path, kind: 'linear', inputs, outputs, number: 0, weight: `${path}.weight`, transposed: false, bias };
  return { base: new CheckpointBase('odd', [site], stored, cache), w: rowsOf(Array.from(w), outputs, inputs), b: Array.from(b) };
}

/** The weight that a layer amounts to with what was placed. */
function effective(parts: SiteParts, w: Matrix): Matrix {
  const block = (rows: SiteParts['a']): Matrix => rowsOf(Array.from(toFloat32(rows.dtype, rows.data)), rows.count, rows.width);
  if (parts.kind === 'dense') return block(parts.a);
  const changed = parts.rank === 0 ? w : plus(w, times(transposed(block(parts.bT as SiteParts['a'])), block(parts.a)), parts.scale);
  return parts.gain ? times(diagonal(Array.from(parts.gain)), changed) : changed;
}

const largest = (a: Matrix, b: Matrix): number => Math.max(...a.flatMap((row, r) => row.map((x, c) => Math.abs(x - at(b, r, c)))));

/** Loads each and compares with its formula: alone, with a bias, and on top of a weight that the adapter brings. */
export function checkFormulas(formulas: readonly Formula[]): void {
  describe.each(formulas)('$name', (formula) => {
    it('amounts to its formula', async () => {
      const { tensors, values } = draw(formula);
      const { base, w } = baseOf(formula, false);
      const { sites } = await loadPeftAdapter(readPeftConfig(formula.config, 'mine'), tensors, base);
      const parts = sites.get(path) as SiteParts;
      expect(parts.kind).toBe(formula.kind);
      if (formula.rank !== undefined) expect(parts.rank).toBe(formula.rank);
      expect(parts.shift).toBeUndefined();
      const expected = formula.weight(w, values);
      expect([expected.length, columnsOf(expected)]).toEqual([formula.outputs, formula.inputs]);
      const size = Math.max(1, ...expected.flat().map(Math.abs));
      expect(largest(effective(parts, w), expected)).toBeLessThan(4e-7 * size);
    });

    it('changes the bias only where the formula does', async () => {
      const { tensors, values } = draw(formula);
      const { base, b } = baseOf(formula, true);
      const { sites } = await loadPeftAdapter(readPeftConfig(formula.config, 'mine'), tensors, base);
      const expected = formula.bias?.(b, values) ?? b;
      const shift = sites.get(path)?.shift ?? new Float32Array(b.length);
      expect(Math.max(...expected.map((x, n) => Math.abs(x - (b[n] as number) - (shift[n] as number))))).toBeLessThan(1e-6);
    });

    it('merges into whole weights that the adapter brings too', async () => {
      const { tensors, values } = draw(formula);
      const { base } = baseOf(formula, false);
      const own = Float32Array.from(randomNormal(formula.inputs * formula.outputs, seed++));
      tensors.set(`base_model.model.${path}.base_layer.weight`, [formula.outputs, formula.inputs], own);
      const { sites } = await loadPeftAdapter(readPeftConfig(formula.config, 'mine'), tensors, base);
      const expected = formula.weight(rowsOf(Array.from(own), formula.outputs, formula.inputs), values);
      const size = Math.max(1, ...expected.flat().map(Math.abs));
      expect(sites.get(path)?.kind).toBe('dense');
      expect(largest(effective(sites.get(path) as SiteParts, []), expected)).toBeLessThan(4e-7 * size);
    });
  });
}
