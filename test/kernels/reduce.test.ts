import { checkOp, f32, type OpCase, type Operand } from './check_op.ts';
import { argmax, reduce } from './reduce.reference.ts';

const I = Infinity;
const one = (name: string, x: Operand, more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { x },
  reduction: Math.max(1, x.dims.at(-1) as number),
  ...more,
});
const inputs: OpCase[] = [
  ...[[1, 1], [17], [3, 17], [2, 3, 4], [2, 3, 2, 129], [0, 5], [70, 333], [2, 50_001]].map((dims) => one(`[${dims}]`, f32(dims))),
  one('extremes', f32([4, 3], [1e30, -1e30, 1, 1e-45, 0, -1e-45, -I, 3, 4, I, 2, 3])),
  one('NaN', f32([4, 3], [NaN, 1, 2, 1, NaN, 2, 1, 2, NaN, NaN, NaN, NaN])),
  one('minus infinity everywhere', f32([2, 20], new Array(40).fill(-I))),
  one('columns of a wider tensor', f32.strided([5, 19], 30)),
  one('per head of a fused projection', f32.strided([5, 3, 6], 30)),
];
const typed = (dtype: 'f32' | 'i32', cases: OpCase[], attrs?: OpCase['attrs']): OpCase[] =>
  cases.map((test) => ({
    ...test,
    name: attrs === undefined ? test.name : `${attrs.kind}, ${test.name}`,
    attrs,
    outputs: { y: { dtype, dims: (test.inputs.x as Operand).dims.slice(0, -1) } },
  }));

checkOp('reduce', {
  cases: ['sum', 'mean', 'max'].flatMap((kind) => [
    // Sums of both signs cancel: judged against the size of what was added.
    ...typed('f32', inputs, { kind }).map((test) => ({
      ...test,
      absolute: test.name.includes('extremes') ? 1e24 : 2 ** -23 * (test.reduction as number),
    })),
    ...typed('f32', [one('nothing to reduce', f32([3, 0]))], { kind }),
    {
      name: `${kind}, another shape`,
      inputs: { x: f32([3, 4]) },
      attrs: { kind },
      outputs: { y: { dtype: 'f32' as const, dims: [4] } },
      error: /y is f32 \[4\]/,
    },
  ]),
  reference: reduce,
});

const ties = new Float64Array(6000).fill(-3);
for (const i of [70, 71, 2047, 2048, 2049, 5999]) ties[i] = 2.5;
checkOp('argmax', {
  cases: typed('i32', [
    ...inputs,
    one('the first of equal maxima', f32([3, 2000], ties)),
    one('equal maxima in different blocks', f32([1, 6000], ties)),
    one('nothing to choose from', f32([3, 0]), { error: /expected a last dimension of 1/ }),
  ]),
  reference: argmax,
});
