import { ropeCases } from '../kernels/rope.cases.ts';
import { checkGradient } from './check_gradient.ts';

// Tables are made of positions, not learned.
checkGradient('rope', { cases: ropeCases, inputs: ['x'] });
