import { describe, expect, it } from 'vitest';
import { checkOp, f32, runOp } from './check_op.ts';
import * as cases from './elementwise.cases.ts';
import * as reference from './elementwise.reference.ts';
import { testsCpu } from './test_devices.ts';

checkOp('add', { cases: cases.addCases, reference: reference.add });
checkOp('mul', { cases: cases.mulCases, reference: reference.mul });
checkOp('add_bias', { cases: cases.addBiasCases, reference: reference.addBias });
checkOp('scale', { cases: cases.scaleCases, reference: reference.scale });
checkOp('activate', { cases: cases.activateCases, reference: reference.activate });
checkOp('gate', { cases: cases.gateCases, reference: reference.gate });
checkOp('soft_cap', { cases: cases.softCapCases, reference: reference.softCap });
checkOp('copy', { cases: cases.copyCases, reference: reference.copy });
checkOp('activate_grad', { cases: cases.activateGradCases, reference: reference.activateGrad });
checkOp('gate_grad', { cases: cases.gateGradCases, reference: reference.gateGrad });
checkOp('soft_cap_grad', { cases: cases.softCapGradCases, reference: reference.softCapGrad });
checkOp('map', { cases: cases.mapCases, reference: reference.map });
checkOp('divide', { cases: cases.divideCases, reference: reference.divide });
checkOp('scale_columns', { cases: cases.scaleColumnsCases, reference: reference.scaleColumns });
checkOp('scale_rows', { cases: cases.scaleRowsCases, reference: reference.scaleRows });
checkOp('zeros_like', { cases: cases.zerosLikeCases, reference: reference.zerosLike });
checkOp('accumulate', { cases: cases.accumulateCases, reference: reference.accumulate });

const names = Object.keys(reference.functions);
describe.skipIf(!testsCpu)('activate', () => {
  it.each(names)('%s goes to its limits without jumping back', async (name) => {
    const x = Float64Array.from({ length: 4000 }, (_, i) => -i / 10 - 2);
    const { y } = await runOp('activate', {
      name,
      inputs: { x: f32([4000], x) },
      attrs: { function: name },
      outputs: { y: { dtype: 'f32', dims: [4000] } },
    });
    for (let i = 1; i < 4000; i++) {
      expect(Number.isFinite((y as Float64Array)[i]), `${name}(${x[i]})`).toBe(true);
      expect(Math.abs((y as Float64Array)[i] as number), `${name}(${x[i]})`).toBeLessThanOrEqual(
        name === 'tanh' ? 1 : Math.abs((y as Float64Array)[i - 1] as number) + 1e-41,
      );
    }
  });
});
