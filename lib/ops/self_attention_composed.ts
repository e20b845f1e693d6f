import type { Tensor } from '../graph/tensor.js';
import type { Dimension } from '../runtime/shape.js';
import { add, mul, scale, softCap } from './elementwise.js';
import { swapAxes } from './layout.js';
import { map } from './map.js';
import { matmul } from './matmul.js';
import { type Attrs, fixed } from './op_rule.js';
import { reduce, repeatColumns } from './reduce.js';
import { seenLike } from './self_attention.js';
import { softmax } from './softmax.js';

/** Below any score, and far from overflow. */
const unseen = -1e30;

/**
 * @internal The gradient of `selfAttention` written with ops that have gradients themselves. Holds [heads, tokens, keys] matrices: for
 * second derivatives, not for speed.
 */
export function composedSelfAttentionGrad(
  inputs: { q: Tensor; k: Tensor; v: Tensor; ranges: Tensor; dy: Tensor; dlse?: Tensor | undefined },
  attrs: Attrs<'self_attention'>,
): { dq: Tensor; dk: Tensor; dv: Tensor } {
  const { ranges } = inputs;
  const [tokens, heads] = inputs.q.shape as [Dimension, Dimension, Dimension];
  const width = fixed('self_attention', 'q', inputs.q, 2);
  const keyHeads = fixed('self_attention', 'k', inputs.k, 1);
  const group = (heads as number) / keyHeads;
  const rows: Dimension = typeof tokens === 'number' ? group * tokens : { ...tokens, coefficient: group * tokens.coefficient };
  // Heads outermost, so that the heads that share keys are one matrix: [tokens, heads, ..] to [key heads, group x tokens, ..].
  const queryRows = (x: Tensor): Tensor => swapAxes(x).reshape([keyHeads, rows, ...x.shape.slice(2)]);
  const [q, dy, k, v] = [queryRows(inputs.q), queryRows(inputs.dy), swapAxes(inputs.k), swapAxes(inputs.v)] as const;

  const products = scale(matmul(q, k, { transposeB: true }), attrs.scale);
  const scores = attrs.softCap > 0 ? softCap(products, attrs.softCap) : products;
  const seen = seenLike(scores, ranges);
  const weights = mul(softmax(add(mul(scores, seen), scale(map(seen, 'complement'), unseen))), seen);
  const ofWeights = matmul(dy, v, { transposeB: true });
  let shared = scale(reduce(mul(weights, ofWeights), 'sum'), -1);
  if (inputs.dlse !== undefined) shared = add(shared, queryRows(inputs.dlse));
  let ofScores = mul(weights, add(ofWeights, repeatColumns(shared, ofWeights)));
  if (attrs.softCap > 0) ofScores = mul(ofScores, map(map(scale(scores, 1 / attrs.softCap), 'square'), 'complement'));
  ofScores = scale(ofScores, attrs.scale);
  return {
    dq: swapAxes(matmul(ofScores, k).reshape([heads, tokens, width])),
    dk: swapAxes(matmul(ofScores, q, { transposeA: true })),
    dv: swapAxes(matmul(weights, dy, { transposeA: true })),
  };
}
