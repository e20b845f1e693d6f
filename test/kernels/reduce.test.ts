import { checkOp } from './check_op.ts';
import * as cases from './reduce.cases.ts';
import * as reference from './reduce.reference.ts';

checkOp('reduce', { cases: cases.reduceCases, reference: reference.reduce });
checkOp('argmax', { cases: cases.argmaxCases, reference: reference.argmax });
checkOp('sum_rows', { cases: cases.sumRowsCases, reference: reference.sumRows });
checkOp('repeat_rows', { cases: cases.repeatRowsCases, reference: reference.repeatRows });
checkOp('repeat_columns', { cases: cases.repeatColumnsCases, reference: reference.repeatColumns });
