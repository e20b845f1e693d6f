import { z } from 'zod';
import { InternalError, OptionError } from '../../errors.js';
import { singularTriplets } from '../singular_vectors.js';
import type { TrainableMethod } from '../trainable_method.js';
import { checkRank, checkStart } from './factor_tensors.js';
import { loraScale } from './lora_training.js';
import { squareCore, squareCoreParameters } from './square_core.js';
import { methodOptionsOf } from './trained_options.js';

const known = {
  examples: z.number().int().min(1).max(1_000_000).default(128),
  update: z.enum(['sign', 'raw']).default('sign'),
  stepSize: z.number().gt(0).max(1e6).default(2e-4),
};

/**
 * W + scale · B R A that begins as the best approximation of a first step of full fine-tuning, Δ = -stepSize · sign(Σ gradients) of some
 * examples: scale · B R A = U S Vᵀ of Δ's leading triplets. Only R is trained. LoRA-SB, Ponkshe et al., https://arxiv.org/abs/2411.19557.
 */
export const loraSbTraining: TrainableMethod = {
  ...squareCore,
  name: 'lora-sb',

  check(settings) {
    checkStart(settings, ['default']);
    methodOptionsOf(settings, known);
  },

  calibrationExamples: (settings) => methodOptionsOf(settings, known).examples,

  async parameters(settings, site, _base, calibration) {
    if (calibration === undefined) throw new InternalError(`${site.path}: no examples to take a gradient from`);
    checkRank(settings, site, 'lora-sb');
    const { update, stepSize } = methodOptionsOf(settings, known);
    const { inputs, outputs } = site;
    const { rank } = settings;
    const gradient = await calibration.weightGradient(site);
    const step = gradient.map((x) => -stepSize * (update === 'sign' ? Math.sign(x) : x));
    const { values, left, right } = await singularTriplets(step, outputs, inputs, rank);
    if (!((values[0] as number) > 0))
      throw new OptionError(`lora-sb: the gradient of ${site.path} is ${values[0] === 0 ? 'zero' : 'not finite'} on the examples`, {
        module: site.path,
        actual: values[0],
      });
    const a = new Float32Array(rank * inputs);
    const bT = new Float32Array(rank * outputs);
    const r = new Float32Array(rank * rank);
    right.forEach((vector, i) => {
      a.set(vector, i * inputs);
      bT.set(left[i] as Float64Array, i * outputs);
      r[i * rank + i] = (values[i] as number) / loraScale(settings);
    });
    return squareCoreParameters(settings, site, { a, bT, r: { kind: 'given', values: r } });
  },

  startsAtBase: () => false,
};
