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

// y[.., m, n] = sum_k a[.., m, k] b[.., k, n] in rising order of k; a is [.., k, m] with transpose_a, b is [.., n, k] with transpose_b; f32, rank 2 or 3 with equal batches, leading dimensions may be strided
struct MatmulArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
  bool transpose_a;
  bool transpose_b;
};
Status matmul_cpu(const MatmulArgs& args, CpuContext& context);
size_t matmul_cpu_workspace(const MatmulArgs& args, int threads);
Status matmul_cuda(const MatmulArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
