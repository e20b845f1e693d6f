// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;
struct CudaContext;
struct DeviceLimits;

// sum = a + b; y = rms_norm(sum); shapes and attributes as rms_norm
struct AddRmsNormArgs {
  TensorView a;
  TensorView b;
  TensorView weight;  // optional
  TensorView sum;  // output
  TensorView y;  // output
  float eps;
  float weight_offset;
};
Status add_rms_norm_cpu(const AddRmsNormArgs& args, CpuContext& context);
Status add_rms_norm_cuda(const AddRmsNormArgs& args, CudaContext& context);

// y[..] = 1 / sqrt(mean(x^2) + eps) over the last dimension of x[.., n], f32
struct InverseRmsArgs {
  TensorView x;
  TensorView y;  // output
  float eps;
};
Status inverse_rms_cpu(const InverseRmsArgs& args, CpuContext& context);
Status inverse_rms_cuda(const InverseRmsArgs& args, CudaContext& context);

// y = (x - mean) / sqrt(variance + eps) * weight + bias over the last dimension; x f32, weight and bias f32 or absent
struct LayerNormArgs {
  TensorView x;
  TensorView weight;  // optional
  TensorView bias;  // optional
  TensorView y;  // output
  float eps;
};
Status layer_norm_cpu(const LayerNormArgs& args, CpuContext& context);
Status layer_norm_cuda(const LayerNormArgs& args, CudaContext& context);

// dx of layer_norm from dy: with n = (x - mean) / sqrt(variance + eps) and g = dy * weight, dx = (g - mean(g) - n * mean(g * n)) / sqrt(variance + eps); f32, shapes as layer_norm
struct LayerNormGradArgs {
  TensorView x;
  TensorView weight;  // optional
  TensorView dy;
  TensorView dx;  // output, in place over dy
  float eps;
};
Status layer_norm_grad_cpu(const LayerNormGradArgs& args, CpuContext& context);
Status layer_norm_grad_cuda(const LayerNormGradArgs& args, CudaContext& context);

// y = x / sqrt(mean(x^2) + eps) * (weight + weight_offset) over the last dimension; x f32, weight f32; without it the last factor is 1
struct RmsNormArgs {
  TensorView x;
  TensorView weight;  // optional
  TensorView y;  // output
  float eps;
  float weight_offset;
};
Status rms_norm_cpu(const RmsNormArgs& args, CpuContext& context);
Status rms_norm_cuda(const RmsNormArgs& args, CudaContext& context);

// dx of rms_norm from dy: with n = x / sqrt(mean(x^2) + eps) and g = dy * (weight + weight_offset), dx = (g - n * mean(g * n)) / sqrt(mean(x^2) + eps); f32, shapes as rms_norm
struct RmsNormGradArgs {
  TensorView x;
  TensorView weight;  // optional
  TensorView dy;
  TensorView dx;  // output, in place over dy
  float eps;
  float weight_offset;
};
Status rms_norm_grad_cpu(const RmsNormGradArgs& args, CpuContext& context);
Status rms_norm_grad_cuda(const RmsNormGradArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
