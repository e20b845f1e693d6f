import * as sparse from '../kernels/sparse.cases.ts';
import { checkGradient } from './check_gradient.ts';

checkGradient('sparse_linear', { cases: sparse.sparseLinearCases });
checkGradient('sparse_linear_grad_x', { cases: sparse.sparseLinearGradXCases });
checkGradient('sparse_linear_grad_values', { cases: sparse.sparseLinearGradValuesCases });
