import { checkOp, f32, i32, type OpCase, type Operand } from './check_op.ts';
import { randomNormal } from './numbers.ts';
import { logSoftmax, softmax, tokenLogprob } from './softmax.reference.ts';

const out = (dims: readonly number[], stride?: number) => ({
  y: { dtype: 'f32' as const, dims, ...(stride === undefined ? {} : { stride }) },
});
const spread = (dims: readonly number[], scale: number): Operand =>
  f32(
    dims,
    randomNormal(
      dims.reduce((n, d) => n * d, 1),
      5,
    ).map((v) => v * scale),
  );
const I = Infinity;

const cases: OpCase[] = [
  ...[[1], [17], [3, 1], [3, 17], [2, 3, 4], [2, 2, 3, 5], [0, 8], [4, 0], [3, 2048], [3, 2049], [2, 5003]].map((dims) => ({
    name: `[${dims}]`,
    inputs: { x: f32(dims) },
    outputs: out(dims),
    reduction: dims.at(-1) as number,
  })),
  { name: 'wide spread', inputs: { x: spread([4, 300], 40) }, outputs: out([4, 300]), reduction: 300 },
  {
    name: 'far from zero',
    inputs: { x: f32([2, 4], [1e30, 1e30, -1e30, 1e29, -1e30, -1e30, -1e30, -1e30]) },
    outputs: out([2, 4]),
    reduction: 4,
  },
  {
    name: 'masked, and fully masked',
    inputs: { x: f32([3, 4], [-I, 1, 2, -I, -I, -I, -I, -I, -I, 5, -I, -I]) },
    outputs: out([3, 4]),
    reduction: 4,
  },
  {
    name: 'NaN and infinity fill their rows',
    inputs: { x: f32([3, 4], [1, NaN, 2, 3, 1, 2, 3, 4, 1, I, 2, 3]) },
    outputs: out([3, 4]),
    reduction: 4,
  },
  { name: 'columns of a wider tensor', inputs: { x: f32.strided([5, 19], 30) }, outputs: out([5, 19], 20), reduction: 19 },
  { name: 'unequal shapes', inputs: { x: f32([5, 19]) }, outputs: out([5, 18]), error: /x is f32 \[5, 19\] but y is f32 \[5, 18\]/ },
];
checkOp('softmax', { cases, reference: softmax });
checkOp('log_softmax', { cases, reference: logSoftmax });

const targets = (name: string, logits: Operand, target: number[], more: Partial<OpCase> = {}): OpCase => ({
  name,
  inputs: { logits, target: i32([target.length], target) },
  outputs: { logprob: { dtype: 'f32', dims: [target.length] } },
  reduction: 16,
  ...more,
});
checkOp('token_logprob', {
  cases: [
    targets('small', f32([4, 7]), [0, 6, -1, 3]),
    targets('a vocabulary of 256000', f32([2, 256_000]), [255_999, 17]),
    targets('likely and unlikely', spread([3, 5000], 12), [0, 1, 4999]),
    targets('masked target', f32([1, 3], [-I, 0, 0]), [0]),
    targets('columns of a wider tensor', f32.strided([3, 50], 64), [0, 49, 7]),
    targets('no rows', f32([0, 7]), []),
    targets('target beyond the vocabulary', f32([2, 7]), [0, 7], { error: /target\[1\] is 7: expected less than 7/ }),
    targets('too few targets', f32([2, 7]), [0], { error: /target is i32 \[1\]/ }),
  ],
  reference: tokenLogprob,
});
