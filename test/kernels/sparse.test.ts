import { describe, expect, it } from 'vitest';
import { checkOp, tolerance } from './check_op.ts';
import * as cases from './sparse.cases.ts';
import * as reference from './sparse.reference.ts';

checkOp('sparse_linear', { cases: cases.sparseLinearCases, reference: reference.sparseLinear });
checkOp('sparse_linear_grad_x', { cases: cases.sparseLinearGradXCases, reference: reference.sparseLinearGradX });
checkOp('sparse_linear_grad_values', { cases: cases.sparseLinearGradValuesCases, reference: reference.sparseLinearGradValues });

describe('the sampled product', () => {
  for (const { name, inputs, outputs, error, reduction = 1 } of cases.sparseLinearGradValuesCases)
    if (error === undefined && (inputs.x?.dims[1] as number) < 1000)
      it(`is the dense gradient at the numbers' places: ${name}`, () => {
        const { dvalues } = reference.sparseLinearGradValues(inputs, {}, { dvalues: outputs?.dvalues?.dims as number[] });
        const dense = reference.maskedDenseGradient(inputs);
        dense.forEach((value, i) => {
          expect(Math.abs(value - (dvalues?.[i] as number))).toBeLessThanOrEqual(tolerance('f32', reduction) * (1 + Math.abs(value)));
        });
      });
});
