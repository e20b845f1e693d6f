// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#include "cuda/cuda_op_info.h"
#include "generated/op_table.h"

namespace heddle {
namespace {

AdamwArgs read_adamw(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], operands[8], operands[9], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real), static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real), static_cast<float>(attrs[4].real)};
}

Status run_adamw(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return adamw_cuda(read_adamw(operands, attrs), context);
}

size_t workspace_adamw(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return adamw_cuda_workspace(read_adamw(operands, attrs), limits);
}

AddRmsNormArgs read_add_rms_norm(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], static_cast<float>(attrs[0].real), static_cast<float>(attrs[1].real)};
}

Status run_add_rms_norm(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return add_rms_norm_cuda(read_add_rms_norm(operands, attrs), context);
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

ClipFactorArgs read_clip_factor(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_clip_factor(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return clip_factor_cuda(read_clip_factor(operands, attrs), context);
}

InverseRmsArgs read_inverse_rms(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<float>(attrs[0].real)};
}

Status run_inverse_rms(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return inverse_rms_cuda(read_inverse_rms(operands, attrs), context);
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

OneHotLikeArgs read_one_hot_like(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_one_hot_like(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return one_hot_like_cuda(read_one_hot_like(operands, attrs), context);
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

SgdArgs read_sgd(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2], operands[3], operands[4], operands[5], operands[6], operands[7], static_cast<float>(attrs[0].real), attrs[1].integer != 0, static_cast<float>(attrs[2].real), static_cast<float>(attrs[3].real)};
}

Status run_sgd(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return sgd_cuda(read_sgd(operands, attrs), context);
}

size_t workspace_sgd(const TensorView* operands, const AttributeValue* attrs, const DeviceLimits& limits) {
  return sgd_cuda_workspace(read_sgd(operands, attrs), limits);
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

constexpr CudaOpInfo kTable[] = {
    {"accumulate", nullptr, nullptr},
    {"activate", nullptr, nullptr},
    {"activate_grad", nullptr, nullptr},
    {"adamw", run_adamw, workspace_adamw},
    {"add", nullptr, nullptr},
    {"add_bias", nullptr, nullptr},
    {"add_rms_norm", run_add_rms_norm, nullptr},
    {"advance", nullptr, nullptr},
    {"argmax", run_argmax, workspace_argmax},
    {"attention", nullptr, nullptr},
    {"clip_factor", run_clip_factor, nullptr},
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
    {"inverse_rms", run_inverse_rms, nullptr},
    {"kv_write", nullptr, nullptr},
    {"layer_norm", run_layer_norm, nullptr},
    {"layer_norm_grad", run_layer_norm_grad, nullptr},
    {"linear", nullptr, nullptr},
    {"linear_grad", nullptr, nullptr},
    {"log_softmax", run_log_softmax, workspace_log_softmax},
    {"log_softmax_grad", run_log_softmax_grad, workspace_log_softmax_grad},
    {"map", nullptr, nullptr},
    {"matmul", nullptr, nullptr},
    {"mul", nullptr, nullptr},
    {"one_hot_like", run_one_hot_like, nullptr},
    {"pad_rows", nullptr, nullptr},
    {"reduce", run_reduce, workspace_reduce},
    {"repeat_columns", run_repeat_columns, nullptr},
    {"repeat_rows", run_repeat_rows, nullptr},
    {"replace_rows", nullptr, nullptr},
    {"rms_norm", run_rms_norm, nullptr},
    {"rms_norm_grad", run_rms_norm_grad, nullptr},
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
    {"sgd", run_sgd, workspace_sgd},
    {"slice_rows", nullptr, nullptr},
    {"soft_cap", nullptr, nullptr},
    {"soft_cap_grad", nullptr, nullptr},
    {"softmax", run_softmax, workspace_softmax},
    {"softmax_grad", run_softmax_grad, workspace_softmax_grad},
    {"sparse_linear", run_sparse_linear, nullptr},
    {"sparse_linear_grad_values", run_sparse_linear_grad_values, workspace_sparse_linear_grad_values},
    {"sparse_linear_grad_x", run_sparse_linear_grad_x, workspace_sparse_linear_grad_x},
    {"sum_rows", run_sum_rows, workspace_sum_rows},
    {"sum_squares", run_sum_squares, workspace_sum_squares},
    {"swap_axes", nullptr, nullptr},
    {"token_logprob", run_token_logprob, workspace_token_logprob},
    {"token_logprob_grad", run_token_logprob_grad, workspace_token_logprob_grad},
    {"zeros_like", nullptr, nullptr},
};

}  // namespace

const CudaOpInfo& cuda_op_info(Op op) { return kTable[static_cast<int>(op)]; }
const char* cuda_op_table_hash() { return "3aad631f514a4706"; }

}  // namespace heddle
