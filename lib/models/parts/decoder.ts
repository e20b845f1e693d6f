import type { ModelConfig } from '../../checkpoint/model_config.js';
import type { Tensor } from '../../graph/tensor.js';
import { type Activation, add, gate, rope, scale, softCap } from '../../ops/index.js';
import type { Slices } from '../../runtime/slices.js';
import type { ModelBuilder } from '../model_builder.js';
import { rotaryTable } from './rotary.js';

/** What tells one rotary decoder from another. Everything else they share. */
export interface DecoderDesign {
  /** One fused module `qkv_proj` and `gate_up_proj`, as Phi-3 stores them. */
  fusedProjections?: boolean;
  /** Norms over each head of q and k. */
  headNorms?: boolean;
  /** Norms after attention and feed-forward as well as before. */
  sandwichNorms?: boolean;
  /** Norm weights are stored as their difference from one. */
  normWeightOffset?: number;
  queryKeyValueBias?: boolean;
  outputBias?: boolean;
  feedForwardBias?: boolean;
  /** Embeddings are multiplied by the square root of the width. */
  scaledEmbeddings?: boolean;
}

/** A decoder of the Llama family: rotary attention and a gated feed-forward network, residual around both. Logits f32 [rows, vocabulary]. */
export function* decoder(b: ModelBuilder, c: ModelConfig, design: DecoderDesign): Slices<Tensor> {
  const prefix = 'model';
  const offset = design.normWeightOffset ?? 0;
  const norm = (x: Tensor, path: string): Tensor => b.rmsNorm(x, path, c.normEps, offset);
  let x = b.embed(`${prefix}.embed_tokens`, b.step.tokens, c.vocabularySize, c.hiddenSize, { tied: c.tiedEmbeddings });
  if (design.scaledEmbeddings) x = scale(x, embeddingScale(b, c, `${prefix}.embed_tokens.weight`));
  x = b.virtualTokens(x);
  for (let layer = 0; layer < c.layers; layer++) {
    x = b.layer(layer, () => decoderLayer(b, c, design, norm, x, layer, `${prefix}.layers.${layer}`));
    yield;
  }
  return head(b, c, norm(b.selectRows(x), `${prefix}.norm`), `${prefix}.embed_tokens.weight`);
}

function decoderLayer(
  b: ModelBuilder,
  c: ModelConfig,
  design: DecoderDesign,
  norm: (x: Tensor, path: string) => Tensor,
  x: Tensor,
  layer: number,
  path: string,
): Tensor {
  const sandwich = design.sandwichNorms ?? false;
  const attended = selfAttention(b, c, design, norm(x, `${path}.input_layernorm`), layer, path);
  const middle = add(x, sandwich ? norm(attended, `${path}.post_attention_layernorm`) : attended);
  const before = norm(middle, `${path}.${sandwich ? 'pre_feedforward' : 'post_attention'}_layernorm`);
  const fed = feedForward(b, c, design, before, path);
  return add(middle, sandwich ? norm(fed, `${path}.post_feedforward_layernorm`) : fed);
}

/** The output layer, with the embedding's weight where they are tied. */
export function head(b: ModelBuilder, c: ModelConfig, x: Tensor, embeddingWeight: string): Tensor {
  const logits = b.linear(x, 'lm_head', c.vocabularySize, { weight: c.tiedEmbeddings ? embeddingWeight : 'lm_head.weight' });
  return c.finalSoftCap ? softCap(logits, c.finalSoftCap) : logits;
}

// transformers rounds the factor to the dtype of the weights; models were trained with that rounding.
function embeddingScale(b: ModelBuilder, c: ModelConfig, weight: string): number {
  const exact = Math.sqrt(c.hiddenSize);
  if (!b.storedAs(weight, 'bf16')) return exact;
  const bits = new Uint32Array(Float32Array.of(exact).buffer);
  bits[0] = ((bits[0] as number) + 0x7fff + (((bits[0] as number) >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(bits.buffer)[0] as number;
}

function selfAttention(b: ModelBuilder, c: ModelConfig, design: DecoderDesign, x: Tensor, layer: number, path: string): Tensor {
  const tokens = x.shape[0] as NonNullable<Tensor['shape'][0]>;
  const widths = { q: c.heads * c.headWidth, kv: c.keyHeads * c.headWidth };
  const bias = design.queryKeyValueBias ?? false;
  let q: Tensor;
  let k: Tensor;
  let v: Tensor;
  if (design.fusedProjections) {
    const all = b.linear(x, `${path}.self_attn.qkv_proj`, widths.q + 2 * widths.kv, { bias });
    [q, k, v] = [
      all.columns(0, widths.q),
      all.columns(widths.q, widths.q + widths.kv),
      all.columns(widths.q + widths.kv, widths.q + 2 * widths.kv),
    ];
  } else {
    [q, k, v] = b.project(x, [
      { path: `${path}.self_attn.q_proj`, outputs: widths.q, bias },
      { path: `${path}.self_attn.k_proj`, outputs: widths.kv, bias },
      { path: `${path}.self_attn.v_proj`, outputs: widths.kv, bias },
    ]) as [Tensor, Tensor, Tensor];
  }
  let queries = q.reshape([tokens, c.heads, c.headWidth]);
  let keys = k.reshape([tokens, c.keyHeads, c.headWidth]);
  const values = v.reshape([tokens, c.keyHeads, c.headWidth]);
  if (design.headNorms) {
    queries = b.rmsNorm(queries, `${path}.self_attn.q_norm`, c.normEps, design.normWeightOffset);
    keys = b.rmsNorm(keys, `${path}.self_attn.k_norm`, c.normEps, design.normWeightOffset);
  }
  const sliding = c.layerTypes[layer] === 'sliding_attention';
  const table = rotaryTable(b, sliding ? (c.slidingRope ?? c.rope) : c.rope, c.headWidth);
  const attended = b.attend(rope(queries, table), rope(keys, table), values, layer, {
    scale: (c.queryScalar ?? c.headWidth) ** -0.5,
    window: sliding ? c.slidingWindow : 0,
    softCap: c.attentionSoftCap,
    // Where keys and values come from projections alone, as in the models that such adapters are made for.
    prompted: design.headNorms || design.fusedProjections ? undefined : { path: `${path}.self_attn`, inputs: c.hiddenSize },
  });
  return b.linear(attended, `${path}.self_attn.o_proj`, c.hiddenSize, { bias: design.outputBias });
}

function feedForward(b: ModelBuilder, c: ModelConfig, design: DecoderDesign, x: Tensor, path: string): Tensor {
  const bias = design.feedForwardBias ?? false;
  const inner = c.intermediateSize;
  let gated: Tensor;
  let up: Tensor;
  if (design.fusedProjections) {
    const both = b.linear(x, `${path}.mlp.gate_up_proj`, 2 * inner, { bias });
    [gated, up] = [both.columns(0, inner), both.columns(inner, 2 * inner)];
  } else {
    [gated, up] = b.project(x, [
      { path: `${path}.mlp.gate_proj`, outputs: inner, bias },
      { path: `${path}.mlp.up_proj`, outputs: inner, bias },
    ]) as [Tensor, Tensor];
  }
  return b.linear(gate(gated, up, c.activation as Activation), `${path}.mlp.down_proj`, c.hiddenSize, { bias });
}
