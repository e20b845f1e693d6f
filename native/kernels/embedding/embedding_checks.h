// What embedding and gather_rows refuse on every backend. Numbers of rows are data: each backend looks at them where they are.
#pragma once
#include <string>

#include "core/check.h"
#include "generated/embedding_ops.h"
#include "kernels/linear/compact_checks.h"

namespace heddle {

inline constexpr int64_t kPanelRows = 16;  // rows of weight in a packed panel

inline Status check_embedding_weight(const EmbeddingArgs& args) {
  const TensorView &weight = args.weight, &y = args.y;
  const int64_t width = y.dims[1];
  if (may_be_compact(weight)) return compact_dims_check("embedding", weight, args.vocabulary, width, "y " + describe(y));
  HEDDLE_CHECK(weight.dtype == DType::kF32 || weight.dtype == DType::kF16 || weight.dtype == DType::kBF16, "embedding",
               "weight is " + describe(weight) + ": expected f32, f16 or bf16");
  if (weight.rank == 2) {
    HEDDLE_CHECK(weight.dims[0] == args.vocabulary && weight.dims[1] == width, "embedding",
                 "weight is " + describe(weight) + ": expected [" + std::to_string(args.vocabulary) + ", " + std::to_string(width) + "]");
    return Status::success();
  }
  const int64_t pair = weight.dtype == DType::kBF16 ? 2 : 1;
  HEDDLE_CHECK(weight.rank == 3 && weight.dense() && weight.dims[2] == kPanelRows * pair && weight.dims[0] >= (args.vocabulary + kPanelRows - 1) / kPanelRows &&
                   weight.dims[1] * pair >= width && weight.dims[1] * pair <= width + 1,
               "embedding",
               "weight is " + describe(weight) + ": expected panels of 16 rows for " + std::to_string(args.vocabulary) + " rows of " + std::to_string(width));
  return Status::success();
}

inline Status check_embedding(const EmbeddingArgs& args) {
  const TensorView &ids = args.ids, &y = args.y;
  HEDDLE_CHECK(ids.rank == 1 && ids.dtype == DType::kI32 && y.rank == 2 && y.dtype == DType::kF32 && y.dims[0] == ids.dims[0], "embedding",
               "ids is " + describe(ids) + " and y is " + describe(y) + ": expected i32 [tokens] and f32 [tokens, width]");
  HEDDLE_CHECK(args.vocabulary >= 0, "embedding", "vocabulary is " + std::to_string(args.vocabulary) + ": expected at least 0");
  return check_embedding_weight(args);
}

inline Status check_gather_rows(const GatherRowsArgs& args) {
  const TensorView &x = args.x, &rows = args.rows, &y = args.y;
  HEDDLE_CHECK(rows.rank == 1 && rows.dtype == DType::kI32, "gather_rows", "rows is " + describe(rows) + ": expected i32 [rows]");
  bool agree = x.rank >= 1 && x.rank == y.rank && x.dtype == y.dtype && y.dims[0] == rows.dims[0];
  for (int i = 1; agree && i < x.rank; i++) agree = x.dims[i] == y.dims[i];
  HEDDLE_CHECK(agree, "gather_rows", "x is " + describe(x) + ", rows is " + describe(rows) + ", y is " + describe(y) + ": expected y to have one row of x per entry of rows");
  return Status::success();
}

}  // namespace heddle
