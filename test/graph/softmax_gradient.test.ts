import type { OpCase } from '../kernels/check_op.ts';
import * as cases from '../kernels/softmax.cases.ts';
import { checkGradient } from './check_gradient.ts';

// Where one probability is almost 1 the terms of a gradient cancel in f32. Long rows take seconds each in float64.
const short = ({ inputs: { x, logits }, name }: OpCase): boolean => name !== 'wide spread' && ((x ?? logits)?.values.length ?? 0) <= 20_000;

checkGradient('softmax', { cases: cases.softmaxCases.filter(short) });
checkGradient('log_softmax', { cases: cases.logSoftmaxCases.filter(short) });
checkGradient('token_logprob', { cases: cases.tokenLogprobCases.filter(short) });
