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

// y[t, n] = base[t, n] + sum of values[j] * x[t, columns[j]] over j from starts[n] to before starts[n + 1], in rising order of j; f32, rows of x and base may be strided; columns: 16-bit unsigned as bytes
struct SparseLinearArgs {
  TensorView x;
  TensorView base;
  TensorView values;
  TensorView starts;
  TensorView columns;
  TensorView y;  // output, in place over base
};
Status sparse_linear_cpu(const SparseLinearArgs& args, CpuContext& context);
Status sparse_linear_cuda(const SparseLinearArgs& args, CudaContext& context);

// dvalues[j] = sum of dy[t, n] * x[t, columns[j]] over t in rising order, where starts[n] <= j < starts[n + 1]; f32, rows of x and dy may be strided
struct SparseLinearGradValuesArgs {
  TensorView x;
  TensorView dy;
  TensorView starts;
  TensorView columns;
  TensorView dvalues;  // output
};
Status sparse_linear_grad_values_cpu(const SparseLinearGradValuesArgs& args, CpuContext& context);
Status sparse_linear_grad_values_cuda(const SparseLinearGradValuesArgs& args, CudaContext& context);
size_t sparse_linear_grad_values_cuda_workspace(const SparseLinearGradValuesArgs& args, const DeviceLimits& limits);

// dx[t, i] = sum of values[j] * dy[t, n] over all j with columns[j] = i, starts[n] <= j < starts[n + 1], in rising order of j; f32, rows of dy may be strided
struct SparseLinearGradXArgs {
  TensorView dy;
  TensorView values;
  TensorView starts;
  TensorView columns;
  TensorView dx;  // output
};
Status sparse_linear_grad_x_cpu(const SparseLinearGradXArgs& args, CpuContext& context);
Status sparse_linear_grad_x_cuda(const SparseLinearGradXArgs& args, CudaContext& context);
size_t sparse_linear_grad_x_cuda_workspace(const SparseLinearGradXArgs& args, const DeviceLimits& limits);

}  // namespace heddle
#pragma GCC visibility pop
