// Symmetric positive matrices in float64: covariances of inputs.
import { ModelError } from '../errors.js';
import { WorkSlices } from './work_slices.js';

/** A covariance that was made invertible, and its inverse. */
export interface DampedInverse {
  readonly covariance: Float64Array;
  readonly inverse: Float64Array;
}

const firstDamping = 0.01;
const allowedError = 0.05;

/**
 * C + λ · mean(diag C) · I with λ from 0.01, doubled until ‖C C⁻¹ - I‖ is below 0.05: also a C of fewer samples than inputs gets an inverse.
 * Throws ModelError where all inputs were zero.
 */
export async function invertDamped(measured: Float64Array, size: number): Promise<DampedInverse> {
  let trace = 0;
  for (let i = 0; i < size; i++) trace += measured[i * size + i] as number;
  if (!(trace > 0)) throw new ModelError('the covariance of the inputs is zero: expected examples with inputs other than 0', { trace });
  for (let damping = firstDamping; ; damping *= 2) {
    const covariance = measured.slice();
    for (let i = 0; i < size; i++) covariance[i * size + i] = (covariance[i * size + i] as number) + (damping * trace) / size;
    const inverse = await invertPositive(covariance, size);
    // A sum of a covariance and a multiple of one is positive: from some damping on, this holds.
    if (inverse !== undefined && (await distanceFromOne(covariance, inverse, size)) < allowedError) return { covariance, inverse };
  }
}

/** rows [count, size] · matrix, `matrix` symmetric. */
export async function timesSymmetric(
  rows: Float32Array | Float64Array,
  count: number,
  matrix: Float64Array,
  size: number,
): Promise<Float64Array> {
  const product = new Float64Array(count * size);
  const slices = new WorkSlices();
  for (let r = 0; r < count; r++) {
    const into = product.subarray(r * size, (r + 1) * size);
    for (let k = 0; k < size; k++) addScaled(into, rows[r * size + k] as number, matrix.subarray(k * size, (k + 1) * size));
    await slices.pause(size * size);
  }
  return product;
}

function addScaled(into: Float64Array, factor: number, from: Float64Array): void {
  for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + factor * (from[i] as number);
}

// Cholesky's factor L, then L⁻¹, then L⁻ᵀ L⁻¹. Undefined where rounding leaves no positive pivot.
async function invertPositive(matrix: Float64Array, size: number): Promise<Float64Array | undefined> {
  const slices = new WorkSlices();
  const factor = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * size + j] as number;
      for (let k = 0; k < j; k++) sum -= (factor[i * size + k] as number) * (factor[j * size + k] as number);
      if (i === j && !(sum > 0)) return undefined;
      factor[i * size + j] = i === j ? Math.sqrt(sum) : sum / (factor[j * size + j] as number);
    }
    await slices.pause((i * i) / 2);
  }
  // Rows of L⁻¹: each is made of the rows above it.
  const lower = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const row = lower.subarray(i * size, (i + 1) * size);
    row[i] = 1;
    for (let k = 0; k < i; k++) addScaled(row, -(factor[i * size + k] as number), lower.subarray(k * size, (k + 1) * size));
    const pivot = factor[i * size + i] as number;
    for (let c = 0; c <= i; c++) row[c] = (row[c] as number) / pivot;
    await slices.pause(i * size);
  }
  const inverse = new Float64Array(size * size);
  for (let k = 0; k < size; k++) {
    const row = lower.subarray(k * size, (k + 1) * size);
    for (let i = 0; i <= k; i++) addScaled(inverse.subarray(i * size, (i + 1) * size), row[i] as number, row);
    await slices.pause(k * size);
  }
  return inverse;
}

async function distanceFromOne(matrix: Float64Array, inverse: Float64Array, size: number): Promise<number> {
  const product = await timesSymmetric(matrix, size, inverse, size);
  let squares = 0;
  for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) squares += ((product[r * size + c] as number) - (r === c ? 1 : 0)) ** 2;
  return Math.sqrt(squares);
}
