// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "cuda/cuda_op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

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

constexpr CudaOpInfo kTable[] = {
    {"accumulate", nullptr, nullptr},
    {"activate", nullptr, nullptr},
    {"activate_grad", nullptr, nullptr},
    {"adamw", nullptr, nullptr},
    {"add", nullptr, nullptr},
    {"add_bias", nullptr, nullptr},
    {"add_rms_norm", nullptr, nullptr},
    {"advance", nullptr, nullptr},
    {"argmax", nullptr, nullptr},
    {"attention", nullptr, nullptr},
    {"clip_factor", nullptr, nullptr},
    {"concat_columns", nullptr, nullptr},
    {"concat_rows", nullptr, nullptr},
    {"copy", nullptr, nullptr},
    {"divide", nullptr, nullptr},
    {"embedding", nullptr, nullptr},
    {"gate", nullptr, nullptr},
    {"gate_grad", nullptr, nullptr},
    {"gather_rows", nullptr, nullptr},
    {"grouped_embedding", run_grouped_embedding, nullptr},
    {"grouped_embedding_grad_factors", run_grouped_embedding_grad_factors, workspace_grouped_embedding_grad_factors},
    {"grouped_lora", nullptr, nullptr},
    {"grouped_lora_grad_factors", run_grouped_lora_grad_factors, workspace_grouped_lora_grad_factors},
    {"grouped_lora_grad_weight", run_grouped_lora_grad_weight, workspace_grouped_lora_grad_weight},
    {"grouped_lora_grad_x", run_grouped_lora_grad_x, workspace_grouped_lora_grad_x},
    {"grouped_norm", run_grouped_norm, nullptr},
    {"grouped_prompt", run_grouped_prompt, nullptr},
    {"inverse_rms", nullptr, nullptr},
    {"kv_write", nullptr, nullptr},
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
    {"sample", nullptr, nullptr},
    {"scale", nullptr, nullptr},
    {"scale_columns", nullptr, nullptr},
    {"scale_rows", nullptr, nullptr},
    {"scatter_add_rows", nullptr, nullptr},
    {"seen_like", nullptr, nullptr},
    {"self_attention", nullptr, nullptr},
    {"self_attention_grad", nullptr, nullptr},
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
const char* cuda_op_table_hash() { return "3c3d197004b8e00c"; }

}  // namespace heddle
