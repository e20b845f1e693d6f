// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "executor/op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

AccumulateArgs read_accumulate(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_accumulate(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return accumulate_cpu(read_accumulate(operands, attrs), context);
}

ActivateArgs read_activate(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<ActivateFunction>(attrs[0].integer)};
}

Status run_activate(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return activate_cpu(read_activate(operands, attrs), context);
}

ActivateGradArgs read_activate_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<ActivateGradFunction>(attrs[0].integer)};
}

Status run_activate_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return activate_grad_cpu(read_activate_grad(operands, attrs), context);
}

AdamwArgs read_adamw(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real), static_cast<float>(attrs[4].real)};
}

Status run_adamw(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return adamw_cpu(read_adamw(operands, attrs), context);
}

size_t workspace_adamw(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return adamw_cpu_workspace(read_adamw(operands, attrs), threads);
}

AddArgs read_add(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_add(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return add_cpu(read_add(operands, attrs), context);
}

AddBiasArgs read_add_bias(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_add_bias(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return add_bias_cpu(read_add_bias(operands, attrs), context);
}

AddRmsNormArgs read_add_rms_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_add_rms_norm(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return add_rms_norm_cpu(read_add_rms_norm(operands, attrs), context);
}

AdvanceArgs read_advance(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9]};
}

Status run_advance(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return advance_cpu(read_advance(operands, attrs), context);
}

ArgmaxArgs read_argmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_argmax(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return argmax_cpu(read_argmax(operands, attrs), context);
}

AttentionArgs read_attention(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], static_cast<int64_t>(attrs[0].integer), static_cast<int64_t>(attrs[1].integer), static_cast<AttentionCacheType>(attrs[2].integer), static_cast<int32_t>(attrs[3].integer), static_cast<float>(attrs[4].real), static_cast<int32_t>(attrs[5].integer), static_cast<float>(attrs[6].real)};
}

Status run_attention(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return attention_cpu(read_attention(operands, attrs), context);
}

size_t workspace_attention(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return attention_cpu_workspace(read_attention(operands, attrs), threads);
}

ClipFactorArgs read_clip_factor(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_clip_factor(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return clip_factor_cpu(read_clip_factor(operands, attrs), context);
}

ConcatColumnsArgs read_concat_columns(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4]};
}

Status run_concat_columns(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return concat_columns_cpu(read_concat_columns(operands, attrs), context);
}

ConcatRowsArgs read_concat_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_concat_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return concat_rows_cpu(read_concat_rows(operands, attrs), context);
}

CopyArgs read_copy(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_copy(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return copy_cpu(read_copy(operands, attrs), context);
}

DivideArgs read_divide(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_divide(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return divide_cpu(read_divide(operands, attrs), context);
}

EmbeddingArgs read_embedding(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<int64_t>(attrs[0].integer)};
}

Status run_embedding(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return embedding_cpu(read_embedding(operands, attrs), context);
}

GateArgs read_gate(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<GateFunction>(attrs[0].integer)};
}

Status run_gate(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return gate_cpu(read_gate(operands, attrs), context);
}

GateGradArgs read_gate_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<GateGradFunction>(attrs[0].integer)};
}

Status run_gate_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return gate_grad_cpu(read_gate_grad(operands, attrs), context);
}

GatherRowsArgs read_gather_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_gather_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return gather_rows_cpu(read_gather_rows(operands, attrs), context);
}

GroupedEmbeddingArgs read_grouped_embedding(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_embedding(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_embedding_cpu(read_grouped_embedding(operands, attrs), context);
}

size_t workspace_grouped_embedding(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_embedding_cpu_workspace(read_grouped_embedding(operands, attrs), threads);
}

GroupedEmbeddingGradFactorsArgs read_grouped_embedding_grad_factors(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_embedding_grad_factors(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_embedding_grad_factors_cpu(read_grouped_embedding_grad_factors(operands, attrs), context);
}

size_t workspace_grouped_embedding_grad_factors(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_embedding_grad_factors_cpu_workspace(read_grouped_embedding_grad_factors(operands, attrs), threads);
}

GroupedLoraArgs read_grouped_lora(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_lora_cpu(read_grouped_lora(operands, attrs), context);
}

size_t workspace_grouped_lora(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_lora_cpu_workspace(read_grouped_lora(operands, attrs), threads);
}

GroupedLoraGradFactorsArgs read_grouped_lora_grad_factors(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora_grad_factors(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_lora_grad_factors_cpu(read_grouped_lora_grad_factors(operands, attrs), context);
}

size_t workspace_grouped_lora_grad_factors(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_lora_grad_factors_cpu_workspace(read_grouped_lora_grad_factors(operands, attrs), threads);
}

GroupedLoraGradWeightArgs read_grouped_lora_grad_weight(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora_grad_weight(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_lora_grad_weight_cpu(read_grouped_lora_grad_weight(operands, attrs), context);
}

size_t workspace_grouped_lora_grad_weight(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_lora_grad_weight_cpu_workspace(read_grouped_lora_grad_weight(operands, attrs), threads);
}

GroupedLoraGradXArgs read_grouped_lora_grad_x(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora_grad_x(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_lora_grad_x_cpu(read_grouped_lora_grad_x(operands, attrs), context);
}

size_t workspace_grouped_lora_grad_x(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_lora_grad_x_cpu_workspace(read_grouped_lora_grad_x(operands, attrs), threads);
}

GroupedNormArgs read_grouped_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int32_t>(attrs[0].integer), static_cast<GroupedNormKind>(attrs[1].integer), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real)};
}

Status run_grouped_norm(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_norm_cpu(read_grouped_norm(operands, attrs), context);
}

GroupedPromptArgs read_grouped_prompt(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int32_t>(attrs[0].integer), static_cast<int32_t>(attrs[1].integer), static_cast<float>(attrs[2].real)};
}

Status run_grouped_prompt(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_prompt_cpu(read_grouped_prompt(operands, attrs), context);
}

size_t workspace_grouped_prompt(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_prompt_cpu_workspace(read_grouped_prompt(operands, attrs), threads);
}

InverseRmsArgs read_inverse_rms(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_inverse_rms(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return inverse_rms_cpu(read_inverse_rms(operands, attrs), context);
}

KvWriteArgs read_kv_write(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int64_t>(attrs[0].integer), static_cast<int64_t>(attrs[1].integer), static_cast<KvWriteCacheType>(attrs[2].integer), attrs[3].integer != 0};
}

Status run_kv_write(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return kv_write_cpu(read_kv_write(operands, attrs), context);
}

size_t workspace_kv_write(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return kv_write_cpu_workspace(read_kv_write(operands, attrs), threads);
}

LayerNormArgs read_layer_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real)};
}

Status run_layer_norm(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return layer_norm_cpu(read_layer_norm(operands, attrs), context);
}

LayerNormGradArgs read_layer_norm_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real)};
}

Status run_layer_norm_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return layer_norm_grad_cpu(read_layer_norm_grad(operands, attrs), context);
}

LinearArgs read_linear(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<LinearActivation>(attrs[0].integer)};
}

Status run_linear(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return linear_cpu(read_linear(operands, attrs), context);
}

size_t workspace_linear(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return linear_cpu_workspace(read_linear(operands, attrs), threads);
}

LinearGradArgs read_linear_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<LinearGradActivation>(attrs[0].integer)};
}

Status run_linear_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return linear_grad_cpu(read_linear_grad(operands, attrs), context);
}

size_t workspace_linear_grad(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return linear_grad_cpu_workspace(read_linear_grad(operands, attrs), threads);
}

LogSoftmaxArgs read_log_softmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_log_softmax(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return log_softmax_cpu(read_log_softmax(operands, attrs), context);
}

LogSoftmaxGradArgs read_log_softmax_grad(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_log_softmax_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return log_softmax_grad_cpu(read_log_softmax_grad(operands, attrs), context);
}

MapArgs read_map(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<MapFunction>(attrs[0].integer)};
}

Status run_map(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return map_cpu(read_map(operands, attrs), context);
}

MatmulArgs read_matmul(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], attrs[0].integer != 0, attrs[1].integer != 0};
}

Status run_matmul(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return matmul_cpu(read_matmul(operands, attrs), context);
}

size_t workspace_matmul(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return matmul_cpu_workspace(read_matmul(operands, attrs), threads);
}

MulArgs read_mul(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_mul(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return mul_cpu(read_mul(operands, attrs), context);
}

OneHotLikeArgs read_one_hot_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_one_hot_like(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return one_hot_like_cpu(read_one_hot_like(operands, attrs), context);
}

PadRowsArgs read_pad_rows(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<int64_t>(attrs[0].integer), attrs[1].integer != 0};
}

Status run_pad_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return pad_rows_cpu(read_pad_rows(operands, attrs), context);
}

ReduceArgs read_reduce(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<ReduceKind>(attrs[0].integer)};
}

Status run_reduce(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return reduce_cpu(read_reduce(operands, attrs), context);
}

RepeatColumnsArgs read_repeat_columns(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_repeat_columns(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return repeat_columns_cpu(read_repeat_columns(operands, attrs), context);
}

RepeatRowsArgs read_repeat_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_repeat_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return repeat_rows_cpu(read_repeat_rows(operands, attrs), context);
}

ReplaceRowsArgs read_replace_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3]};
}

Status run_replace_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return replace_rows_cpu(read_replace_rows(operands, attrs), context);
}

size_t workspace_replace_rows(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return replace_rows_cpu_workspace(read_replace_rows(operands, attrs), threads);
}

RmsNormArgs read_rms_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_rms_norm(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return rms_norm_cpu(read_rms_norm(operands, attrs), context);
}

RmsNormGradArgs read_rms_norm_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_rms_norm_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return rms_norm_grad_cpu(read_rms_norm_grad(operands, attrs), context);
}

RopeArgs read_rope(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], attrs[0].integer != 0, attrs[1].integer != 0};
}

Status run_rope(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return rope_cpu(read_rope(operands, attrs), context);
}

RopeTableArgs read_rope_table(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real), static_cast<int32_t>(attrs[4].integer)};
}

Status run_rope_table(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return rope_table_cpu(read_rope_table(operands, attrs), context);
}

SampleArgs read_sample(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], operands[10], operands[11]};
}

Status run_sample(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sample_cpu(read_sample(operands, attrs), context);
}

size_t workspace_sample(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return sample_cpu_workspace(read_sample(operands, attrs), threads);
}

ScaleArgs read_scale(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_scale(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return scale_cpu(read_scale(operands, attrs), context);
}

ScaleColumnsArgs read_scale_columns(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_scale_columns(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return scale_columns_cpu(read_scale_columns(operands, attrs), context);
}

ScaleRowsArgs read_scale_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_scale_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return scale_rows_cpu(read_scale_rows(operands, attrs), context);
}

ScatterAddRowsArgs read_scatter_add_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_scatter_add_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return scatter_add_rows_cpu(read_scatter_add_rows(operands, attrs), context);
}

SeenLikeArgs read_seen_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_seen_like(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return seen_like_cpu(read_seen_like(operands, attrs), context);
}

SelfAttentionArgs read_self_attention(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_self_attention(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return self_attention_cpu(read_self_attention(operands, attrs), context);
}

size_t workspace_self_attention(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return self_attention_cpu_workspace(read_self_attention(operands, attrs), threads);
}

SelfAttentionGradArgs read_self_attention_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], operands[10], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_self_attention_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return self_attention_grad_cpu(read_self_attention_grad(operands, attrs), context);
}

size_t workspace_self_attention_grad(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return self_attention_grad_cpu_workspace(read_self_attention_grad(operands, attrs), threads);
}

SgdArgs read_sgd(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<float>(attrs[0].real), attrs[1].integer != 0, static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real)};
}

Status run_sgd(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sgd_cpu(read_sgd(operands, attrs), context);
}

size_t workspace_sgd(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return sgd_cpu_workspace(read_sgd(operands, attrs), threads);
}

SliceRowsArgs read_slice_rows(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<int64_t>(attrs[0].integer), attrs[1].integer != 0};
}

Status run_slice_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return slice_rows_cpu(read_slice_rows(operands, attrs), context);
}

SoftCapArgs read_soft_cap(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_soft_cap(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return soft_cap_cpu(read_soft_cap(operands, attrs), context);
}

SoftCapGradArgs read_soft_cap_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<float>(attrs[0].real)};
}

Status run_soft_cap_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return soft_cap_grad_cpu(read_soft_cap_grad(operands, attrs), context);
}

SoftmaxArgs read_softmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_softmax(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return softmax_cpu(read_softmax(operands, attrs), context);
}

SoftmaxGradArgs read_softmax_grad(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_softmax_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return softmax_grad_cpu(read_softmax_grad(operands, attrs), context);
}

SparseLinearArgs read_sparse_linear(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5]};
}

Status run_sparse_linear(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sparse_linear_cpu(read_sparse_linear(operands, attrs), context);
}

SparseLinearGradValuesArgs read_sparse_linear_grad_values(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4]};
}

Status run_sparse_linear_grad_values(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sparse_linear_grad_values_cpu(read_sparse_linear_grad_values(operands, attrs), context);
}

SparseLinearGradXArgs read_sparse_linear_grad_x(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4]};
}

Status run_sparse_linear_grad_x(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sparse_linear_grad_x_cpu(read_sparse_linear_grad_x(operands, attrs), context);
}

SumRowsArgs read_sum_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_sum_rows(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sum_rows_cpu(read_sum_rows(operands, attrs), context);
}

SumSquaresArgs read_sum_squares(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_sum_squares(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return sum_squares_cpu(read_sum_squares(operands, attrs), context);
}

size_t workspace_sum_squares(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return sum_squares_cpu_workspace(read_sum_squares(operands, attrs), threads);
}

SwapAxesArgs read_swap_axes(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_swap_axes(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return swap_axes_cpu(read_swap_axes(operands, attrs), context);
}

TokenLogprobArgs read_token_logprob(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_token_logprob(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return token_logprob_cpu(read_token_logprob(operands, attrs), context);
}

TokenLogprobGradArgs read_token_logprob_grad(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3]};
}

Status run_token_logprob_grad(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return token_logprob_grad_cpu(read_token_logprob_grad(operands, attrs), context);
}

ZerosLikeArgs read_zeros_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_zeros_like(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return zeros_like_cpu(read_zeros_like(operands, attrs), context);
}

constexpr OpInfo kTable[] = {
    {"accumulate", 2, 1, 0, 0u, 1u, run_accumulate, nullptr},
    {"activate", 1, 1, 1, 0u, 0u, run_activate, nullptr},
    {"activate_grad", 2, 1, 1, 0u, 0u, run_activate_grad, nullptr},
    {"adamw", 6, 4, 5, 32u, 7u, run_adamw, workspace_adamw},
    {"add", 2, 1, 0, 0u, 0u, run_add, nullptr},
    {"add_bias", 2, 1, 0, 0u, 0u, run_add_bias, nullptr},
    {"add_rms_norm", 3, 2, 2, 4u, 0u, run_add_rms_norm, nullptr},
    {"advance", 6, 4, 0, 0u, 0u, run_advance, nullptr},
    {"argmax", 1, 1, 0, 0u, 0u, run_argmax, nullptr},
    {"attention", 5, 1, 7, 0u, 0u, run_attention, workspace_attention},
    {"clip_factor", 1, 1, 1, 0u, 0u, run_clip_factor, nullptr},
    {"concat_columns", 4, 1, 0, 14u, 0u, run_concat_columns, nullptr},
    {"concat_rows", 2, 1, 0, 0u, 0u, run_concat_rows, nullptr},
    {"copy", 1, 1, 0, 0u, 0u, run_copy, nullptr},
    {"divide", 2, 1, 0, 0u, 0u, run_divide, nullptr},
    {"embedding", 2, 1, 1, 0u, 0u, run_embedding, nullptr},
    {"gate", 2, 1, 1, 0u, 0u, run_gate, nullptr},
    {"gate_grad", 3, 2, 1, 0u, 0u, run_gate_grad, nullptr},
    {"gather_rows", 2, 1, 0, 0u, 0u, run_gather_rows, nullptr},
    {"grouped_embedding", 7, 1, 1, 0u, 1u, run_grouped_embedding, workspace_grouped_embedding},
    {"grouped_embedding_grad_factors", 8, 1, 1, 0u, 1u, run_grouped_embedding_grad_factors, workspace_grouped_embedding_grad_factors},
    {"grouped_lora", 9, 1, 1, 4u, 1u, run_grouped_lora, workspace_grouped_lora},
    {"grouped_lora_grad_factors", 9, 1, 1, 0u, 1u, run_grouped_lora_grad_factors, workspace_grouped_lora_grad_factors},
    {"grouped_lora_grad_weight", 8, 1, 1, 0u, 1u, run_grouped_lora_grad_weight, workspace_grouped_lora_grad_weight},
    {"grouped_lora_grad_x", 8, 1, 1, 0u, 1u, run_grouped_lora_grad_x, workspace_grouped_lora_grad_x},
    {"grouped_norm", 7, 1, 4, 0u, 1u, run_grouped_norm, nullptr},
    {"grouped_prompt", 7, 1, 3, 0u, 1u, run_grouped_prompt, workspace_grouped_prompt},
    {"inverse_rms", 1, 1, 1, 0u, 0u, run_inverse_rms, nullptr},
    {"kv_write", 7, 1, 4, 64u, 1u, run_kv_write, workspace_kv_write},
    {"layer_norm", 3, 1, 1, 6u, 0u, run_layer_norm, nullptr},
    {"layer_norm_grad", 3, 1, 1, 2u, 1u, run_layer_norm_grad, nullptr},
    {"linear", 3, 1, 1, 4u, 0u, run_linear, workspace_linear},
    {"linear_grad", 2, 1, 1, 0u, 0u, run_linear_grad, workspace_linear_grad},
    {"log_softmax", 1, 1, 0, 0u, 0u, run_log_softmax, nullptr},
    {"log_softmax_grad", 2, 1, 0, 0u, 1u, run_log_softmax_grad, nullptr},
    {"map", 1, 1, 1, 0u, 0u, run_map, nullptr},
    {"matmul", 2, 1, 2, 0u, 0u, run_matmul, workspace_matmul},
    {"mul", 2, 1, 0, 0u, 0u, run_mul, nullptr},
    {"one_hot_like", 2, 1, 0, 0u, 0u, run_one_hot_like, nullptr},
    {"pad_rows", 1, 1, 2, 0u, 0u, run_pad_rows, nullptr},
    {"reduce", 1, 1, 1, 0u, 0u, run_reduce, nullptr},
    {"repeat_columns", 1, 1, 0, 0u, 0u, run_repeat_columns, nullptr},
    {"repeat_rows", 1, 1, 0, 0u, 0u, run_repeat_rows, nullptr},
    {"replace_rows", 3, 1, 0, 0u, 1u, run_replace_rows, workspace_replace_rows},
    {"rms_norm", 2, 1, 2, 2u, 0u, run_rms_norm, nullptr},
    {"rms_norm_grad", 3, 1, 2, 2u, 1u, run_rms_norm_grad, nullptr},
    {"rope", 2, 1, 2, 0u, 1u, run_rope, nullptr},
    {"rope_table", 4, 1, 5, 12u, 0u, run_rope_table, nullptr},
    {"sample", 8, 4, 0, 0u, 0u, run_sample, workspace_sample},
    {"scale", 1, 1, 1, 0u, 0u, run_scale, nullptr},
    {"scale_columns", 2, 1, 0, 0u, 0u, run_scale_columns, nullptr},
    {"scale_rows", 2, 1, 0, 0u, 0u, run_scale_rows, nullptr},
    {"scatter_add_rows", 2, 1, 0, 0u, 0u, run_scatter_add_rows, nullptr},
    {"seen_like", 2, 1, 0, 0u, 0u, run_seen_like, nullptr},
    {"self_attention", 4, 2, 2, 0u, 0u, run_self_attention, workspace_self_attention},
    {"self_attention_grad", 8, 3, 2, 128u, 0u, run_self_attention_grad, workspace_self_attention_grad},
    {"sgd", 5, 3, 4, 16u, 3u, run_sgd, workspace_sgd},
    {"slice_rows", 1, 1, 2, 0u, 0u, run_slice_rows, nullptr},
    {"soft_cap", 1, 1, 1, 0u, 0u, run_soft_cap, nullptr},
    {"soft_cap_grad", 2, 1, 1, 0u, 0u, run_soft_cap_grad, nullptr},
    {"softmax", 1, 1, 0, 0u, 0u, run_softmax, nullptr},
    {"softmax_grad", 2, 1, 0, 0u, 1u, run_softmax_grad, nullptr},
    {"sparse_linear", 5, 1, 0, 0u, 1u, run_sparse_linear, nullptr},
    {"sparse_linear_grad_values", 4, 1, 0, 0u, 0u, run_sparse_linear_grad_values, nullptr},
    {"sparse_linear_grad_x", 4, 1, 0, 0u, 0u, run_sparse_linear_grad_x, nullptr},
    {"sum_rows", 1, 1, 0, 0u, 0u, run_sum_rows, nullptr},
    {"sum_squares", 1, 1, 0, 0u, 0u, run_sum_squares, workspace_sum_squares},
    {"swap_axes", 1, 1, 0, 0u, 0u, run_swap_axes, nullptr},
    {"token_logprob", 2, 1, 0, 0u, 0u, run_token_logprob, nullptr},
    {"token_logprob_grad", 3, 1, 0, 0u, 1u, run_token_logprob_grad, nullptr},
    {"zeros_like", 1, 1, 0, 0u, 0u, run_zeros_like, nullptr},
};

}  // namespace

const OpInfo& op_info(Op op) { return kTable[static_cast<int>(op)]; }
const char* op_table_hash() { return "4735b66e1dffdd1f"; }

}  // namespace heddle
