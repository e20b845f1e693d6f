import { checkOp } from './check_op.ts';
import * as cases from './embedding.cases.ts';
import * as reference from './embedding.reference.ts';

checkOp('embedding', { cases: cases.embeddingCases, reference: reference.embedding });
checkOp('gather_rows', { cases: cases.gatherRowsCases, reference: reference.gatherRows });
