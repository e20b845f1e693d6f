import { ShapeError } from '../errors.js';
import type { Tensor } from '../graph/tensor.js';
import { type Dimension, formatShape } from '../runtime/shape.js';
import { type Attrs, apply, expectDType, expectRank, expectShape, fixed, type Inputs, type Rules } from './op_rule.js';
import { composedSelfAttentionGrad } from './self_attention_composed.js';

function checkSelfAttention(op: 'self_attention' | 'self_attention_grad', { q, k, v, ranges }: Inputs<'self_attention'>): void {
  for (const [name, tensor] of Object.entries({ q, k, v })) {
    expectDType(op, name, tensor, 'f32');
    expectRank(op, name, tensor, 3);
  }
  expectDType(op, 'ranges', ranges, 'i32');
  expectShape(op, 'v', v, k.shape, 'the shape of k');
  expectShape(op, 'ranges', ranges, [q.shape[0] as Dimension, 4], 'two ranges of keys per token');
  const keyHeads = fixed(op, 'k', k, 1);
  if (keyHeads === 0 || fixed(op, 'q', q, 1) % keyHeads !== 0 || fixed(op, 'q', q, 2) !== fixed(op, 'k', k, 2))
    throw new ShapeError(
      `[${op}] q is ${formatShape(q.shape)} but k is ${formatShape(k.shape)}: expected the same width and heads that the key heads share equally`,
      { op, actual: k.shape },
    );
}

/** @internal Result types of the family's ops, and the errors where inputs do not fit. */
export const selfAttentionRules: Rules<'self_attention' | 'self_attention_grad' | 'seen_like'> = {
  self_attention: {
    infer: (inputs) => {
      checkSelfAttention('self_attention', inputs);
      const { q } = inputs;
      return { y: { dtype: 'f32', shape: q.shape }, lse: { dtype: 'f32', shape: q.shape.slice(0, 2) } };
    },
    gradient: ({ inputs, outputs, attrs, upstream, has, differentiable }) => {
      const dlse = has('lse') ? upstream.lse : undefined;
      const { dq, dk, dv } = differentiable
        ? composedSelfAttentionGrad({ ...inputs, dy: upstream.y, dlse }, attrs)
        : selfAttentionGrad({ ...inputs, ...outputs, dy: upstream.y, dlse }, attrs);
      return { q: dq, k: dk, v: dv };
    },
  },
  self_attention_grad: {
    infer: (inputs) => {
      checkSelfAttention('self_attention_grad', inputs);
      const { q, k, y, lse, dy, dlse } = inputs;
      for (const [name, tensor] of Object.entries({ y, lse, dy, dlse })) expectDType('self_attention_grad', name, tensor, 'f32');
      expectShape('self_attention_grad', 'y', y, q.shape, 'the shape of q');
      expectShape('self_attention_grad', 'dy', dy, q.shape, 'the shape of q');
      for (const [name, tensor] of Object.entries({ lse, dlse }))
        expectShape('self_attention_grad', name, tensor, q.shape.slice(0, 2), 'one per token and head');
      return {
        dq: { dtype: 'f32', shape: q.shape },
        dk: { dtype: 'f32', shape: k.shape },
        dv: { dtype: 'f32', shape: k.shape },
      };
    },
  },
  seen_like: {
    infer: ({ x, ranges }) => {
      expectRank('seen_like', 'x', x, 3);
      expectDType('seen_like', 'ranges', ranges, 'i32');
      expectShape('seen_like', 'ranges', ranges, [ranges.shape[0] as Dimension, 4], 'two ranges of keys per token');
      return { y: { dtype: 'f32', shape: x.shape } };
    },
    gradient: () => ({}),
  },
};

/**
 * Attention of q f32 [tokens, heads, width] over k and v f32 [keys, key heads, width] that are computed in the same pass, for
 * packed documents: token t sees the keys [r0, r1) and [r2, r3) of its row in ranges i32 [tokens, 4], two ranges that do not
 * meet. The second is usually the token's own document up to itself, from its start or inside a window; the first an optional
 * prefix. Query heads share key heads in equal groups. y f32 like q; lse f32 [tokens, heads], the logarithm of the sum of the
 * exponentials of the scores. A token without keys gives zeros and minus infinity. Never holds a [tokens, keys] matrix
 * (Dao et al. 2022, arXiv:2205.14135).
 */
export const selfAttention = (inputs: Inputs<'self_attention'>, attrs: Attrs<'self_attention'>): { y: Tensor; lse: Tensor } =>
  apply('self_attention', selfAttentionRules.self_attention, inputs, attrs);

/**
 * What `selfAttention` passes back to q, k and v from dy and dlse (may be left out: zero), the gradients of its y and lse. Takes its
 * inputs and both its outputs.
 */
export const selfAttentionGrad = (
  inputs: Inputs<'self_attention_grad'>,
  attrs: Attrs<'self_attention_grad'>,
): { dq: Tensor; dk: Tensor; dv: Tensor } => apply('self_attention_grad', selfAttentionRules.self_attention_grad, inputs, attrs);

/**
 * f32 in the shape of x [batch, rows, keys]: 1 where a token sees a key, else 0. Row r is token r mod tokens; ranges i32 [tokens, 4] as
 * `selfAttention` takes them. Only the shape of x is used.
 */
export const seenLike = (x: Tensor, ranges: Tensor): Tensor => apply('seen_like', selfAttentionRules.seen_like, { x, ranges }, {}).y;
