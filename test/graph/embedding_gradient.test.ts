import type { OpCase } from '../kernels/check_op.ts';
import { embeddingCases, gatherRowsCases } from '../kernels/embedding.cases.ts';
import { checkGradient } from './check_gradient.ts';

// Packed and 16-bit tables are frozen.
const trainable = ({ inputs: { weight } }: OpCase): boolean => weight?.dtype === 'f32' && weight.dims.length === 2;

checkGradient('embedding', { cases: embeddingCases.filter(trainable) });
checkGradient('gather_rows', { cases: gatherRowsCases.filter(({ inputs: { x } }) => x?.dtype === 'f32') });
