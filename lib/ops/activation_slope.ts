import type { Tensor } from '../graph/tensor.js';
import { type Activation, activate, add, mul, scale } from './elementwise.js';
import { map } from './map.js';

const density = 1 / Math.sqrt(2 * Math.PI);
// gelu_tanh is x sigmoid(linear x + cubic x^3).
const linear = 2 * Math.sqrt(2 / Math.PI);
const cubic = linear * 0.044715;

const sigmoidSlope = (s: Tensor): Tensor => mul(s, map(s, 'complement'));

/** f'(x), written with ops that have gradients, so that it can be differentiated again. */
export function activationSlope(x: Tensor, f: Activation): Tensor {
  switch (f) {
    case 'relu':
      return map(x, 'step');
    case 'sigmoid':
      return sigmoidSlope(activate(x, 'sigmoid'));
    case 'tanh':
      return map(map(activate(x, 'tanh'), 'square'), 'complement');
    case 'silu': {
      const s = activate(x, 'sigmoid');
      return add(s, mul(x, sigmoidSlope(s)));
    }
    case 'gelu':
      return add(map(x, 'normal_cdf'), mul(x, scale(map(scale(map(x, 'square'), -0.5), 'exp'), density)));
    case 'gelu_tanh': {
      const cube = mul(x, map(x, 'square'));
      const s = activate(add(scale(x, linear), scale(cube, cubic)), 'sigmoid');
      return add(s, mul(add(scale(x, linear), scale(cube, 3 * cubic)), sigmoidSlope(s)));
    }
  }
}
