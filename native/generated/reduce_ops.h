// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;

// y[..] = index of the first maximum over the last dimension of x[.., n], f32 to i32; NaN counts as -inf
struct ArgmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status argmax_cpu(const ArgmaxArgs& args, CpuContext& context);

enum class ReduceKind : int32_t { kSum, kMean, kMax };

// y[..] = sum, mean or maximum over the last dimension of x[.., n], f32; an empty dimension gives 0, NaN, -inf
struct ReduceArgs {
  TensorView x;
  TensorView y;  // output
  ReduceKind kind;
};
Status reduce_cpu(const ReduceArgs& args, CpuContext& context);

}  // namespace heddle
#pragma GCC visibility pop
