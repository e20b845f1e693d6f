import * as cases from '../kernels/reduce.cases.ts';
import { checkGradient } from './check_gradient.ts';

checkGradient('reduce', { cases: cases.reduceCases });
checkGradient('sum_rows', { cases: cases.sumRowsCases });
checkGradient('repeat_rows', { cases: cases.repeatRowsCases });
checkGradient('repeat_columns', { cases: cases.repeatColumnsCases });
