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

enum class LinearActivation : int32_t { kFast, kPrecise };

// y[m, n] = sum_k x[m, k] W[n, k] + bias[n]; x and y f32 (rows may be strided), W packed in panels of 16 outputs: f32 or f16 as [panels, inner, 16], bf16 as [panels, inner / 2, 32] with each pair of k side by side per output (inner = k rounded up to even, zero filled), or u8 [panels, 1 + inner / 2, 64]: bf16 panels behind a header each, which may be compact (compact_panels.h); on a CUDA device the same dims hold the elements row-major, [panels * 16, inner]. fast may round x to the dtype of a 16-bit weight
struct LinearArgs {
  TensorView x;
  TensorView weight;
  TensorView bias;  // optional
  TensorView y;  // output
  LinearActivation activation;
};
Status linear_cpu(const LinearArgs& args, CpuContext& context);
size_t linear_cpu_workspace(const LinearArgs& args, int threads);
Status linear_cuda(const LinearArgs& args, CudaContext& context);
size_t linear_cuda_workspace(const LinearArgs& args, const DeviceLimits& limits);

enum class LinearGradActivation : int32_t { kFast, kPrecise };

// dx[m, k] = sum_n dy[m, n] W[n, k] for the W of linear as linear packs it; dy and dx f32 (rows may be strided). fast may round dy to the dtype of a 16-bit weight
struct LinearGradArgs {
  TensorView dy;
  TensorView weight;
  TensorView dx;  // output
  LinearGradActivation activation;
};
Status linear_grad_cpu(const LinearGradArgs& args, CpuContext& context);
size_t linear_grad_cpu_workspace(const LinearGradArgs& args, int threads);
Status linear_grad_cuda(const LinearGradArgs& args, CudaContext& context);
size_t linear_grad_cuda_workspace(const LinearGradArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
