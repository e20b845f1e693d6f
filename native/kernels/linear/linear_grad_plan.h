// How one call of linear_grad is cut: blocks of outputs, which are the terms of its sums, and the row blocks of linear.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/linear/linear_plan.h"

namespace heddle {

// Outputs of a weight that are turned around and multiplied before the next ones.
inline constexpr int64_t kLinearGradBlock = kLinearBlock;

struct LinearGradProblem {
  const float* dy;
  int64_t dy_stride;
  const void* weight;
  float* dx;
  int64_t dx_stride;
  int64_t rows, outputs, k;
  DType dtype;  // of the weight
  bool precise;
  std::byte* packed;      // dy of one block of outputs, as the tiles read it
  std::byte* transposed;  // per worker
  size_t worker_bytes;
};

}  // namespace heddle
