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

// y[.., i] = x_i - max x - log sum_j exp(x_j - max x) over the last dimension, f32
struct LogSoftmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status log_softmax_cpu(const LogSoftmaxArgs& args, CpuContext& context);
Status log_softmax_cuda(const LogSoftmaxArgs& args, CudaContext& context);
size_t log_softmax_cuda_workspace(const LogSoftmaxArgs& args, const DeviceLimits& limits);

// dx of log_softmax from its result y and dy: dx = dy - exp(y) * sum_j dy_j over the last dimension, f32
struct LogSoftmaxGradArgs {
  TensorView y;
  TensorView dy;
  TensorView dx;  // output, in place over dy
};
Status log_softmax_grad_cpu(const LogSoftmaxGradArgs& args, CpuContext& context);
Status log_softmax_grad_cuda(const LogSoftmaxGradArgs& args, CudaContext& context);
size_t log_softmax_grad_cuda_workspace(const LogSoftmaxGradArgs& args, const DeviceLimits& limits);

// y[r, i] = 1 where i == target[r], else 0, f32 of x's shape [rows, columns]; x is not read; a negative target gives a row of zeros
struct OneHotLikeArgs {
  TensorView x;
  TensorView target;
  TensorView y;  // output
};
Status one_hot_like_cpu(const OneHotLikeArgs& args, CpuContext& context);
Status one_hot_like_cuda(const OneHotLikeArgs& args, CudaContext& context);

// y[.., i] = exp(x_i - max x) / sum_j exp(x_j - max x) over the last dimension, f32
struct SoftmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status softmax_cpu(const SoftmaxArgs& args, CpuContext& context);
Status softmax_cuda(const SoftmaxArgs& args, CudaContext& context);
size_t softmax_cuda_workspace(const SoftmaxArgs& args, const DeviceLimits& limits);

// dx of softmax from its result y and dy: dx = y * (dy - sum_j y_j dy_j) over the last dimension, f32
struct SoftmaxGradArgs {
  TensorView y;
  TensorView dy;
  TensorView dx;  // output, in place over dy
};
Status softmax_grad_cpu(const SoftmaxGradArgs& args, CpuContext& context);
Status softmax_grad_cuda(const SoftmaxGradArgs& args, CudaContext& context);
size_t softmax_grad_cuda_workspace(const SoftmaxGradArgs& args, const DeviceLimits& limits);

// logprob[r] = log_softmax(logits[r])[target[r]]; a negative target gives 0
struct TokenLogprobArgs {
  TensorView logits;
  TensorView target;
  TensorView logprob;  // output
};
Status token_logprob_cpu(const TokenLogprobArgs& args, CpuContext& context);
Status token_logprob_cuda(const TokenLogprobArgs& args, CudaContext& context);
size_t token_logprob_cuda_workspace(const TokenLogprobArgs& args, const DeviceLimits& limits);

// dlogits of token_logprob, written over logits: dlogits[r, i] = dlogprob[r] * ((i == target[r]) - softmax(logits[r])[i]); a negative target gives a row of zeros
struct TokenLogprobGradArgs {
  TensorView logits;
  TensorView target;
  TensorView dlogprob;
  TensorView dlogits;  // output, in place over logits
};
Status token_logprob_grad_cpu(const TokenLogprobGradArgs& args, CpuContext& context);
Status token_logprob_grad_cuda(const TokenLogprobGradArgs& args, CudaContext& context);
size_t token_logprob_grad_cuda_workspace(const TokenLogprobGradArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
