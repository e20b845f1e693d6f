// Linear with few rows: bound by reading the weight once.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/status.h"
#include "kernels/linear/linear_rounded.h"

namespace heddle {

struct CudaContext;

inline constexpr int64_t kStreamRows = 32;        // the most rows of a 16-bit weight's stream,
inline constexpr int64_t kStreamDirectRows = 8;   // of one that rounds x (to bf16) on its way,
inline constexpr int64_t kStreamF32Rows = 8;      // and of an f32 weight's

struct StreamProduct {
  RoundedRows left;  // terms == nullptr: x is read and split into left.count terms of bf16
  const float* x;    // unless rounded
  int64_t x_stride, k;
  DType dtype;
  const void* weight;  // [weight_rows, inner], row-major
  int64_t weight_rows, inner;
  const float* bias;   // [columns] or nullptr
  float* y;
  int64_t y_stride, rows, columns;
};

// Every warp of a block sums its own pieces of k; the warps' sums are added in order. The pieces are the same for 1 to
// kStreamRows rows, but not those of linear_mma.
Status linear_stream(const char* op, const StreamProduct& product, const CudaContext& context);

}  // namespace heddle
