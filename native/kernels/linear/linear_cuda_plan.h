// What linear and linear_grad share on a CUDA device: how many terms activations become, and block after block of rows.
#pragma once
#include <algorithm>
#include <string>

#include "core/check.h"
#include "kernels/linear/linear_mma.h"
#include "kernels/linear/linear_pack.h"
#include "kernels/linear/linear_rounded.h"

namespace heddle {

// Two bf16 terms hold 16 of x's 24 bits, as the CPU's precise product does; two f16 terms 22.
inline int linear_terms(bool precise) { return precise ? 2 : 1; }

// The workspace of products with up to `rows` rows whose sums have up to k elements.
inline size_t linear_rounded_bytes(DType dtype, int64_t rows, int64_t k, int terms) {
  return dtype == DType::kF32 || rows == 0 ? 0 : RoundedBlock::of(rows, k, terms).bytes;
}

inline Status linear_workspace_check(const char* op, size_t given, size_t needed) {
  HEDDLE_CHECK(given >= needed, op, "the workspace has " + std::to_string(given) + " bytes: expected at least " + std::to_string(needed));
  return Status::success();
}

inline Status linear_address_check(const char* op, const TensorView& weight) {
  HEDDLE_CHECK(reinterpret_cast<uintptr_t>(weight.data) % 4 == 0, op, "weight " + describe(weight) + " begins between two 4-byte words: expected at a multiple of 4 bytes");
  return Status::success();
}

// x[rows, k] is rounded and multiplied by as many rows at a time as the workspace takes; `product` has everything but the rows.
inline Status linear_rounded_product(const char* op, const float* x, int64_t x_stride, int64_t rows, int64_t k, int terms, MmaProduct product,
                                     const CudaContext& context) {
  const RoundedBlock block = RoundedBlock::of(rows, k, terms);
  float* y = product.y;
  for (int64_t first = 0; first < rows; first += block.rows) {
    const int64_t count = std::min(block.rows, rows - first);
    HEDDLE_TRY(linear_round_rows(op, product.dtype, x + first * x_stride, x_stride, count, k, terms, block, context, &product.left));
    product.y = y + first * product.y_stride;
    HEDDLE_TRY(linear_mma(op, product, context));
  }
  return Status::success();
}

}  // namespace heddle
