import { checkOp } from './check_op.ts';
import * as cases from './softmax.cases.ts';
import * as reference from './softmax.reference.ts';

checkOp('softmax', { cases: cases.softmaxCases, reference: reference.softmax });
checkOp('log_softmax', { cases: cases.logSoftmaxCases, reference: reference.logSoftmax });
checkOp('token_logprob', { cases: cases.tokenLogprobCases, reference: reference.tokenLogprob });
checkOp('softmax_grad', { cases: cases.softmaxGradCases, reference: reference.softmaxGrad });
checkOp('log_softmax_grad', { cases: cases.logSoftmaxGradCases, reference: reference.logSoftmaxGrad });
checkOp('token_logprob_grad', { cases: cases.tokenLogprobGradCases, reference: reference.tokenLogprobGrad });
checkOp('one_hot_like', { cases: cases.oneHotLikeCases, reference: reference.oneHotLike });
