import { checkOp } from './check_op.ts';
import * as cases from './rope.cases.ts';
import * as reference from './rope.reference.ts';

checkOp('rope_table', { cases: cases.ropeTableCases, reference: reference.ropeTableReference });
checkOp('rope', { cases: cases.ropeCases, reference: reference.ropeReference });
