// What linear and linear_grad share on a CUDA device: how many terms activations become, and block after block of rows.
#pragma once
#include <algorithm>
#include <string>

#include "core/check.h"
#include "cuda/cublas_lt.h"
#include "cuda/cuda_context.h"
#include "kernels/linear/linear_mma.h"
#include "kernels/linear/compact_checks.h"
#include "kernels/linear/linear_pack.h"
#include "kernels/linear/linear_rounded.h"
#include "kernels/matmul/matmul_f32.h"

namespace heddle {

// Up to so many rows the time goes into reading the weight.
inline constexpr int64_t kFewRows = 32;

// Two bf16 terms hold 16 of x's 24 bits, as the CPU's precise product does; two f16 terms 22, which cost nothing for few rows.
inline int linear_terms(DType dtype, int64_t rows, bool precise) { return precise || (dtype == DType::kF16 && rows <= kFewRows) ? 2 : 1; }

// The workspace of products of `rows` rows, or of fewer, whose sums have up to k elements.
inline size_t linear_rounded_bytes(DType dtype, int64_t rows, int64_t k, bool precise) {
  if (dtype == DType::kF32 || rows == 0) return 0;
  const int64_t few = std::min(rows, kFewRows);
  return std::max(RoundedBlock::of(rows, k, linear_terms(dtype, rows, precise)).bytes, RoundedBlock::of(few, k, linear_terms(dtype, few, precise)).bytes);
}

inline Status linear_workspace_check(const char* op, size_t given, size_t needed) {
  HEDDLE_CHECK(given >= needed, op, "the workspace has " + std::to_string(given) + " bytes: expected at least " + std::to_string(needed));
  return Status::success();
}

inline Status linear_device_weight_check(const char* op, const TensorView& weight) {
  HEDDLE_TRY(refuse_compact(op, weight));
  HEDDLE_CHECK(reinterpret_cast<uintptr_t>(weight.data) % 4 == 0, op, "weight " + describe(weight) + " begins between two 4-byte words: expected at a multiple of 4 bytes");
  return Status::success();
}

// cuBLASLt's tensor cores take one term alone, and no scales.
inline bool linear_by_cublas_lt(const MmaProduct& product, const CudaContext& context) {
  if (product.left.count != 1 || product.left.unscale != nullptr) return false;
  const LtProduct whole = {product.dtype,
                           product.left.terms,
                           product.weight,
                           product.bias,
                           product.y,
                           product.left.rows,
                           product.columns,
                           product.turned ? product.weight_rows : product.inner,  // left has zeros from its k to there
                           product.left.padded,
                           product.inner,
                           product.y_stride,
                           product.turned};
  return cublas_lt_multiply(whole, context.stream);
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
    if (!linear_by_cublas_lt(product, context)) HEDDLE_TRY(linear_mma(op, product, context));
  }
  return Status::success();
}

// The same for an f32 weight [.., inner]: y[rows, columns] = x[rows, k] times its transpose, or times itself (`turned`), plus bias.
inline Status linear_f32_product(const char* op, const TensorView& x, const void* weight, int64_t inner, bool turned, const float* bias, const TensorView& y,
                                 const CudaContext& context) {
  const int64_t rows = x.dims[0], k = x.dims[1], columns = y.dims[1];
  const LtProduct whole = {DType::kF32, x.data, weight, bias, y.as<float>(), rows, columns, k, x.leading_stride, inner, y.leading_stride, turned};
  if (cublas_lt_multiply(whole, context.stream)) return Status::success();
  const MatmulProblem problem = {x.as<float>(), static_cast<const float*>(weight), y.as<float>(), x.leading_stride, inner, y.leading_stride, 0, 0, 0,
                                 1,             rows,                              columns,       k,                false, !turned};
  return matmul_f32(op, problem, bias, context);
}

}  // namespace heddle
