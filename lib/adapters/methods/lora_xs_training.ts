import { singularTriplets } from '../singular_vectors.js';
import type { TrainableMethod } from '../trainable_method.js';
import { checkRank, checkStart } from './factor_tensors.js';
import { squareCore, squareCoreParameters } from './square_core.js';
import { methodOptionsOf } from './trained_options.js';

/** How far R begins from zero, as in the paper. */
const deviation = 1e-5;

/**
 * W + scale · B R A with B = U S and A = Vᵀ of W's leading singular triplets: rank² trained numbers for each module. LoRA-XS, Bałazy et al.,
 * https://arxiv.org/abs/2405.17604.
 */
export const loraXsTraining: TrainableMethod = {
  ...squareCore,
  name: 'lora-xs',

  check(settings) {
    checkStart(settings, ['default']);
    methodOptionsOf(settings, {});
  },

  async parameters(settings, site, base) {
    checkRank(settings, site, 'lora-xs');
    const { inputs, outputs } = site;
    const weight = await base.readRows(site, 0, outputs);
    const { values, left, right } = await singularTriplets(weight, outputs, inputs, settings.rank);
    const a = new Float32Array(settings.rank * inputs);
    const bT = new Float32Array(settings.rank * outputs);
    right.forEach((vector, i) => {
      a.set(vector, i * inputs);
      bT.set(
        (left[i] as Float64Array).map((x) => x * (values[i] as number)),
        i * outputs,
      );
    });
    return squareCoreParameters(settings, site, { a, bT, r: { kind: 'normal', deviation } });
  },

  // Close to it: R is small and not zero.
  startsAtBase: () => false,
};
