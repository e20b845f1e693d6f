// Matrices as rows of numbers in float64: what methods are written in, for tests that rebuild them.

export type Matrix = number[][];

/** A matrix of given values. */
export const matrix = (rows: number, columns: number, value: (row: number, column: number) => number): Matrix =>
  Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_unused, c) => value(r, c)));

export const identity = (size: number): Matrix => matrix(size, size, (r, c) => (r === c ? 1 : 0));
export const at = (m: Matrix, row: number, column: number): number => m[row]?.[column] as number;
export const columnsOf = (m: Matrix): number => m[0]?.length ?? 0;
export const transposed = (m: Matrix): Matrix => matrix(columnsOf(m), m.length, (r, c) => at(m, c, r));
export const plus = (a: Matrix, b: Matrix, factor = 1): Matrix =>
  matrix(a.length, columnsOf(a), (r, c) => at(a, r, c) + factor * at(b, r, c));
export const elementwise = (a: Matrix, b: Matrix): Matrix => matrix(a.length, columnsOf(a), (r, c) => at(a, r, c) * at(b, r, c));

export function times(a: Matrix, b: Matrix): Matrix {
  return matrix(a.length, columnsOf(b), (r, c) => b.reduce((sum, row, k) => sum + at(a, r, k) * (row[c] as number), 0));
}

export const diagonal = (values: readonly number[]): Matrix =>
  matrix(values.length, values.length, (r, c) => (r === c ? (values[r] as number) : 0));

/** Blocks along the diagonal. */
export function blockDiagonal(blocks: readonly Matrix[]): Matrix {
  const size = blocks.reduce((sum, block) => sum + block.length, 0);
  const made = matrix(size, size, () => 0);
  let from = 0;
  for (const block of blocks) {
    block.forEach((row, r) => {
      row.forEach((value, c) => {
        (made[from + r] as number[])[from + c] = value;
      });
    });
    from += block.length;
  }
  return made;
}

/** (I + S)⁻¹ as a power series; S must be small. */
export function inverseOfOnePlus(s: Matrix): Matrix {
  let power = identity(s.length);
  let sum = identity(s.length);
  for (let k = 1; k < 400; k++) {
    power = times(power, s).map((row) => row.map((x) => -x));
    sum = plus(sum, power);
  }
  return sum;
}
