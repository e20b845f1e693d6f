import type { Tensor } from '../../graph/tensor.js';
import { add, addBias, map, matmul, mul, scale, scaleColumns, sumRows } from '../../ops/index.js';
import type { AdapterBase, SiteShape } from '../method.js';
import type { MethodSettings, ParameterSpec, SiteGraph, TrainableMethod } from '../trainable_method.js';
import { rowsPerSlice, WorkSlices } from '../work_slices.js';
import { checkStart, factorsFrom, factorTensors, initialA } from './factor_tensors.js';
import { loraConfigFile, loraScale, lowRankProduct } from './lora_training.js';
import { methodOptionsOf } from './trained_options.js';

/**
 * Direction and length of every row of the weight trained apart: y = m / ‖W + s B A‖ · (W + s B A) x, rows of outputs. Liu et al.,
 * https://arxiv.org/abs/2402.09353; as in 4.3 there, the norm is a constant for the gradient.
 */
export const doraTraining: TrainableMethod = {
  name: 'dora',
  sites: ['linear'],

  check(settings) {
    checkStart(settings, ['default', 'gaussian']);
    methodOptionsOf(settings, {});
  },

  async parameters(settings, site, base): Promise<readonly ParameterSpec[]> {
    const { rank, loraPlusRatio: rateMultiplier } = settings;
    const squares = await rowSquares(site, base);
    return [
      { part: 'A', shape: [rank, site.inputs], initial: initialA(settings, site.inputs), trained: true },
      { part: 'bT', shape: [rank, site.outputs], initial: { kind: 'constant', value: 0 }, trained: true, rateMultiplier },
      {
        part: 'magnitude',
        shape: [site.outputs],
        initial: { kind: 'given', values: Float32Array.from(squares, Math.sqrt) },
        trained: true,
      },
      { part: 'baseSquares', shape: [site.outputs], initial: { kind: 'given', values: Float32Array.from(squares) }, trained: false },
    ];
  },

  forward(settings, at) {
    const { bias } = at;
    const product = lowRankProduct(at.x, at.parameter('A'), at.parameter('bT'), loraScale(settings));
    const plain = bias === undefined ? at.base : addBias(at.base, scale(bias, -1));
    const gain = mul(at.parameter('magnitude'), map(squaredNorms(settings, at), 'rsqrt'));
    const y = scaleColumns(add(plain, product), gain);
    return bias === undefined ? y : addBias(y, bias);
  },

  startsAtBase: () => true,
  config: (settings, sites) => loraConfigFile(settings, sites, { use_dora: true }),

  exportSite: ({ rank }, site, values) => [
    ...factorTensors(rank, site, values('A'), values('bT')),
    { name: 'lora_magnitude_vector', shape: [site.outputs], data: values('magnitude') },
  ],

  importSite({ rank }, site, tensors) {
    const { a, bT } = factorsFrom(tensors, site, rank);
    const magnitude = tensors.floats32('lora_magnitude_vector', [site.outputs]);
    return new Map([
      ['A', a],
      ['bT', bT],
      ['magnitude', magnitude],
    ]);
  },
};

// ‖W_n + s B_n A‖² = ‖W_n‖² + 2 s B_n · (W_n Aᵀ) + s² B_n (A Aᵀ) B_nᵀ without the sum W + s B A ever being there.
function squaredNorms(settings: MethodSettings, at: SiteGraph): Tensor {
  const s = loraScale(settings);
  const a = at.parameter('A').detach();
  const bT = at.parameter('bT').detach();
  const crossed = sumRows(mul(bT, at.frozen(a)));
  const own = sumRows(mul(bT, matmul(matmul(a, a, { transposeB: true }), bT)));
  return add(at.parameter('baseSquares'), add(scale(crossed, 2 * s), scale(own, s * s))).detach();
}

async function rowSquares(site: SiteShape, base: AdapterBase): Promise<Float64Array> {
  const { inputs, outputs } = site;
  const squares = new Float64Array(outputs);
  const slices = new WorkSlices();
  const atOnce = rowsPerSlice(inputs);
  for (let first = 0; first < outputs; first += atOnce) {
    const weight = await base.readRows(site, first, Math.min(atOnce, outputs - first));
    for (let i = 0; i < weight.length; i++) {
      const row = first + Math.floor(i / inputs);
      squares[row] = (squares[row] as number) + (weight[i] as number) ** 2;
    }
    await slices.pause(weight.length);
  }
  return squares;
}
