// y = W x + scale · B R A x with A and B frozen: only R, rank x rank, is trained.

import { AdapterError } from '../../errors.js';
import type { Tensor } from '../../graph/tensor.js';
import { add, matmul, scale } from '../../ops/index.js';
import type { SiteShape } from '../method.js';
import type { MethodSettings, ParameterSpec, ParameterValues, SiteGraph, TrainableMethod } from '../trainable_method.js';
import { factorsFrom, factorTensors } from './factor_tensors.js';
import { loraConfigFile, loraScale } from './lora_training.js';

/** A with orthonormal rows, B transposed, and how R begins. */
export interface SquareCoreStart {
  readonly a: Float32Array;
  readonly bT: Float32Array;
  readonly r: ParameterSpec['initial'];
}

/** The parameters of a site. */
export function squareCoreParameters({ rank }: MethodSettings, site: SiteShape, { a, bT, r }: SquareCoreStart): ParameterSpec[] {
  return [
    { part: 'R', shape: [rank, rank], initial: r, trained: true },
    { part: 'A', shape: [rank, site.inputs], initial: { kind: 'given', values: a }, trained: false },
    { part: 'bT', shape: [rank, site.outputs], initial: { kind: 'given', values: bT }, trained: false },
  ];
}

/** What LoRA-XS and LoRA-SB have in common. Saved as plain LoRA with A' = R A. */
export const squareCore: Pick<TrainableMethod, 'sites' | 'forward' | 'config' | 'exportSite' | 'importSite'> = {
  sites: ['linear'],

  forward(settings: MethodSettings, at: SiteGraph): Tensor {
    const inner = matmul(at.x, at.parameter('A'), { transposeB: true });
    const turned = matmul(inner, at.parameter('R'), { transposeB: true });
    return add(at.base, scale(matmul(turned, at.parameter('bT')), loraScale(settings)));
  },

  config: (settings, sites) => loraConfigFile(settings, sites),

  exportSite({ rank }, site, values: ParameterValues) {
    return factorTensors(rank, site, timesRows(values('R'), values('A'), rank, site.inputs), values('bT'));
  },

  // The file holds the product only: A becomes an orthonormal basis of its rows and R what is left, which moves in the same way.
  importSite({ rank }, site, tensors) {
    const { a: product, bT } = factorsFrom(tensors, site, rank);
    const { a, r } = triangular(product, rank, site);
    return new Map([
      ['A', a],
      ['R', r],
      ['bT', bT],
    ]);
  },
};

// R A in float64.
function timesRows(r: Float32Array, a: Float32Array, rank: number, width: number): Float32Array {
  const product = new Float64Array(rank * width);
  for (let i = 0; i < rank; i++)
    for (let j = 0; j < rank; j++) {
      const factor = r[i * rank + j] as number;
      for (let c = 0; c < width; c++) product[i * width + c] = (product[i * width + c] as number) + factor * (a[j * width + c] as number);
    }
  return Float32Array.from(product);
}

// P = R A with orthonormal rows of A, by Gram and Schmidt, each direction cleaned twice.
function triangular(product: Float32Array, rank: number, { path, inputs }: SiteShape): { a: Float32Array; r: Float32Array } {
  const a = new Float64Array(rank * inputs);
  const r = new Float64Array(rank * rank);
  for (let i = 0; i < rank; i++) {
    const row = Float64Array.from(product.subarray(i * inputs, (i + 1) * inputs));
    const before = Math.hypot(...row);
    for (let pass = 0; pass < 2; pass++)
      for (let j = 0; j < i; j++) {
        let along = 0;
        for (let c = 0; c < inputs; c++) along += (row[c] as number) * (a[j * inputs + c] as number);
        r[i * rank + j] = (r[i * rank + j] as number) + along;
        for (let c = 0; c < inputs; c++) row[c] = (row[c] as number) - along * (a[j * inputs + c] as number);
      }
    const length = Math.hypot(...row);
    if (!(length > 1e-7 * before))
      throw new AdapterError(`${path}.lora_A.weight has rank ${i}: expected ${rank} independent rows, to train on from them`, {
        module: path,
        actual: i,
        expected: rank,
      });
    r[i * rank + i] = length;
    for (let c = 0; c < inputs; c++) a[i * inputs + c] = (row[c] as number) / length;
  }
  return { a: Float32Array.from(a), r: Float32Array.from(r) };
}
