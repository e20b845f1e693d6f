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

// one step in place. g = factor gradients; first += first_share (g - first); second += second_share (g^2 - second); with rate = schedule[0] rate_scale, parameters -= rate (weight_decay parameters + first / c1 / (sqrt(second / c2) + eps)), c1 = schedule[1], c2 = schedule[2]. applied = 1; where factor or a g is not finite or above 1e19 nothing changes and applied = 0
struct AdamwArgs {
  TensorView parameters;
  TensorView gradients;
  TensorView first;
  TensorView second;
  TensorView schedule;
  TensorView factor;  // optional
  TensorView new_parameters;  // output, in place over parameters
  TensorView new_first;  // output, in place over first
  TensorView new_second;  // output, in place over second
  TensorView applied;  // output
  float first_share;
  float second_share;
  float eps;
  float weight_decay;
  float rate_scale;
};
Status adamw_cpu(const AdamwArgs& args, CpuContext& context);
size_t adamw_cpu_workspace(const AdamwArgs& args, int threads);
Status adamw_cuda(const AdamwArgs& args, CudaContext& context);
size_t adamw_cuda_workspace(const AdamwArgs& args, const DeviceLimits& limits);

// factor[0] = min(1, max_norm / (sqrt(square_sum[0]) + 1e-6)); NaN where square_sum is not finite
struct ClipFactorArgs {
  TensorView square_sum;
  TensorView factor;  // output
  float max_norm;
};
Status clip_factor_cpu(const ClipFactorArgs& args, CpuContext& context);
Status clip_factor_cuda(const ClipFactorArgs& args, CudaContext& context);

// one step in place. g = factor gradients + weight_decay parameters; velocity = momentum velocity + g; parameters -= schedule[0] rate_scale u, u = velocity, or g + momentum velocity with nesterov. applied as in adamw
struct SgdArgs {
  TensorView parameters;
  TensorView gradients;
  TensorView velocity;
  TensorView schedule;
  TensorView factor;  // optional
  TensorView new_parameters;  // output, in place over parameters
  TensorView new_velocity;  // output, in place over velocity
  TensorView applied;  // output
  float momentum;
  bool nesterov;
  float weight_decay;
  float rate_scale;
};
Status sgd_cpu(const SgdArgs& args, CpuContext& context);
size_t sgd_cpu_workspace(const SgdArgs& args, int threads);
Status sgd_cuda(const SgdArgs& args, CudaContext& context);
size_t sgd_cuda_workspace(const SgdArgs& args, const DeviceLimits& limits);

// y[0] = sum of x^2 over all elements, f32 in, f64 sums in one order, f32 out
struct SumSquaresArgs {
  TensorView x;
  TensorView y;  // output
};
Status sum_squares_cpu(const SumSquaresArgs& args, CpuContext& context);
size_t sum_squares_cpu_workspace(const SumSquaresArgs& args, int threads);
Status sum_squares_cuda(const SumSquaresArgs& args, CudaContext& context);
size_t sum_squares_cuda_workspace(const SumSquaresArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
