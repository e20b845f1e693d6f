import { checkOp } from './check_op.ts';
import * as cases from './norm.cases.ts';
import * as reference from './norm.reference.ts';

checkOp('rms_norm', { cases: cases.rmsNormCases, reference: reference.rmsNorm });
checkOp('add_rms_norm', { cases: cases.addRmsNormCases, reference: reference.addRmsNorm });
checkOp('layer_norm', { cases: cases.layerNormCases, reference: reference.layerNorm });
checkOp('rms_norm_grad', { cases: cases.rmsNormGradCases, reference: reference.rmsNormGrad });
checkOp('layer_norm_grad', { cases: cases.layerNormGradCases, reference: reference.layerNormGrad });
checkOp('inverse_rms', { cases: cases.inverseRmsCases, reference: reference.inverseRms });
