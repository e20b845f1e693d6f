import * as cases from '../kernels/reduce.cases.ts';
import { checkGradient } from './check_gradient.ts';

// A number alone has no row to repeat it in, and nothing is the maximum of nothing.
const reducible = cases.reduceCases.filter(({ name, inputs }) => (inputs.x?.dims.length ?? 0) > 1 && name !== 'max, nothing to reduce');
checkGradient('reduce', { cases: reducible });
checkGradient('sum_rows', { cases: cases.sumRowsCases });
checkGradient('repeat_rows', { cases: cases.repeatRowsCases });
checkGradient('repeat_columns', { cases: cases.repeatColumnsCases });
