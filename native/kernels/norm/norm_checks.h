// What norms and their gradients refuse, and how they share their work.
#pragma once
#include <string>

#include "core/check.h"
#include "core/rows.h"

namespace heddle {

inline constexpr int64_t kNormGrain = 16384;  // elements per chunk

inline Status check_norm_like(const char* op, const char* name, const TensorView& tensor, const TensorView& result) {
  HEDDLE_CHECK(result.rank >= 1 && same_dims(tensor, result) && tensor.dtype == DType::kF32 && result.dtype == DType::kF32, op,
               std::string(name) + " is " + describe(tensor) + " but the result is " + describe(result) + ": expected f32 of equal shapes, rank 1 to 4");
  return Status::success();
}

inline Status check_norm_weight(const char* op, const char* name, const TensorView& weight, const TensorView& x) {
  HEDDLE_CHECK(!weight.present() || (weight.rank == 1 && weight.dtype == DType::kF32 && weight.dims[0] == x.columns()), op,
               std::string(name) + " is " + describe(weight) + " but x is " + describe(x) + ": expected f32 [" + std::to_string(x.columns()) + "]");
  return Status::success();
}

inline Status check_inverse_rms(const TensorView& x, const TensorView& y) {
  bool agree = x.rank >= 2 && y.rank == x.rank - 1 && y.dense() && x.dtype == DType::kF32 && y.dtype == DType::kF32;
  for (int i = 0; agree && i < y.rank; i++) agree = y.dims[i] == x.dims[i];
  HEDDLE_CHECK(agree, "inverse_rms", "x is " + describe(x) + " but y is " + describe(y) + ": expected f32 of x's shape without its last dimension");
  return Status::success();
}

inline const float* pointer_or_null(const TensorView& tensor) { return tensor.present() ? tensor.as<float>() : nullptr; }

}  // namespace heddle
