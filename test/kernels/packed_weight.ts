// Where the elements of a packed weight of linear lie: in panels of 16 outputs on the CPU, row by row on a CUDA device.

/** What packWeight packed. */
export interface PackedWeight {
  readonly outputs: number;
  readonly k: number;
}

/** Index of element (n, i) in a packed weight of dims [panels, lines, width] as the CPU holds it. */
export function panelIndex(dims: readonly number[], n: number, i: number): number {
  const [, lines = 0, width = 0] = dims;
  const together = width / 16;
  const line = Math.floor(n / 16) * lines + Math.floor(i / together);
  return line * width + (n % 16) * together + (i % together);
}

/** The values of a packed weight in a CUDA device's order, of the same dims: [panels * 16, inner], zeros where nothing is. */
export function rowMajorValues(dims: readonly number[], packed: PackedWeight, panels: Float64Array): Float64Array {
  const inner = packed.k + (packed.k % 2);
  const rows = new Float64Array(panels.length);
  for (let n = 0; n < packed.outputs; n++)
    for (let i = 0; i < packed.k; i++) rows[n * inner + i] = panels[panelIndex(dims, n, i)] as number;
  return rows;
}
