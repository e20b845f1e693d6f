// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "cuda/cuda_op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

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

MatmulArgs read_matmul(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], attrs[0].integer != 0, attrs[1].integer != 0};
}

Status run_matmul(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return matmul_cuda(read_matmul(operands, attrs), context);
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
    {"grouped_embedding", nullptr, nullptr},
    {"grouped_embedding_grad_factors", nullptr, nullptr},
    {"grouped_lora", nullptr, nullptr},
    {"grouped_lora_grad_factors", nullptr, nullptr},
    {"grouped_lora_grad_weight", nullptr, nullptr},
    {"grouped_lora_grad_x", nullptr, nullptr},
    {"grouped_norm", nullptr, nullptr},
    {"grouped_prompt", nullptr, nullptr},
    {"inverse_rms", nullptr, nullptr},
    {"kv_write", nullptr, nullptr},
    {"layer_norm", nullptr, nullptr},
    {"layer_norm_grad", nullptr, nullptr},
    {"linear", run_linear, workspace_linear},
    {"linear_grad", run_linear_grad, workspace_linear_grad},
    {"log_softmax", nullptr, nullptr},
    {"log_softmax_grad", nullptr, nullptr},
    {"map", nullptr, nullptr},
    {"matmul", run_matmul, nullptr},
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
const char* cuda_op_table_hash() { return "71075f0148d6726b"; }

}  // namespace heddle
