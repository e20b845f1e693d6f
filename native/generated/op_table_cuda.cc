// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "cuda/cuda_op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

GroupedLoraArgs read_grouped_lora(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<int32_t>(attrs[0].integer)};
}

Status run_grouped_lora(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return grouped_lora_cuda(read_grouped_lora(operands, attrs), context);
}

size_t workspace_grouped_lora(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return grouped_lora_cuda_workspace(read_grouped_lora(operands, attrs), limits);
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
    {"grouped_lora", run_grouped_lora, workspace_grouped_lora},
    {"grouped_lora_grad_factors", nullptr, nullptr},
    {"grouped_lora_grad_weight", nullptr, nullptr},
    {"grouped_lora_grad_x", nullptr, nullptr},
    {"grouped_norm", nullptr, nullptr},
    {"grouped_prompt", nullptr, nullptr},
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
const char* cuda_op_table_hash() { return "908759eb9821458e"; }

}  // namespace heddle
