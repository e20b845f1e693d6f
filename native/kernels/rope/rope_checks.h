// What rope_table and rope refuse on every backend.
#pragma once
#include <algorithm>
#include <string>

#include "core/check.h"
#include "generated/rope_ops.h"

namespace heddle {

inline Status check_rope_indexes(const char* name, const TensorView& tensor, int64_t tokens) {
  HEDDLE_CHECK(tensor.rank == 1 && tensor.dtype == DType::kI32 && tensor.dims[0] == tokens,
               "rope_table", std::string(name) + " is " + describe(tensor) + ": expected i32 [" + std::to_string(tokens) + "]");
  return Status::success();
}

inline Status check_rope_frequencies(const char* name, const TensorView& tensor, int64_t half) {
  HEDDLE_CHECK(tensor.rank == 1 && tensor.dtype == DType::kF32 && tensor.dims[0] == half,
               "rope_table", std::string(name) + " is " + describe(tensor) + ": expected f32 [" + std::to_string(half) + "]");
  return Status::success();
}

inline Status check_rope_table(const RopeTableArgs& args) {
  const TensorView& table = args.table;
  HEDDLE_CHECK(table.rank == 2 && table.dtype == DType::kF32 && table.dims[1] % 2 == 0, "rope_table",
               "table is " + describe(table) + ": expected f32 [tokens, rotary] with an even rotary width");
  const int64_t tokens = table.dims[0], half = table.dims[1] / 2;
  HEDDLE_TRY(check_rope_indexes("positions", args.positions, tokens));
  HEDDLE_TRY(check_rope_frequencies("frequencies", args.frequencies, half));
  if (args.long_frequencies.present()) HEDDLE_TRY(check_rope_frequencies("long_frequencies", args.long_frequencies, half));
  if (args.lengths.present()) HEDDLE_TRY(check_rope_indexes("lengths", args.lengths, tokens));
  return Status::success();
}

inline Status check_rope(const RopeArgs& args) {
  const TensorView& x = args.x;
  const TensorView& y = args.y;
  const TensorView& table = args.table;
  HEDDLE_CHECK(x.rank == 3 && x.dtype == DType::kF32, "rope", "x is " + describe(x) + ": expected f32 [tokens, heads, width]");
  HEDDLE_CHECK(y.rank == 3 && y.dtype == DType::kF32 && std::equal(x.dims, x.dims + 3, y.dims), "rope",
               "y is " + describe(y) + ", x is " + describe(x) + ": expected the same shape");
  HEDDLE_CHECK(table.rank == 2 && table.dtype == DType::kF32 && table.dims[0] == x.dims[0] && table.dims[1] % 2 == 0 &&
                   table.dims[1] <= x.dims[2],
               "rope", "table is " + describe(table) + ", x is " + describe(x) + ": expected f32 [tokens, rotary], rotary even and at most the width");
  return Status::success();
}

}  // namespace heddle
