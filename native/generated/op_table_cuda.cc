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

MapArgs read_map(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<MapFunction>(attrs[0].integer)};
}

Status run_map(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return map_cuda(read_map(operands, attrs), context);
}

MulArgs read_mul(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1], operands[2]};
}

Status run_mul(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return mul_cuda(read_mul(operands, attrs), context);
}

PadRowsArgs read_pad_rows(const TensorView* operands, const AttributeValue* attrs) {
  return {operands[0], operands[1], static_cast<int64_t>(attrs[0].integer), attrs[1].integer != 0};
}

Status run_pad_rows(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return pad_rows_cuda(read_pad_rows(operands, attrs), context);
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

SwapAxesArgs read_swap_axes(const TensorView* operands, [[maybe_unused]] const AttributeValue* attrs) {
  return {operands[0], operands[1]};
}

Status run_swap_axes(const TensorView* operands, const AttributeValue* attrs, CudaContext& context) {
  return swap_axes_cuda(read_swap_axes(operands, attrs), context);
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
    {"adamw", nullptr, nullptr},
    {"add", run_add, nullptr},
    {"add_bias", run_add_bias, nullptr},
    {"add_rms_norm", nullptr, nullptr},
    {"advance", nullptr, nullptr},
    {"argmax", nullptr, nullptr},
    {"attention", nullptr, nullptr},
    {"clip_factor", nullptr, nullptr},
    {"concat_columns", run_concat_columns, nullptr},
    {"concat_rows", run_concat_rows, nullptr},
    {"copy", run_copy, nullptr},
    {"divide", run_divide, nullptr},
    {"embedding", run_embedding, nullptr},
    {"gate", run_gate, nullptr},
    {"gate_grad", run_gate_grad, nullptr},
    {"gather_rows", run_gather_rows, nullptr},
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
    {"linear", nullptr, nullptr},
    {"linear_grad", nullptr, nullptr},
    {"log_softmax", nullptr, nullptr},
    {"log_softmax_grad", nullptr, nullptr},
    {"map", run_map, nullptr},
    {"matmul", nullptr, nullptr},
    {"mul", run_mul, nullptr},
    {"one_hot_like", nullptr, nullptr},
    {"pad_rows", run_pad_rows, nullptr},
    {"reduce", nullptr, nullptr},
    {"repeat_columns", nullptr, nullptr},
    {"repeat_rows", nullptr, nullptr},
    {"replace_rows", run_replace_rows, workspace_replace_rows},
    {"rms_norm", nullptr, nullptr},
    {"rms_norm_grad", nullptr, nullptr},
    {"rope", run_rope, nullptr},
    {"rope_table", run_rope_table, nullptr},
    {"sample", nullptr, nullptr},
    {"scale", run_scale, nullptr},
    {"scale_columns", run_scale_columns, nullptr},
    {"scale_rows", run_scale_rows, nullptr},
    {"scatter_add_rows", run_scatter_add_rows, workspace_scatter_add_rows},
    {"seen_like", nullptr, nullptr},
    {"self_attention", nullptr, nullptr},
    {"self_attention_grad", nullptr, nullptr},
    {"sgd", nullptr, nullptr},
    {"slice_rows", run_slice_rows, nullptr},
    {"soft_cap", run_soft_cap, nullptr},
    {"soft_cap_grad", run_soft_cap_grad, nullptr},
    {"softmax", nullptr, nullptr},
    {"softmax_grad", nullptr, nullptr},
    {"sparse_linear", nullptr, nullptr},
    {"sparse_linear_grad_values", nullptr, nullptr},
    {"sparse_linear_grad_x", nullptr, nullptr},
    {"sum_rows", nullptr, nullptr},
    {"sum_squares", nullptr, nullptr},
    {"swap_axes", run_swap_axes, nullptr},
    {"token_logprob", nullptr, nullptr},
    {"token_logprob_grad", nullptr, nullptr},
    {"zeros_like", run_zeros_like, nullptr},
};

}  // namespace

const CudaOpInfo& cuda_op_info(Op op) { return kTable[static_cast<int>(op)]; }
const char* cuda_op_table_hash() { return "08054262205d6894"; }

}  // namespace heddle
