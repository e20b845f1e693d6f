import { WorkSlices } from './work_slices.js';

/** Leading singular triplets of a matrix: W ≈ Σ value · left · rightᵀ, values descending. */
export interface SingularTriplets {
  readonly values: Float64Array;
  /** One vector per triplet, as long as W has rows. */
  readonly left: readonly Float64Array[];
  /** One vector per triplet, as long as W has columns. */
  readonly right: readonly Float64Array[];
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
};

// a += factor * b
const addScaled = (a: Float64Array, factor: number, b: Float64Array): void => {
  for (let i = 0; i < a.length; i++) a[i] = (a[i] as number) + factor * (b[i] as number);
};

// Removes the parts along `basis`, twice (once leaves rounding errors behind), and scales to length 1. Returns the length.
function orthonormalise(vector: Float64Array, basis: readonly Float64Array[]): number {
  for (let pass = 0; pass < 2; pass++) for (const direction of basis) addScaled(vector, -dot(vector, direction), direction);
  const length = Math.sqrt(dot(vector, vector));
  if (length > 0) for (let i = 0; i < vector.length; i++) vector[i] = (vector[i] as number) / length;
  return length;
}

// A start with a part along everything, the same in every run.
function startVector(length: number, seed: number): Float64Array {
  let state = seed * 2654435761 + 12345;
  return Float64Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

/** Golub-Kahan-Lanczos with full reorthogonalisation, then Jacobi on the small matrix. `weight` is [rows, columns], row-major. */
export async function singularTriplets(
  weight: Float32Array | Float64Array,
  rows: number,
  columns: number,
  count: number,
): Promise<SingularTriplets> {
  const most = Math.min(rows, columns);
  const wanted = Math.min(count, most);
  const slices = new WorkSlices();
  const left: Float64Array[] = [];
  const right: Float64Array[] = [];
  // right_k, then left_k = W right_k orthonormalised: leftᵀ W right is upper bidiagonal.
  const diagonal: number[] = [];
  const above: number[] = [];
  let next = await rowSpaceStart(weight, rows, columns, slices);
  for (let step = 1; step <= most; step++) {
    right.push(next);
    const u = new Float64Array(rows);
    for (let r = 0; r < rows; r++) {
      const row = weight.subarray(r * columns, (r + 1) * columns);
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += (row[c] as number) * (next[c] as number);
      u[r] = sum;
      await slices.pause(columns);
    }
    diagonal.push(extend(u, left, step));
    left.push(u);
    const v = new Float64Array(columns);
    for (let r = 0; r < rows; r++) {
      const row = weight.subarray(r * columns, (r + 1) * columns);
      const factor = u[r] as number;
      for (let c = 0; c < columns; c++) v[c] = (v[c] as number) + factor * (row[c] as number);
      await slices.pause(columns);
    }
    await slices.pause(step * (rows + columns) * 4);
    if (step === most) break;
    const coupling = extend(v, right, step);
    if (step >= wanted + 8 && step % 16 === 0) {
      const small = jacobi(bidiagonal(diagonal, above));
      // What each triplet still lacks is its share of the last direction times the coupling.
      const lacking = small.values.slice(0, wanted).map((_, i) => Math.abs(coupling * (small.left[i]?.[step - 1] as number)));
      if (lacking.every((x) => x <= 1e-12 * (small.values[0] as number))) return assemble(small, left, right, wanted);
    }
    above.push(coupling);
    next = v;
  }
  return assemble(jacobi(bidiagonal(diagonal, above)), left, right, wanted);
}

// A combination of all rows of W: a start outside of their span would leave a part of W out when there are fewer rows than columns.
async function rowSpaceStart(
  weight: Float32Array | Float64Array,
  rows: number,
  columns: number,
  slices: WorkSlices,
): Promise<Float64Array> {
  const start = new Float64Array(columns);
  const factors = startVector(rows, 1);
  for (let r = 0; r < rows; r++) {
    const factor = factors[r] as number;
    for (let c = 0; c < columns; c++) start[c] = (start[c] as number) + factor * (weight[r * columns + c] as number);
    await slices.pause(columns);
  }
  if (orthonormalise(start, []) > 0) return start;
  start.set(startVector(columns, 1));
  orthonormalise(start, []);
  return start;
}

// Like orthonormalise, but a vector that vanishes is replaced by any new direction, at length 0.
function extend(vector: Float64Array, basis: readonly Float64Array[], seed: number): number {
  const before = Math.sqrt(dot(vector, vector));
  const length = orthonormalise(vector, basis);
  if (length > 1e-13 * before) return length;
  vector.set(startVector(vector.length, seed + 1));
  orthonormalise(vector, basis);
  return 0;
}

function bidiagonal(diagonal: readonly number[], above: readonly number[]): Float64Array[] {
  const size = diagonal.length;
  return diagonal.map((value, c) => {
    const column = new Float64Array(size);
    column[c] = value;
    if (c > 0) column[c - 1] = above[c - 1] as number;
    return column;
  });
}

// One-sided Jacobi: rotates columns until they are orthogonal; their lengths are the singular values.
function jacobi(matrix: Float64Array[]): SingularTriplets {
  const size = matrix.length;
  const rotation = matrix.map((_, i) => Float64Array.from({ length: size }, (_unused, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 60; sweep++) {
    let largest = 0;
    for (let p = 0; p + 1 < size; p++)
      for (let q = p + 1; q < size; q++) {
        const a = matrix[p] as Float64Array;
        const b = matrix[q] as Float64Array;
        const aa = dot(a, a);
        const bb = dot(b, b);
        const ab = dot(a, b);
        const cosine = Math.abs(ab) / Math.sqrt(aa * bb);
        if (!(cosine > 1e-15)) continue;
        largest = Math.max(largest, cosine);
        const zeta = (bb - aa) / (2 * ab);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        for (const columns of [matrix, rotation]) rotate(columns[p] as Float64Array, columns[q] as Float64Array, c, c * t);
      }
    if (largest < 1e-14) break;
  }
  const lengths = matrix.map((column) => Math.sqrt(dot(column, column)));
  const order = lengths.map((_, i) => i).sort((i, j) => (lengths[j] as number) - (lengths[i] as number));
  return {
    values: Float64Array.from(order, (i) => lengths[i] as number),
    left: order.map((i) => (matrix[i] as Float64Array).map((x) => ((lengths[i] as number) > 0 ? x / (lengths[i] as number) : 0))),
    right: order.map((i) => rotation[i] as Float64Array),
  };
}

function rotate(a: Float64Array, b: Float64Array, c: number, s: number): void {
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    a[i] = c * x - s * y;
    b[i] = s * x + c * y;
  }
}

function assemble(small: SingularTriplets, left: readonly Float64Array[], right: readonly Float64Array[], count: number): SingularTriplets {
  const combine = (basis: readonly Float64Array[], weights: Float64Array): Float64Array => {
    const sum = new Float64Array((basis[0] as Float64Array).length);
    weights.forEach((weight, i) => {
      addScaled(sum, weight, basis[i] as Float64Array);
    });
    return sum;
  };
  return {
    values: small.values.slice(0, count),
    left: small.left.slice(0, count).map((weights) => combine(left, weights)),
    right: small.right.slice(0, count).map((weights) => combine(right, weights)),
  };
}
