// The float64 definition of every op, so that tests can evaluate whole graphs.
import type { OpName } from '../../lib/generated/op_table.js';
import * as attention from './attention.reference.ts';
import type { Reference } from './check_op.ts';
import * as elementwise from './elementwise.reference.ts';
import * as embedding from './embedding.reference.ts';
import * as groupedLora from './grouped_lora.reference.ts';
import * as groupedLoraGrad from './grouped_lora_grad.reference.ts';
import * as layout from './layout.reference.ts';
import * as linear from './linear.reference.ts';
import * as matmul from './matmul.reference.ts';
import * as norm from './norm.reference.ts';
import * as reduce from './reduce.reference.ts';
import * as rope from './rope.reference.ts';
import * as selfAttention from './self_attention.reference.ts';
import * as softmax from './softmax.reference.ts';
import * as sparse from './sparse.reference.ts';

/** By op; an op that is missing cannot be part of a graph that a test evaluates. */
export const references: Readonly<Partial<Record<OpName, Reference>>> = {
  attention: attention.attentionReference,
  kv_write: attention.kvWriteReference,

  accumulate: elementwise.accumulate,
  activate: elementwise.activate,
  activate_grad: elementwise.activateGrad,
  add: elementwise.add,
  add_bias: elementwise.addBias,
  copy: elementwise.copy,
  divide: elementwise.divide,
  gate: elementwise.gate,
  gate_grad: elementwise.gateGrad,
  map: elementwise.map,
  mul: elementwise.mul,
  scale: elementwise.scale,
  scale_columns: elementwise.scaleColumns,
  scale_rows: elementwise.scaleRows,
  soft_cap: elementwise.softCap,
  soft_cap_grad: elementwise.softCapGrad,
  zeros_like: elementwise.zerosLike,

  embedding: embedding.embedding,
  gather_rows: embedding.gatherRows,

  grouped_embedding: groupedLora.groupedEmbedding,
  grouped_lora: groupedLora.groupedLora,
  grouped_embedding_grad_factors: groupedLoraGrad.groupedEmbeddingGradFactors,
  grouped_lora_grad_factors: groupedLoraGrad.groupedLoraGradFactors,
  grouped_lora_grad_weight: groupedLoraGrad.groupedLoraGradWeight,
  grouped_lora_grad_x: groupedLoraGrad.groupedLoraGradX,
  grouped_norm: groupedLora.groupedNorm,

  concat_columns: layout.concatColumns,
  concat_rows: layout.concatRows,
  pad_rows: layout.padRows,
  replace_rows: layout.replaceRows,
  scatter_add_rows: layout.scatterAddRows,
  slice_rows: layout.sliceRows,
  swap_axes: layout.swapAxes,

  linear: linear.linear,
  linear_grad: linear.linearGrad,

  matmul: matmul.matmul,

  add_rms_norm: norm.addRmsNorm,
  inverse_rms: norm.inverseRms,
  layer_norm: norm.layerNorm,
  layer_norm_grad: norm.layerNormGrad,
  rms_norm: norm.rmsNorm,
  rms_norm_grad: norm.rmsNormGrad,

  argmax: reduce.argmax,
  reduce: reduce.reduce,
  repeat_columns: reduce.repeatColumns,
  repeat_rows: reduce.repeatRows,
  sum_rows: reduce.sumRows,

  rope: rope.ropeReference,
  rope_table: rope.ropeTableReference,

  seen_like: selfAttention.seenLikeReference,
  self_attention: selfAttention.selfAttentionReference,
  self_attention_grad: selfAttention.selfAttentionGradReference,

  log_softmax: softmax.logSoftmax,
  log_softmax_grad: softmax.logSoftmaxGrad,
  one_hot_like: softmax.oneHotLike,
  softmax: softmax.softmax,
  softmax_grad: softmax.softmaxGrad,
  token_logprob: softmax.tokenLogprob,
  token_logprob_grad: softmax.tokenLogprobGrad,

  sparse_linear: sparse.sparseLinear,
  sparse_linear_grad_values: sparse.sparseLinearGradValues,
  sparse_linear_grad_x: sparse.sparseLinearGradX,
};
