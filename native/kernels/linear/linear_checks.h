// What linear and linear_grad refuse on every backend.
#pragma once
#include <string>

#include "core/check.h"
#include "generated/linear_ops.h"
#include "kernels/linear/compact_checks.h"
#include "kernels/linear/linear_pack.h"

namespace heddle {

// `left` and `right` are the op's matrices beside the weight of [outputs, k].
inline Status linear_weight_check(const char* op, const TensorView& weight, int64_t outputs, int64_t k, const std::string& left, const std::string& right) {
  const int64_t panels = linear_panels(outputs);
  const int64_t inner = linear_inner(k);
  if (may_be_compact(weight)) return compact_dims_check(op, weight, outputs, k, left + " and " + right);
  const bool pairs = weight.dtype == DType::kBF16;
  HEDDLE_CHECK(pairs || weight.dtype == DType::kF32 || weight.dtype == DType::kF16, op, "weight is " + describe(weight) + ": expected f32, f16 or bf16");
  HEDDLE_CHECK(weight.rank == 3 && weight.dense() && weight.dims[0] == panels && weight.dims[1] == (pairs ? inner / 2 : inner) &&
                   weight.dims[2] == (pairs ? 2 * kLinearPanel : kLinearPanel),
               op,
               "weight is " + describe(weight) + " for " + left + " and " + right + ": expected [" + std::to_string(panels) + ", " +
                   std::to_string(pairs ? inner / 2 : inner) + ", " + std::to_string(pairs ? 2 * kLinearPanel : kLinearPanel) + "] without gaps");
  return Status::success();
}

inline Status linear_rows_check(const char* op, const char* name, const TensorView& result) {
  if (result.dims[0] > 1)
    HEDDLE_CHECK(result.leading_stride >= result.dims[1], op,
                 std::string("rows of ") + name + " are " + std::to_string(result.leading_stride) + " elements apart: expected at least " +
                     std::to_string(result.dims[1]));
  return Status::success();
}

inline Status linear_check(const LinearArgs& args) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_CHECK(x.rank == 2 && x.dtype == DType::kF32, "linear", "x is " + describe(x) + ": expected f32 [rows, k]");
  HEDDLE_CHECK(y.rank == 2 && y.dtype == DType::kF32 && y.dims[0] == x.dims[0], "linear",
               "y is " + describe(y) + ": expected f32 [" + std::to_string(x.dims[0]) + ", outputs]");
  HEDDLE_TRY(linear_weight_check("linear", args.weight, y.dims[1], x.dims[1], "x " + describe(x), "y " + describe(y)));
  if (args.bias.present())
    HEDDLE_CHECK(args.bias.rank == 1 && args.bias.dtype == DType::kF32 && args.bias.dims[0] == y.dims[1], "linear",
                 "bias is " + describe(args.bias) + ": expected f32 [" + std::to_string(y.dims[1]) + "]");
  return linear_rows_check("linear", "y", y);
}

inline Status linear_grad_check(const LinearGradArgs& args) {
  const TensorView &dy = args.dy, &dx = args.dx;
  HEDDLE_CHECK(dy.rank == 2 && dy.dtype == DType::kF32, "linear_grad", "dy is " + describe(dy) + ": expected f32 [rows, outputs]");
  HEDDLE_CHECK(dx.rank == 2 && dx.dtype == DType::kF32 && dx.dims[0] == dy.dims[0], "linear_grad",
               "dx is " + describe(dx) + ": expected f32 [" + std::to_string(dy.dims[0]) + ", inputs]");
  HEDDLE_TRY(linear_weight_check("linear_grad", args.weight, dy.dims[1], dx.dims[1], "dy " + describe(dy), "dx " + describe(dx)));
  return linear_rows_check("linear_grad", "dx", dx);
}

}  // namespace heddle
