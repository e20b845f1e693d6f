import type { OpCase } from '../kernels/check_op.ts';
import * as cases from '../kernels/norm.cases.ts';
import { checkGradient } from './check_gradient.ts';

// A row of one element, or of equal ones, is its own norm: what the gradient leaves is rounding. Long rows take seconds each in float64.
const wide = ({ inputs: { x }, name }: OpCase): boolean =>
  x?.dims.at(-1) !== 1 && name !== 'constant rows' && (x?.values.length ?? 0) <= 1000;

checkGradient('rms_norm', { cases: cases.rmsNormCases.filter(wide) });
checkGradient('layer_norm', { cases: cases.layerNormCases.filter(wide) });
checkGradient('inverse_rms', { cases: cases.inverseRmsCases.filter(wide) });
