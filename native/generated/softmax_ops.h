// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;

// y[.., i] = x_i - max x - log sum_j exp(x_j - max x) over the last dimension, f32
struct LogSoftmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status log_softmax_cpu(const LogSoftmaxArgs& args, CpuContext& context);

// y[.., i] = exp(x_i - max x) / sum_j exp(x_j - max x) over the last dimension, f32
struct SoftmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status softmax_cpu(const SoftmaxArgs& args, CpuContext& context);

// logprob[r] = log_softmax(logits[r])[target[r]]; a negative target gives 0
struct TokenLogprobArgs {
  TensorView logits;
  TensorView target;
  TensorView logprob;  // output
};
Status token_logprob_cpu(const TokenLogprobArgs& args, CpuContext& context);

}  // namespace heddle
#pragma GCC visibility pop
