// Gradient rules of norms, softmax and cross-entropy, rotation and tables, on the cases that test the ops.
import type { OpCase } from '../kernels/check_op.ts';
import { embeddingCases, gatherRowsCases } from '../kernels/embedding.cases.ts';
import { inverseRmsCases, layerNormCases, rmsNormCases } from '../kernels/norm.cases.ts';
import { ropeCases } from '../kernels/rope.cases.ts';
import { logSoftmaxCases, softmaxCases, tokenLogprobCases } from '../kernels/softmax.cases.ts';
import { checkGradient } from './check_gradient.ts';

checkGradient('rms_norm', { cases: rmsNormCases });
checkGradient('layer_norm', { cases: layerNormCases });
checkGradient('inverse_rms', { cases: inverseRmsCases });

checkGradient('softmax', { cases: softmaxCases });
checkGradient('log_softmax', { cases: logSoftmaxCases });
checkGradient('token_logprob', { cases: tokenLogprobCases });

checkGradient('rope', { cases: ropeCases, inputs: ['x'] });

// Packed and 16-bit tables are frozen.
const trainable = ({ inputs: { weight } }: OpCase): boolean => weight?.dtype === 'f32' && weight.dims.length === 2;
checkGradient('embedding', { cases: embeddingCases.filter(trainable) });
checkGradient('gather_rows', { cases: gatherRowsCases.filter(({ inputs: { x } }) => x?.dtype === 'f32') });
