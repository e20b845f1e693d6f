// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "executor/op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

ActivateArgs read_activate(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<ActivateFunction>(attrs[0].integer)};
}

Status run_activate(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return activate_cpu(read_activate(operands, attrs), context);
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

CopyArgs read_copy(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_copy(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return copy_cpu(read_copy(operands, attrs), context);
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

GroupedLoraArgs read_grouped_lora(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return grouped_lora_cpu(read_grouped_lora(operands, attrs), context);
}

size_t workspace_grouped_lora(const TensorView* operands, const AttributeValue* attrs, int threads) {
  return grouped_lora_cpu_workspace(read_grouped_lora(operands, attrs), threads);
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

KvWriteArgs read_kv_write(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], static_cast<int64_t>(attrs[0].integer), static_cast<int64_t>(attrs[1].integer), static_cast<KvWriteCacheType>(attrs[2].integer)};
}

Status run_kv_write(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return kv_write_cpu(read_kv_write(operands, attrs), context);
}

LayerNormArgs read_layer_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], static_cast<float>(attrs[0].real)};
}

Status run_layer_norm(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return layer_norm_cpu(read_layer_norm(operands, attrs), context);
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

LogSoftmaxArgs read_log_softmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_log_softmax(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return log_softmax_cpu(read_log_softmax(operands, attrs), context);
}

MulArgs read_mul(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_mul(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return mul_cpu(read_mul(operands, attrs), context);
}

ReduceArgs read_reduce(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<ReduceKind>(attrs[0].integer)};
}

Status run_reduce(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return reduce_cpu(read_reduce(operands, attrs), context);
}

RmsNormArgs read_rms_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_rms_norm(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return rms_norm_cpu(read_rms_norm(operands, attrs), context);
}

RopeArgs read_rope(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], attrs[0].integer != 0};
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

SoftCapArgs read_soft_cap(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_soft_cap(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return soft_cap_cpu(read_soft_cap(operands, attrs), context);
}

SoftmaxArgs read_softmax(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_softmax(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return softmax_cpu(read_softmax(operands, attrs), context);
}

TokenLogprobArgs read_token_logprob(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_token_logprob(const TensorView* operands, const AttributeValue* attrs, CpuContext& context) {
  return token_logprob_cpu(read_token_logprob(operands, attrs), context);
}

constexpr OpInfo kTable[] = {
    {"activate", 1, 1, 1, 0u, 0u, run_activate, nullptr},
    {"add", 2, 1, 0, 0u, 0u, run_add, nullptr},
    {"add_bias", 2, 1, 0, 0u, 0u, run_add_bias, nullptr},
    {"add_rms_norm", 3, 2, 2, 4u, 0u, run_add_rms_norm, nullptr},
    {"advance", 6, 4, 0, 0u, 0u, run_advance, nullptr},
    {"argmax", 1, 1, 0, 0u, 0u, run_argmax, nullptr},
    {"attention", 5, 1, 7, 0u, 0u, run_attention, workspace_attention},
    {"copy", 1, 1, 0, 0u, 0u, run_copy, nullptr},
    {"embedding", 2, 1, 1, 0u, 0u, run_embedding, nullptr},
    {"gate", 2, 1, 1, 0u, 0u, run_gate, nullptr},
    {"gather_rows", 2, 1, 0, 0u, 0u, run_gather_rows, nullptr},
    {"grouped_embedding", 7, 1, 1, 0u, 1u, run_grouped_embedding, workspace_grouped_embedding},
    {"grouped_lora", 9, 1, 1, 4u, 1u, run_grouped_lora, workspace_grouped_lora},
    {"grouped_norm", 7, 1, 4, 0u, 1u, run_grouped_norm, nullptr},
    {"grouped_prompt", 7, 1, 3, 0u, 1u, run_grouped_prompt, workspace_grouped_prompt},
    {"kv_write", 6, 1, 3, 0u, 1u, run_kv_write, nullptr},
    {"layer_norm", 3, 1, 1, 6u, 0u, run_layer_norm, nullptr},
    {"linear", 3, 1, 1, 4u, 0u, run_linear, workspace_linear},
    {"log_softmax", 1, 1, 0, 0u, 0u, run_log_softmax, nullptr},
    {"mul", 2, 1, 0, 0u, 0u, run_mul, nullptr},
    {"reduce", 1, 1, 1, 0u, 0u, run_reduce, nullptr},
    {"rms_norm", 2, 1, 2, 2u, 0u, run_rms_norm, nullptr},
    {"rope", 2, 1, 1, 0u, 1u, run_rope, nullptr},
    {"rope_table", 4, 1, 5, 12u, 0u, run_rope_table, nullptr},
    {"sample", 8, 4, 0, 0u, 0u, run_sample, workspace_sample},
    {"scale", 1, 1, 1, 0u, 0u, run_scale, nullptr},
    {"soft_cap", 1, 1, 1, 0u, 0u, run_soft_cap, nullptr},
    {"softmax", 1, 1, 0, 0u, 0u, run_softmax, nullptr},
    {"token_logprob", 2, 1, 0, 0u, 0u, run_token_logprob, nullptr},
};

}  // namespace

const OpInfo& op_info(Op op) { return kTable[static_cast<int>(op)]; }
const char* op_table_hash() { return "7a2e9741571a5fb5"; }

}  // namespace heddle
