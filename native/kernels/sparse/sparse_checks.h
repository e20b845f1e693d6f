// What products with sparse matrices refuse of their operands' shapes; what lies in memory each backend looks at itself.
#pragma once
#include <string>

#include "core/check.h"
#include "core/rows.h"

namespace heddle {

inline Status check_place_operands(const char* op, const TensorView& starts, const TensorView& columns, int64_t outputs) {
  HEDDLE_CHECK(starts.rank == 1 && starts.dtype == DType::kI32 && starts.dims[0] == outputs + 1, op,
               "starts is " + describe(starts) + ": expected i32 [" + std::to_string(outputs + 1) + "], one more than the outputs");
  HEDDLE_CHECK(columns.rank == 1 && columns.dtype == DType::kU8 && columns.dims[0] % 2 == 0 && reinterpret_cast<uintptr_t>(columns.data) % 2 == 0, op,
               "columns is " + describe(columns) + ": expected u8, two for each number, at an even address");
  return Status::success();
}

inline Status check_matrix(const char* op, const char* name, const TensorView& tensor) {
  HEDDLE_CHECK(tensor.rank == 2 && tensor.dtype == DType::kF32, op, std::string(name) + " is " + describe(tensor) + ": expected f32 of two dimensions");
  return Status::success();
}

inline Status check_values(const char* op, const char* name, const TensorView& values, int64_t count) {
  HEDDLE_CHECK(values.rank == 1 && values.dtype == DType::kF32 && values.dims[0] == count, op,
               std::string(name) + " is " + describe(values) + ": expected f32 [" + std::to_string(count) + "], one for each column");
  return Status::success();
}

inline Status check_same_tokens(const char* op, const char* name, const TensorView& a, const TensorView& b) {
  HEDDLE_CHECK(a.dims[0] == b.dims[0], op, std::string(name) + " is " + describe(b) + ": expected " + std::to_string(a.dims[0]) + " rows");
  return Status::success();
}

inline Status check_over_base(const char* op, const TensorView& base, const TensorView& y) {
  HEDDLE_CHECK(base.data == y.data && same_dims(base, y), op, "y does not lie over base");
  return Status::success();
}

}  // namespace heddle
