import { checkOp } from './check_op.ts';
import * as cases from './layout.cases.ts';
import * as reference from './layout.reference.ts';

checkOp('concat_columns', { cases: cases.concatColumnsCases, reference: reference.concatColumns });
checkOp('concat_rows', { cases: cases.concatRowsCases, reference: reference.concatRows });
checkOp('slice_rows', { cases: cases.sliceRowsCases, reference: reference.sliceRows });
checkOp('pad_rows', { cases: cases.padRowsCases, reference: reference.padRows });
checkOp('swap_axes', { cases: cases.swapAxesCases, reference: reference.swapAxes });
checkOp('scatter_add_rows', { cases: cases.scatterAddRowsCases, reference: reference.scatterAddRows });
checkOp('replace_rows', { cases: cases.replaceRowsCases, reference: reference.replaceRows });
