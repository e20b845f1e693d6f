// What reductions and repetitions refuse.
#pragma once
#include <string>

#include "core/check.h"
#include "core/rows.h"

namespace heddle {

inline Status check_reduced(const char* op, const TensorView& x, const TensorView& y, DType dtype) {
  bool agree = x.rank >= 1 && y.rank == x.rank - 1 && y.dense() && x.dtype == DType::kF32 && y.dtype == dtype;
  for (int i = 0; agree && i < y.rank; i++) agree = y.dims[i] == x.dims[i];
  HEDDLE_CHECK(agree, op, "x is " + describe(x) + " but y is " + describe(y) + ": expected x f32 and y " + dtype_name(dtype) + " of x's shape without its last dimension");
  return Status::success();
}

inline Status check_argmax(const TensorView& x, const TensorView& y) {
  HEDDLE_TRY(check_reduced("argmax", x, y, DType::kI32));
  HEDDLE_CHECK(x.columns() > 0 && x.columns() <= INT32_MAX, "argmax", "x is " + describe(x) + ": expected a last dimension of 1 to 2147483647");
  return Status::success();
}

inline Status check_sum_rows(const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(x.rank >= 1 && y.rank == 1 && x.dtype == DType::kF32 && y.dtype == DType::kF32 && y.dims[0] == x.columns(), "sum_rows",
               "x is " + describe(x) + " but y is " + describe(y) + ": expected x f32 [.., n] and y f32 [n]");
  return Status::success();
}

inline Status check_repeat_rows(const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(x.rank == 1 && y.rank >= 1 && x.dtype == DType::kF32 && y.dtype == DType::kF32 && x.dims[0] == y.columns(), "repeat_rows",
               "x is " + describe(x) + " but y is " + describe(y) + ": expected x f32 [n] and y f32 [.., n]");
  return Status::success();
}

inline Status check_repeat_columns(const TensorView& x, const TensorView& y) {
  bool agree = y.rank >= 1 && x.rank == y.rank - 1 && x.dtype == DType::kF32 && y.dtype == DType::kF32;
  for (int i = 0; agree && i < x.rank; i++) agree = x.dims[i] == y.dims[i];
  HEDDLE_CHECK(agree, "repeat_columns", "x is " + describe(x) + " but y is " + describe(y) + ": expected x f32 [..] and y f32 [.., n]");
  return Status::success();
}

}  // namespace heddle
