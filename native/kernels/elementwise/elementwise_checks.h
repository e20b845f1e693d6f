// What the element by element kernels of every backend refuse.
#pragma once
#include <cfloat>
#include <string>

#include "core/check.h"
#include "core/rows.h"
#include "generated/elementwise_ops.h"

namespace heddle {

inline Status check_pair(const char* op, const char* name, const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y), op, std::string(name) + " is " + describe(x) + " but y is " + describe(y) + ": expected equal shapes of rank 1 to 4");
  HEDDLE_CHECK(x.dtype == DType::kF32 && y.dtype == DType::kF32, op, std::string(name) + " is " + describe(x) + ", y is " + describe(y) + ": expected f32");
  return Status::success();
}

// `name` has a number for each of the `count` columns or rows of x.
inline Status check_list(const char* op, const char* name, const TensorView& list, const TensorView& x, int64_t count) {
  HEDDLE_CHECK(list.rank == 1 && list.dtype == DType::kF32 && list.dims[0] == count, op,
               "x is " + describe(x) + " but " + name + " is " + describe(list) + ": expected f32 [" + std::to_string(count) + "]");
  return Status::success();
}

inline Status check_cap(const char* op, float cap) {
  HEDDLE_CHECK(cap > 0 && cap <= FLT_MAX, op, "cap is " + std::to_string(cap) + ": expected a finite number above 0");
  return Status::success();
}

inline Status check_add_bias(const AddBiasArgs& args) {
  HEDDLE_TRY(check_pair("add_bias", "x", args.x, args.y));
  return check_list("add_bias", "bias", args.bias, args.x, args.x.columns());
}

inline Status check_scale_columns(const ScaleColumnsArgs& args) {
  HEDDLE_TRY(check_pair("scale_columns", "x", args.x, args.y));
  return check_list("scale_columns", "factor", args.factor, args.x, args.x.columns());
}

inline Status check_scale_rows(const ScaleRowsArgs& args) {
  HEDDLE_TRY(check_pair("scale_rows", "x", args.x, args.y));
  return check_list("scale_rows", "factor", args.factor, args.x, args.x.dims[0]);
}

inline Status check_gate(const GateArgs& args) {
  HEDDLE_TRY(check_pair("gate", "gate", args.gate, args.y));
  return check_pair("gate", "up", args.up, args.y);
}

inline Status check_soft_cap(const SoftCapArgs& args) {
  HEDDLE_TRY(check_pair("soft_cap", "x", args.x, args.y));
  return check_cap("soft_cap", args.cap);
}

inline Status check_zeros_like(const ZerosLikeArgs& args) {
  HEDDLE_CHECK(args.y.rank >= 1 && args.y.dtype == DType::kF32 && args.y.dense() && same_dims(args.x, args.y), "zeros_like",
               "x is " + describe(args.x) + " but y is " + describe(args.y) + ": expected f32 of x's shape without gaps");
  return Status::success();
}

inline Status check_accumulate(const AccumulateArgs& args) {
  HEDDLE_TRY(check_pair("accumulate", "x", args.x, args.sum));
  HEDDLE_CHECK(args.target.data == args.sum.data, "accumulate", "sum does not lie over target");
  return Status::success();
}

inline Status check_copy(const CopyArgs& args) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y) && x.dtype == y.dtype, "copy",
               "x is " + describe(x) + " but y is " + describe(y) + ": expected equal dtypes and shapes of rank 1 to 4");
  return Status::success();
}

inline Status check_activate_grad(const ActivateGradArgs& args) {
  HEDDLE_TRY(check_pair("activate_grad", "x", args.x, args.dx));
  return check_pair("activate_grad", "dy", args.dy, args.dx);
}

inline Status check_gate_grad(const GateGradArgs& args) {
  HEDDLE_TRY(check_pair("gate_grad", "gate", args.gate, args.d_gate));
  HEDDLE_TRY(check_pair("gate_grad", "up", args.up, args.d_gate));
  HEDDLE_TRY(check_pair("gate_grad", "dy", args.dy, args.d_gate));
  return check_pair("gate_grad", "d_up", args.d_up, args.d_gate);
}

inline Status check_soft_cap_grad(const SoftCapGradArgs& args) {
  HEDDLE_TRY(check_pair("soft_cap_grad", "x", args.x, args.dx));
  HEDDLE_TRY(check_pair("soft_cap_grad", "dy", args.dy, args.dx));
  return check_cap("soft_cap_grad", args.cap);
}

// A function of two tensors a and b.
template <class Args>
Status check_operands(const char* op, const Args& args) {
  HEDDLE_TRY(check_pair(op, "a", args.a, args.y));
  return check_pair(op, "b", args.b, args.y);
}

}  // namespace heddle
