// What the layout kernels of every backend refuse.
#pragma once
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/rows.h"
#include "generated/layout_ops.h"

namespace heddle {

inline bool same_rows(const TensorView& x, const TensorView& y) {
  bool agree = x.rank >= 1 && x.rank == y.rank && x.dtype == DType::kF32 && y.dtype == DType::kF32;
  for (int i = 1; agree && i < x.rank; i++) agree = x.dims[i] == y.dims[i];
  return agree;
}

inline Status check_concat_columns(const ConcatColumnsArgs& args) {
  const TensorView& y = args.y;
  HEDDLE_CHECK(y.rank == 2 && y.dtype == DType::kF32, "concat_columns", "y is " + describe(y) + ": expected f32 [rows, columns]");
  int64_t columns = 0;
  for (const TensorView* part : {&args.a, &args.b, &args.c, &args.d}) {
    if (!part->present()) continue;
    HEDDLE_CHECK(part->rank == 2 && part->dtype == DType::kF32 && part->dims[0] == y.dims[0], "concat_columns",
                 "a part is " + describe(*part) + " but y is " + describe(y) + ": expected f32 [rows, columns] with as many rows");
    columns += part->dims[1];
  }
  HEDDLE_CHECK(columns == y.dims[1], "concat_columns", "the parts have " + std::to_string(columns) + " columns but y is " + describe(y));
  return Status::success();
}

inline Status check_concat_rows(const ConcatRowsArgs& args) {
  const TensorView &a = args.a, &b = args.b, &y = args.y;
  HEDDLE_CHECK(same_rows(a, y) && same_rows(b, y) && a.dims[0] + b.dims[0] == y.dims[0], "concat_rows",
               "a is " + describe(a) + ", b is " + describe(b) + ", y is " + describe(y) + ": expected y to have the rows of a and b");
  return Status::success();
}

inline Status check_window(const char* op, const TensorView& window, const TensorView& whole, int64_t from) {
  HEDDLE_CHECK(same_rows(window, whole), op, "got " + describe(window) + " and " + describe(whole) + ": expected f32 of equal inner dimensions");
  HEDDLE_CHECK(from >= 0 && from <= whole.dims[0] && window.dims[0] <= whole.dims[0] - from, op,
               "rows " + std::to_string(from) + " to " + std::to_string(from) + " + " + std::to_string(window.dims[0]) + " are not within " + describe(whole));
  return Status::success();
}

inline Status check_swap_axes(const SwapAxesArgs& args) {
  const TensorView &x = args.x, &y = args.y;
  const bool agree = (x.rank == 2 || x.rank == 3) && x.rank == y.rank && x.dtype == DType::kF32 && y.dtype == DType::kF32 && x.dims[0] == y.dims[1] &&
                     x.dims[1] == y.dims[0] && (x.rank == 2 || x.dims[2] == y.dims[2]);
  HEDDLE_CHECK(agree, "swap_axes", "x is " + describe(x) + " but y is " + describe(y) + ": expected f32 of rank 2 or 3 with the first two dimensions exchanged");
  return Status::success();
}

// The numbers themselves are data: each backend looks at them where they are.
inline Status check_numbered_rows(const char* op, const TensorView& x, const TensorView& rows, const TensorView& y) {
  HEDDLE_CHECK(same_rows(x, y), op, "x is " + describe(x) + " but y is " + describe(y) + ": expected f32 of equal inner dimensions");
  HEDDLE_CHECK(rows.rank == 1 && rows.dtype == DType::kI32 && rows.dims[0] == x.dims[0], op,
               "rows is " + describe(rows) + ": expected i32 [" + std::to_string(x.dims[0]) + "], a number for each row of x");
  HEDDLE_CHECK(x.dims[0] < INT32_MAX, op, "x is " + describe(x) + ": expected fewer than " + std::to_string(INT32_MAX) + " rows");
  return Status::success();
}

inline Status check_replace_rows(const ReplaceRowsArgs& args, size_t workspace_bytes, size_t needed) {
  HEDDLE_CHECK(args.base.data == args.y.data && same_dims(args.base, args.y), "replace_rows", "y does not lie over base");
  HEDDLE_TRY(check_numbered_rows("replace_rows", args.x, args.rows, args.y));
  HEDDLE_CHECK(workspace_bytes >= needed, "replace_rows",
               "the workspace has " + std::to_string(workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  return Status::success();
}

}  // namespace heddle
