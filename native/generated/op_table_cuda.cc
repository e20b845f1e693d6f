// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "cuda/cuda_op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

AdvanceArgs read_advance(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9]};
}

Status run_advance(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return advance_cuda(read_advance(operands, attrs), context);
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

KvWriteArgs read_kv_write(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], static_cast<int64_t>(attrs[0].integer), static_cast<int64_t>(attrs[1].integer), static_cast<KvWriteCacheType>(attrs[2].integer)};
}

Status run_kv_write(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return kv_write_cuda(read_kv_write(operands, attrs), context);
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

constexpr CudaOpInfo kTable[] = {
    {"accumulate", nullptr, nullptr},
    {"activate", nullptr, nullptr},
    {"activate_grad", nullptr, nullptr},
    {"adamw", nullptr, nullptr},
    {"add", nullptr, nullptr},
    {"add_bias", nullptr, nullptr},
    {"add_rms_norm", nullptr, nullptr},
    {"advance", run_advance, nullptr},
    {"argmax", nullptr, nullptr},
    {"attention", run_attention, workspace_attention},
    {"clip_factor", nullptr, nullptr},
    {"concat_columns", nullptr, nullptr},
    {"concat_rows", nullptr, nullptr},
    {"copy", nullptr, nullptr},
    {"divide", nullptr, nullptr},
    {"embedding", nullptr, nullptr},
    {"gate", nullptr, nullptr},
    {"gate_grad", nullptr, nullptr},
    {"gather_rows", nullptr, nullptr},
    {"grouped_embedding", nullptr, nullptr},
    {"grouped_embedding_grad_factors", nullptr, nullptr},
    {"grouped_lora", nullptr, nullptr},
    {"grouped_lora_grad_factors", nullptr, nullptr},
    {"grouped_lora_grad_weight", nullptr, nullptr},
    {"grouped_lora_grad_x", nullptr, nullptr},
    {"grouped_norm", nullptr, nullptr},
    {"grouped_prompt", nullptr, nullptr},
    {"inverse_rms", nullptr, nullptr},
    {"kv_write", run_kv_write, nullptr},
    {"layer_norm", nullptr, nullptr},
    {"layer_norm_grad", nullptr, nullptr},
    {"linear", nullptr, nullptr},
    {"linear_grad", nullptr, nullptr},
    {"log_softmax", nullptr, nullptr},
    {"log_softmax_grad", nullptr, nullptr},
    {"map", nullptr, nullptr},
    {"matmul", nullptr, nullptr},
    {"mul", nullptr, nullptr},
    {"one_hot_like", nullptr, nullptr},
    {"pad_rows", nullptr, nullptr},
    {"reduce", nullptr, nullptr},
    {"repeat_columns", nullptr, nullptr},
    {"repeat_rows", nullptr, nullptr},
    {"replace_rows", nullptr, nullptr},
    {"rms_norm", nullptr, nullptr},
    {"rms_norm_grad", nullptr, nullptr},
    {"rope", nullptr, nullptr},
    {"rope_table", nullptr, nullptr},
    {"sample", run_sample, workspace_sample},
    {"scale", nullptr, nullptr},
    {"scale_columns", nullptr, nullptr},
    {"scale_rows", nullptr, nullptr},
    {"scatter_add_rows", nullptr, nullptr},
    {"seen_like", run_seen_like, nullptr},
    {"self_attention", run_self_attention, nullptr},
    {"self_attention_grad", run_self_attention_grad, workspace_self_attention_grad},
    {"sgd", nullptr, nullptr},
    {"slice_rows", nullptr, nullptr},
    {"soft_cap", nullptr, nullptr},
    {"soft_cap_grad", nullptr, nullptr},
    {"softmax", nullptr, nullptr},
    {"softmax_grad", nullptr, nullptr},
    {"sparse_linear", nullptr, nullptr},
    {"sparse_linear_grad_values", nullptr, nullptr},
    {"sparse_linear_grad_x", nullptr, nullptr},
    {"sum_rows", nullptr, nullptr},
    {"sum_squares", nullptr, nullptr},
    {"swap_axes", nullptr, nullptr},
    {"token_logprob", nullptr, nullptr},
    {"token_logprob_grad", nullptr, nullptr},
    {"zeros_like", nullptr, nullptr},
};

}  // namespace

const CudaOpInfo& cuda_op_info(Op op) { return kTable[static_cast<int>(op)]; }
const char* cuda_op_table_hash() { return "6613ec0a01907e5b"; }

}  // namespace heddle
