// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "cuda/cuda_op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

AccumulateArgs read_accumulate(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_accumulate(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return accumulate_cuda(read_accumulate(operands, attrs), context);
}

ActivateArgs read_activate(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<ActivateFunction>(attrs[0].integer)};
}

Status run_activate(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return activate_cuda(read_activate(operands, attrs), context);
}

ActivateGradArgs read_activate_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<ActivateGradFunction>(attrs[0].integer)};
}

Status run_activate_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return activate_grad_cuda(read_activate_grad(operands, attrs), context);
}

AdamwArgs read_adamw(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real), static_cast<float>(attrs[4].real)};
}

Status run_adamw(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return adamw_cuda(read_adamw(operands, attrs), context);
}

size_t workspace_adamw(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return adamw_cuda_workspace(read_adamw(operands, attrs), limits);
}

AddArgs read_add(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_add(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return add_cuda(read_add(operands, attrs), context);
}

AddBiasArgs read_add_bias(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_add_bias(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return add_bias_cuda(read_add_bias(operands, attrs), context);
}

AddRmsNormArgs read_add_rms_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_add_rms_norm(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return add_rms_norm_cuda(read_add_rms_norm(operands, attrs), context);
}

AdvanceArgs read_advance(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9]};
}

Status run_advance(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return advance_cuda(read_advance(operands, attrs), context);
}

ArgmaxArgs read_argmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_argmax(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return argmax_cuda(read_argmax(operands, attrs), context);
}

size_t workspace_argmax(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return argmax_cuda_workspace(read_argmax(operands, attrs), limits);
}

AttentionArgs read_attention(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], static_cast<int64_t>(attrs[0].integer), static_cast<int64_t>(attrs[1].integer), static_cast<AttentionCacheType>(attrs[2].integer), static_cast<int32_t>(attrs[3].integer), static_cast<float>(attrs[4].real), static_cast<int32_t>(attrs[5].integer), static_cast<float>(attrs[6].real)};
}

Status run_attention(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return attention_cuda(read_attention(operands, attrs), context);
}

size_t workspace_attention(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return attention_cuda_workspace(read_attention(operands, attrs), limits);
}

ClipFactorArgs read_clip_factor(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_clip_factor(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return clip_factor_cuda(read_clip_factor(operands, attrs), context);
}

ConcatColumnsArgs read_concat_columns(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4]};
}

Status run_concat_columns(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return concat_columns_cuda(read_concat_columns(operands, attrs), context);
}

ConcatRowsArgs read_concat_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_concat_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return concat_rows_cuda(read_concat_rows(operands, attrs), context);
}

CopyArgs read_copy(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_copy(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return copy_cuda(read_copy(operands, attrs), context);
}

DivideArgs read_divide(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_divide(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return divide_cuda(read_divide(operands, attrs), context);
}

EmbeddingArgs read_embedding(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<int64_t>(attrs[0].integer)};
}

Status run_embedding(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return embedding_cuda(read_embedding(operands, attrs), context);
}

GateArgs read_gate(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<GateFunction>(attrs[0].integer)};
}

Status run_gate(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return gate_cuda(read_gate(operands, attrs), context);
}

GateGradArgs read_gate_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<GateGradFunction>(attrs[0].integer)};
}

Status run_gate_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return gate_grad_cuda(read_gate_grad(operands, attrs), context);
}

GatherRowsArgs read_gather_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_gather_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return gather_rows_cuda(read_gather_rows(operands, attrs), context);
}

GroupedEmbeddingArgs read_grouped_embedding(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_embedding(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_embedding_cuda(read_grouped_embedding(operands, attrs), context);
}

GroupedEmbeddingGradFactorsArgs read_grouped_embedding_grad_factors(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_embedding_grad_factors(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_embedding_grad_factors_cuda(read_grouped_embedding_grad_factors(operands, attrs), context);
}

size_t workspace_grouped_embedding_grad_factors(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return grouped_embedding_grad_factors_cuda_workspace(read_grouped_embedding_grad_factors(operands, attrs), limits);
}

GroupedLoraArgs read_grouped_lora(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_lora_cuda(read_grouped_lora(operands, attrs), context);
}

size_t workspace_grouped_lora(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return grouped_lora_cuda_workspace(read_grouped_lora(operands, attrs), limits);
}

GroupedLoraGradFactorsArgs read_grouped_lora_grad_factors(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora_grad_factors(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_lora_grad_factors_cuda(read_grouped_lora_grad_factors(operands, attrs), context);
}

size_t workspace_grouped_lora_grad_factors(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return grouped_lora_grad_factors_cuda_workspace(read_grouped_lora_grad_factors(operands, attrs), limits);
}

GroupedLoraGradWeightArgs read_grouped_lora_grad_weight(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora_grad_weight(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_lora_grad_weight_cuda(read_grouped_lora_grad_weight(operands, attrs), context);
}

size_t workspace_grouped_lora_grad_weight(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return grouped_lora_grad_weight_cuda_workspace(read_grouped_lora_grad_weight(operands, attrs), limits);
}

GroupedLoraGradXArgs read_grouped_lora_grad_x(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora_grad_x(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_lora_grad_x_cuda(read_grouped_lora_grad_x(operands, attrs), context);
}

size_t workspace_grouped_lora_grad_x(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return grouped_lora_grad_x_cuda_workspace(read_grouped_lora_grad_x(operands, attrs), limits);
}

GroupedNormArgs read_grouped_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int32_t>(attrs[0].integer), static_cast<GroupedNormKind>(attrs[1].integer), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real)};
}

Status run_grouped_norm(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_norm_cuda(read_grouped_norm(operands, attrs), context);
}

GroupedPromptArgs read_grouped_prompt(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int32_t>(attrs[0].integer), static_cast<int32_t>(attrs[1].integer), static_cast<float>(attrs[2].real)};
}

Status run_grouped_prompt(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_prompt_cuda(read_grouped_prompt(operands, attrs), context);
}

InverseRmsArgs read_inverse_rms(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_inverse_rms(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return inverse_rms_cuda(read_inverse_rms(operands, attrs), context);
}

KvWriteArgs read_kv_write(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<int64_t>(attrs[0].integer), static_cast<int64_t>(attrs[1].integer), static_cast<KvWriteCacheType>(attrs[2].integer), attrs[3].integer != 0};
}

Status run_kv_write(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return kv_write_cuda(read_kv_write(operands, attrs), context);
}

LayerNormArgs read_layer_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real)};
}

Status run_layer_norm(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return layer_norm_cuda(read_layer_norm(operands, attrs), context);
}

LayerNormGradArgs read_layer_norm_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real)};
}

Status run_layer_norm_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return layer_norm_grad_cuda(read_layer_norm_grad(operands, attrs), context);
}

LinearArgs read_linear(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<LinearActivation>(attrs[0].integer)};
}

Status run_linear(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return linear_cuda(read_linear(operands, attrs), context);
}

size_t workspace_linear(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return linear_cuda_workspace(read_linear(operands, attrs), limits);
}

LinearGradArgs read_linear_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<LinearGradActivation>(attrs[0].integer)};
}

Status run_linear_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return linear_grad_cuda(read_linear_grad(operands, attrs), context);
}

size_t workspace_linear_grad(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return linear_grad_cuda_workspace(read_linear_grad(operands, attrs), limits);
}

LogSoftmaxArgs read_log_softmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_log_softmax(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return log_softmax_cuda(read_log_softmax(operands, attrs), context);
}

size_t workspace_log_softmax(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return log_softmax_cuda_workspace(read_log_softmax(operands, attrs), limits);
}

LogSoftmaxGradArgs read_log_softmax_grad(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_log_softmax_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return log_softmax_grad_cuda(read_log_softmax_grad(operands, attrs), context);
}

size_t workspace_log_softmax_grad(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return log_softmax_grad_cuda_workspace(read_log_softmax_grad(operands, attrs), limits);
}

MapArgs read_map(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<MapFunction>(attrs[0].integer)};
}

Status run_map(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return map_cuda(read_map(operands, attrs), context);
}

MatmulArgs read_matmul(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], attrs[0].integer != 0, attrs[1].integer != 0};
}

Status run_matmul(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return matmul_cuda(read_matmul(operands, attrs), context);
}

MulArgs read_mul(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_mul(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return mul_cuda(read_mul(operands, attrs), context);
}

OneHotLikeArgs read_one_hot_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_one_hot_like(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return one_hot_like_cuda(read_one_hot_like(operands, attrs), context);
}

PadRowsArgs read_pad_rows(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<int64_t>(attrs[0].integer), attrs[1].integer != 0};
}

Status run_pad_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return pad_rows_cuda(read_pad_rows(operands, attrs), context);
}

ReduceArgs read_reduce(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<ReduceKind>(attrs[0].integer)};
}

Status run_reduce(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return reduce_cuda(read_reduce(operands, attrs), context);
}

size_t workspace_reduce(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return reduce_cuda_workspace(read_reduce(operands, attrs), limits);
}

RepeatColumnsArgs read_repeat_columns(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_repeat_columns(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return repeat_columns_cuda(read_repeat_columns(operands, attrs), context);
}

RepeatRowsArgs read_repeat_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_repeat_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return repeat_rows_cuda(read_repeat_rows(operands, attrs), context);
}

ReplaceRowsArgs read_replace_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3]};
}

Status run_replace_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return replace_rows_cuda(read_replace_rows(operands, attrs), context);
}

size_t workspace_replace_rows(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return replace_rows_cuda_workspace(read_replace_rows(operands, attrs), limits);
}

RmsNormArgs read_rms_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_rms_norm(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return rms_norm_cuda(read_rms_norm(operands, attrs), context);
}

RmsNormGradArgs read_rms_norm_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_rms_norm_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return rms_norm_grad_cuda(read_rms_norm_grad(operands, attrs), context);
}

RopeArgs read_rope(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], attrs[0].integer != 0, attrs[1].integer != 0};
}

Status run_rope(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return rope_cuda(read_rope(operands, attrs), context);
}

RopeTableArgs read_rope_table(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real), static_cast<int32_t>(attrs[4].integer)};
}

Status run_rope_table(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return rope_table_cuda(read_rope_table(operands, attrs), context);
}

SampleArgs read_sample(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], operands[10], operands[11]};
}

Status run_sample(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sample_cuda(read_sample(operands, attrs), context);
}

size_t workspace_sample(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sample_cuda_workspace(read_sample(operands, attrs), limits);
}

ScaleArgs read_scale(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_scale(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return scale_cuda(read_scale(operands, attrs), context);
}

ScaleColumnsArgs read_scale_columns(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_scale_columns(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return scale_columns_cuda(read_scale_columns(operands, attrs), context);
}

ScaleRowsArgs read_scale_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_scale_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return scale_rows_cuda(read_scale_rows(operands, attrs), context);
}

ScatterAddRowsArgs read_scatter_add_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_scatter_add_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return scatter_add_rows_cuda(read_scatter_add_rows(operands, attrs), context);
}

size_t workspace_scatter_add_rows(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return scatter_add_rows_cuda_workspace(read_scatter_add_rows(operands, attrs), limits);
}

SeenLikeArgs read_seen_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_seen_like(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return seen_like_cuda(read_seen_like(operands, attrs), context);
}

SelfAttentionArgs read_self_attention(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_self_attention(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return self_attention_cuda(read_self_attention(operands, attrs), context);
}

SelfAttentionGradArgs read_self_attention_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], operands[10], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_self_attention_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return self_attention_grad_cuda(read_self_attention_grad(operands, attrs), context);
}

size_t workspace_self_attention_grad(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return self_attention_grad_cuda_workspace(read_self_attention_grad(operands, attrs), limits);
}

SgdArgs read_sgd(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<float>(attrs[0].real), attrs[1].integer != 0, static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real)};
}

Status run_sgd(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sgd_cuda(read_sgd(operands, attrs), context);
}

size_t workspace_sgd(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sgd_cuda_workspace(read_sgd(operands, attrs), limits);
}

SliceRowsArgs read_slice_rows(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<int64_t>(attrs[0].integer), attrs[1].integer != 0};
}

Status run_slice_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return slice_rows_cuda(read_slice_rows(operands, attrs), context);
}

SoftCapArgs read_soft_cap(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_soft_cap(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return soft_cap_cuda(read_soft_cap(operands, attrs), context);
}

SoftCapGradArgs read_soft_cap_grad(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<float>(attrs[0].real)};
}

Status run_soft_cap_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return soft_cap_grad_cuda(read_soft_cap_grad(operands, attrs), context);
}

SoftmaxArgs read_softmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_softmax(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return softmax_cuda(read_softmax(operands, attrs), context);
}

size_t workspace_softmax(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return softmax_cuda_workspace(read_softmax(operands, attrs), limits);
}

SoftmaxGradArgs read_softmax_grad(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_softmax_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return softmax_grad_cuda(read_softmax_grad(operands, attrs), context);
}

size_t workspace_softmax_grad(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return softmax_grad_cuda_workspace(read_softmax_grad(operands, attrs), limits);
}

SparseLinearArgs read_sparse_linear(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5]};
}

Status run_sparse_linear(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sparse_linear_cuda(read_sparse_linear(operands, attrs), context);
}

SparseLinearGradValuesArgs read_sparse_linear_grad_values(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4]};
}

Status run_sparse_linear_grad_values(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sparse_linear_grad_values_cuda(read_sparse_linear_grad_values(operands, attrs), context);
}

size_t workspace_sparse_linear_grad_values(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sparse_linear_grad_values_cuda_workspace(read_sparse_linear_grad_values(operands, attrs), limits);
}

SparseLinearGradXArgs read_sparse_linear_grad_x(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4]};
}

Status run_sparse_linear_grad_x(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sparse_linear_grad_x_cuda(read_sparse_linear_grad_x(operands, attrs), context);
}

size_t workspace_sparse_linear_grad_x(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sparse_linear_grad_x_cuda_workspace(read_sparse_linear_grad_x(operands, attrs), limits);
}

SumRowsArgs read_sum_rows(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_sum_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sum_rows_cuda(read_sum_rows(operands, attrs), context);
}

size_t workspace_sum_rows(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sum_rows_cuda_workspace(read_sum_rows(operands, attrs), limits);
}

SumSquaresArgs read_sum_squares(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_sum_squares(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sum_squares_cuda(read_sum_squares(operands, attrs), context);
}

size_t workspace_sum_squares(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sum_squares_cuda_workspace(read_sum_squares(operands, attrs), limits);
}

SwapAxesArgs read_swap_axes(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_swap_axes(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return swap_axes_cuda(read_swap_axes(operands, attrs), context);
}

TokenLogprobArgs read_token_logprob(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_token_logprob(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return token_logprob_cuda(read_token_logprob(operands, attrs), context);
}

size_t workspace_token_logprob(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return token_logprob_cuda_workspace(read_token_logprob(operands, attrs), limits);
}

TokenLogprobGradArgs read_token_logprob_grad(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3]};
}

Status run_token_logprob_grad(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return token_logprob_grad_cuda(read_token_logprob_grad(operands, attrs), context);
}

size_t workspace_token_logprob_grad(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return token_logprob_grad_cuda_workspace(read_token_logprob_grad(operands, attrs), limits);
}

ZerosLikeArgs read_zeros_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_zeros_like(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return zeros_like_cuda(read_zeros_like(operands, attrs), context);
}

constexpr CudaOpInfo kTable[] = {
    {"accumulate", run_accumulate, nullptr},
    {"activate", run_activate, nullptr},
    {"activate_grad", run_activate_grad, nullptr},
    {"adamw", run_adamw, workspace_adamw},
    {"add", run_add, nullptr},
    {"add_bias", run_add_bias, nullptr},
    {"add_rms_norm", run_add_rms_norm, nullptr},
    {"advance", run_advance, nullptr},
    {"argmax", run_argmax, workspace_argmax},
    {"attention", run_attention, workspace_attention},
    {"clip_factor", run_clip_factor, nullptr},
    {"concat_columns", run_concat_columns, nullptr},
    {"concat_rows", run_concat_rows, nullptr},
    {"copy", run_copy, nullptr},
    {"divide", run_divide, nullptr},
    {"embedding", run_embedding, nullptr},
    {"gate", run_gate, nullptr},
    {"gate_grad", run_gate_grad, nullptr},
    {"gather_rows", run_gather_rows, nullptr},
    {"grouped_embedding", run_grouped_embedding, nullptr},
    {"grouped_embedding_grad_factors", run_grouped_embedding_grad_factors, workspace_grouped_embedding_grad_factors},
    {"grouped_lora", run_grouped_lora, workspace_grouped_lora},
    {"grouped_lora_grad_factors", run_grouped_lora_grad_factors, workspace_grouped_lora_grad_factors},
    {"grouped_lora_grad_weight", run_grouped_lora_grad_weight, workspace_grouped_lora_grad_weight},
    {"grouped_lora_grad_x", run_grouped_lora_grad_x, workspace_grouped_lora_grad_x},
    {"grouped_norm", run_grouped_norm, nullptr},
    {"grouped_prompt", run_grouped_prompt, nullptr},
    {"inverse_rms", run_inverse_rms, nullptr},
    {"kv_write", run_kv_write, nullptr},
    {"layer_norm", run_layer_norm, nullptr},
    {"layer_norm_grad", run_layer_norm_grad, nullptr},
    {"linear", run_linear, workspace_linear},
    {"linear_grad", run_linear_grad, workspace_linear_grad},
    {"log_softmax", run_log_softmax, workspace_log_softmax},
    {"log_softmax_grad", run_log_softmax_grad, workspace_log_softmax_grad},
    {"map", run_map, nullptr},
    {"matmul", run_matmul, nullptr},
    {"mul", run_mul, nullptr},
    {"one_hot_like", run_one_hot_like, nullptr},
    {"pad_rows", run_pad_rows, nullptr},
    {"reduce", run_reduce, workspace_reduce},
    {"repeat_columns", run_repeat_columns, nullptr},
    {"repeat_rows", run_repeat_rows, nullptr},
    {"replace_rows", run_replace_rows, workspace_replace_rows},
    {"rms_norm", run_rms_norm, nullptr},
    {"rms_norm_grad", run_rms_norm_grad, nullptr},
    {"rope", run_rope, nullptr},
    {"rope_table", run_rope_table, nullptr},
    {"sample", run_sample, workspace_sample},
    {"scale", run_scale, nullptr},
    {"scale_columns", run_scale_columns, nullptr},
    {"scale_rows", run_scale_rows, nullptr},
    {"scatter_add_rows", run_scatter_add_rows, workspace_scatter_add_rows},
    {"seen_like", run_seen_like, nullptr},
    {"self_attention", run_self_attention, nullptr},
    {"self_attention_grad", run_self_attention_grad, workspace_self_attention_grad},
    {"sgd", run_sgd, workspace_sgd},
    {"slice_rows", run_slice_rows, nullptr},
    {"soft_cap", run_soft_cap, nullptr},
    {"soft_cap_grad", run_soft_cap_grad, nullptr},
    {"softmax", run_softmax, workspace_softmax},
    {"softmax_grad", run_softmax_grad, workspace_softmax_grad},
    {"sparse_linear", run_sparse_linear, nullptr},
    {"sparse_linear_grad_values", run_sparse_linear_grad_values, workspace_sparse_linear_grad_values},
    {"sparse_linear_grad_x", run_sparse_linear_grad_x, workspace_sparse_linear_grad_x},
    {"sum_rows", run_sum_rows, workspace_sum_rows},
    {"sum_squares", run_sum_squares, workspace_sum_squares},
    {"swap_axes", run_swap_axes, nullptr},
    {"token_logprob", run_token_logprob, workspace_token_logprob},
    {"token_logprob_grad", run_token_logprob_grad, workspace_token_logprob_grad},
    {"zeros_like", run_zeros_like, nullptr},
};

}  // namespace

const CudaOpInfo& cuda_op_info(Op op) { return kTable[static_cast<int>(op)]; }
const char* cuda_op_table_hash() { return "4735b66e1dffdd1f"; }

}  // namespace heddle
