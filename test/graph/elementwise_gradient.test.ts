import { f32, type OpCase } from '../kernels/check_op.ts';
import * as cases from '../kernels/elementwise.cases.ts';
import { checkGradient } from './check_gradient.ts';

const named = (all: readonly OpCase[], ...names: string[]): OpCase[] => all.filter(({ name }) => names.some((part) => name.includes(part)));
// Every seventh value of long lists: differences need many evaluations.
const thin = (all: readonly OpCase[]): OpCase[] =>
  all.map((test) => {
    const values = test.inputs.x?.values;
    if (!test.name.includes('sweep') || values === undefined) return test;
    const x = f32(
      [Math.ceil(values.length / 7)],
      values.filter((_, i) => i % 7 === 0),
    );
    return { ...test, inputs: { x }, outputs: { y: { dtype: 'f32', dims: x.dims } } };
  });
// relu bends at 0.
const smooth = (value: number, input: string, test: OpCase): boolean =>
  test.attrs?.function !== 'relu' || input === 'up' || Math.abs(value) > 0.01;

checkGradient('add', { cases: cases.addCases });
checkGradient('mul', { cases: cases.mulCases });
checkGradient('divide', { cases: cases.divideCases });
checkGradient('add_bias', { cases: cases.addBiasCases });
checkGradient('scale', { cases: cases.scaleCases });
checkGradient('scale_columns', { cases: cases.scaleColumnsCases });
checkGradient('scale_rows', { cases: cases.scaleRowsCases });
checkGradient('activate', { cases: thin(cases.activateCases), smooth });
checkGradient('gate', { cases: cases.gateCases, smooth });
checkGradient('soft_cap', { cases: thin(cases.softCapCases) });
checkGradient('copy', { cases: named(cases.copyCases, 'f32') });
checkGradient('accumulate', { cases: cases.accumulateCases });

const kinks = new Set(['abs', 'sign', 'step']);
checkGradient('map', {
  cases: thin(cases.mapCases).filter(({ name }) => /strided|none/.test(name) || /^(neg|complement|normal_cdf|square), sweep/.test(name)),
  smooth: (value, _input, test) => !kinks.has(test.attrs?.function as string) || Math.abs(value) > 0.01,
});
