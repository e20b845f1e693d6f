import * as layout from '../kernels/layout.cases.ts';
import { matmulCases } from '../kernels/matmul.cases.ts';
import { checkGradient } from './check_gradient.ts';

checkGradient('concat_columns', { cases: layout.concatColumnsCases });
checkGradient('concat_rows', { cases: layout.concatRowsCases });
checkGradient('slice_rows', { cases: layout.sliceRowsCases });
checkGradient('pad_rows', { cases: layout.padRowsCases });
checkGradient('swap_axes', { cases: layout.swapAxesCases });
checkGradient('scatter_add_rows', { cases: layout.scatterAddRowsCases });
checkGradient('replace_rows', { cases: layout.replaceRowsCases });
checkGradient('matmul', { cases: matmulCases });
