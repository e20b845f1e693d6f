// The two shapes everything is measured on, and where their files lie.
import os from 'node:os';
import path from 'node:path';

export const benchFolder = process.env.HEDDLE_BENCH_DIR ?? path.join(os.tmpdir(), 'heddle-bench');

/** Sizes in the words of a Hugging Face config. */
export const shapes = {
  // SmolLM-135M with a head of its own: about 163 M weights.
  small: { hidden: 576, layers: 30, heads: 9, keyValueHeads: 3, headSize: 64, inner: 1536, vocabulary: 49152 },
  // TinyLlama-1.1B.
  base: { hidden: 2048, layers: 22, heads: 32, keyValueHeads: 4, headSize: 64, inner: 5632, vocabulary: 32000 },
  // For trying the scripts themselves.
  tiny: { hidden: 128, layers: 2, heads: 2, keyValueHeads: 1, headSize: 64, inner: 256, vocabulary: 512 },
};
for (const shape of Object.values(shapes)) Object.assign(shape, { context: 4096, ropeTheta: 10000, normEpsilon: 1e-5 });

/** The seven linears of a layer: Hugging Face's name, GGUF's name, [outputs, inputs]. */
export function linearsOf(shape) {
  const queries = shape.heads * shape.headSize;
  const keys = shape.keyValueHeads * shape.headSize;
  return [
    { name: 'self_attn.q_proj', gguf: 'attn_q', dims: [queries, shape.hidden], ropeHeads: shape.heads },
    { name: 'self_attn.k_proj', gguf: 'attn_k', dims: [keys, shape.hidden], ropeHeads: shape.keyValueHeads },
    { name: 'self_attn.v_proj', gguf: 'attn_v', dims: [keys, shape.hidden] },
    { name: 'self_attn.o_proj', gguf: 'attn_output', dims: [shape.hidden, queries], residual: true },
    { name: 'mlp.gate_proj', gguf: 'ffn_gate', dims: [shape.inner, shape.hidden] },
    { name: 'mlp.up_proj', gguf: 'ffn_up', dims: [shape.inner, shape.hidden] },
    { name: 'mlp.down_proj', gguf: 'ffn_down', dims: [shape.hidden, shape.inner], residual: true },
  ];
}

/** What a shape's config.json holds. */
export const configOf = (shape) => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: shape.hidden,
  intermediate_size: shape.inner,
  num_hidden_layers: shape.layers,
  num_attention_heads: shape.heads,
  num_key_value_heads: shape.keyValueHeads,
  head_dim: shape.headSize,
  hidden_act: 'silu',
  vocab_size: shape.vocabulary,
  max_position_embeddings: shape.context,
  rms_norm_eps: shape.normEpsilon,
  rope_theta: shape.ropeTheta,
  rope_scaling: null,
  tie_word_embeddings: false,
  attention_bias: false,
  mlp_bias: false,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: 'bfloat16',
});

export function parameterCount(shape) {
  const perLayer = linearsOf(shape).reduce((sum, { dims }) => sum + dims[0] * dims[1], 2 * shape.hidden);
  return shape.layers * perLayer + 2 * shape.vocabulary * shape.hidden + shape.hidden;
}

/** Paths of one shape's files. */
export function filesOf(name) {
  const root = path.join(benchFolder, name);
  const number = (index) => String(index).padStart(3, '0');
  return {
    root,
    huggingFace: path.join(root, 'hf'),
    gguf: path.join(root, 'model.gguf'),
    adapter: (rank, index) => path.join(root, 'adapters', `r${rank}`, number(index)),
    adapterGguf: (rank, index) => path.join(root, 'adapters', `r${rank}`, `${number(index)}.gguf`),
  };
}
