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

// y[..] = index of the first maximum over the last dimension of x[.., n], f32 to i32; NaN counts as -inf
struct ArgmaxArgs {
  TensorView x;
  TensorView y;  // output
};
Status argmax_cpu(const ArgmaxArgs& args, CpuContext& context);
Status argmax_cuda(const ArgmaxArgs& args, CudaContext& context);
size_t argmax_cuda_workspace(const ArgmaxArgs& args, const DeviceLimits& limits);

enum class ReduceKind : int32_t { kSum, kMean, kMax };

// y[..] = sum, mean or maximum over the last dimension of x[.., n], f32; an empty dimension gives 0, NaN, -inf
struct ReduceArgs {
  TensorView x;
  TensorView y;  // output
  ReduceKind kind;
};
Status reduce_cpu(const ReduceArgs& args, CpuContext& context);
Status reduce_cuda(const ReduceArgs& args, CudaContext& context);
size_t reduce_cuda_workspace(const ReduceArgs& args, const DeviceLimits& limits);

// y[.., n] = x[..] for every n, f32
struct RepeatColumnsArgs {
  TensorView x;
  TensorView y;  // output
};
Status repeat_columns_cpu(const RepeatColumnsArgs& args, CpuContext& context);
Status repeat_columns_cuda(const RepeatColumnsArgs& args, CudaContext& context);

// y[.., n] = x[n], f32
struct RepeatRowsArgs {
  TensorView x;
  TensorView y;  // output
};
Status repeat_rows_cpu(const RepeatRowsArgs& args, CpuContext& context);
Status repeat_rows_cuda(const RepeatRowsArgs& args, CudaContext& context);

// y[n] = sum over all leading dimensions of x[.., n] in rising order, f32; no rows give 0
struct SumRowsArgs {
  TensorView x;
  TensorView y;  // output
};
Status sum_rows_cpu(const SumRowsArgs& args, CpuContext& context);
Status sum_rows_cuda(const SumRowsArgs& args, CudaContext& context);
size_t sum_rows_cuda_workspace(const SumRowsArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
