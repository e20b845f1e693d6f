// Rotations made from skew-symmetric matrices by the Cayley transform: what OFT and BOFT turn inputs by.

/** (I − S)(I + S)⁻¹ for a skew-symmetric S [size, size], row-major: orthogonal. */
export function cayley(skew: Float64Array, size: number): Float64Array {
  // R (I + S) = I − S, or transposed (I − S) Rᵀ = I + S: solved by elimination with row exchanges.
  const left = new Float64Array(size * size);
  const right = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++) {
      const unit = i === j ? 1 : 0;
      left[i * size + j] = unit - (skew[i * size + j] as number);
      right[i * size + j] = unit + (skew[i * size + j] as number);
    }
  const transposed = solve(left, right, size);
  return transposed.map((_, i) => transposed[(i % size) * size + Math.floor(i / size)] as number);
}

/** The same transform as a power series cut after `terms` terms, as PEFT cuts it: I + 2 Σ (±S)^k, the last power once. */
export function cayleySeries(skew: Float64Array, size: number, terms: number): Float64Array {
  const sum = new Float64Array(size * size);
  for (let i = 0; i < size; i++) sum[i * size + i] = 1;
  let power = skew;
  for (let k = 1; k < terms; k++) {
    if (k > 1) power = multiply(power, skew, size);
    const factor = k === terms - 1 && k > 2 ? 1 : 2;
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + factor * (power[i] as number);
  }
  return sum;
}

/** Turns each row in place: x ↦ x Rᵀ for R made of blocks [size, size] along its diagonal; `blocks[i]` acts on columns i · size... */
export function turnRows(rows: Float64Array, width: number, blocks: readonly Float64Array[], size: number): void {
  const turned = new Float64Array(size);
  for (let at = 0; at < rows.length; at += size) {
    const block = blocks[((at % width) / size) % blocks.length] as Float64Array;
    for (let i = 0; i < size; i++) {
      let sum = 0;
      for (let j = 0; j < size; j++) sum += (block[i * size + j] as number) * (rows[at + j] as number);
      turned[i] = sum;
    }
    rows.set(turned, at);
  }
}

function multiply(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const product = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let k = 0; k < size; k++)
      for (let j = 0; j < size; j++)
        product[i * size + j] = (product[i * size + j] as number) + (a[i * size + k] as number) * (b[k * size + j] as number);
  return product;
}

// X with A X = B. I ± S is never singular for a skew-symmetric S.
function solve(a: Float64Array, b: Float64Array, size: number): Float64Array {
  const exchange = (matrix: Float64Array, i: number, j: number): void => {
    for (let c = 0; c < size; c++) {
      const kept = matrix[i * size + c] as number;
      matrix[i * size + c] = matrix[j * size + c] as number;
      matrix[j * size + c] = kept;
    }
  };
  for (let pivot = 0; pivot < size; pivot++) {
    let largest = pivot;
    for (let r = pivot + 1; r < size; r++)
      if (Math.abs(a[r * size + pivot] as number) > Math.abs(a[largest * size + pivot] as number)) largest = r;
    exchange(a, pivot, largest);
    exchange(b, pivot, largest);
    const inverse = 1 / (a[pivot * size + pivot] as number);
    for (let c = 0; c < size; c++) {
      a[pivot * size + c] = (a[pivot * size + c] as number) * inverse;
      b[pivot * size + c] = (b[pivot * size + c] as number) * inverse;
    }
    for (let r = 0; r < size; r++) {
      const factor = a[r * size + pivot] as number;
      if (r === pivot || factor === 0) continue;
      for (let c = 0; c < size; c++) {
        a[r * size + c] = (a[r * size + c] as number) - factor * (a[pivot * size + c] as number);
        b[r * size + c] = (b[r * size + c] as number) - factor * (b[pivot * size + c] as number);
      }
    }
  }
  return b;
}
