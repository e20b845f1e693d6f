// What optimiser steps refuse, and the numbers of a step.
#pragma once
#include <string>

#include "core/check.h"
#include "core/rows.h"

namespace heddle {

struct AdamwStep {
  float factor, first_share, second_share;
  float decay;        // rate * weight_decay
  float step;         // rate / (1 - beta1^t)
  float root_factor;  // 1 / sqrt(1 - beta2^t)
  float eps;
};

struct SgdStep {
  float factor, momentum, weight_decay, rate;
  bool nesterov;
};

struct StepOperands {
  const TensorView &parameters, &gradients, &schedule, &factor, &applied;
};

inline Status check_flat(const char* op, const char* name, const TensorView& tensor, const TensorView& like) {
  HEDDLE_CHECK(tensor.rank >= 1 && same_dims(tensor, like) && tensor.dtype == DType::kF32 && tensor.dense(), op,
               std::string(name) + " is " + describe(tensor) + " but parameters is " + describe(like) + ": expected f32 of equal shapes without gaps");
  return Status::success();
}

inline Status check_numbers(const char* op, const char* name, const TensorView& tensor, int64_t count) {
  HEDDLE_CHECK(tensor.rank == 1 && tensor.dtype == DType::kF32 && tensor.dims[0] == count, op,
               std::string(name) + " is " + describe(tensor) + ": expected f32 [" + std::to_string(count) + "]");
  return Status::success();
}

inline Status check_place(const char* op, const char* name, const TensorView& result, const TensorView& operand) {
  HEDDLE_CHECK(result.data == operand.data && same_dims(result, operand), op, std::string("the new ") + name + " does not lie over the old");
  return Status::success();
}

inline Status refuse_number(const char* op, const char* what, float value, const char* expected) {
  return fail(StatusCode::kInvalidArgument, std::string("[") + op + "] " + what + " is " + std::to_string(value) + ": expected " + expected);
}

inline Status check_step(const char* op, const StepOperands& operands, int64_t numbers) {
  HEDDLE_TRY(check_flat(op, "parameters", operands.parameters, operands.parameters));
  HEDDLE_TRY(check_flat(op, "gradients", operands.gradients, operands.parameters));
  HEDDLE_TRY(check_numbers(op, "schedule", operands.schedule, numbers));
  if (operands.factor.present()) HEDDLE_TRY(check_numbers(op, "factor", operands.factor, 1));
  HEDDLE_CHECK(operands.applied.rank == 1 && operands.applied.dtype == DType::kI32 && operands.applied.dims[0] == 1, op,
               "applied is " + describe(operands.applied) + ": expected i32 [1]");
  return Status::success();
}

template <class Args>
Status check_adamw(const Args& args) {
  HEDDLE_TRY(check_step("adamw", {args.parameters, args.gradients, args.schedule, args.factor, args.applied}, 3));
  HEDDLE_TRY(check_flat("adamw", "first", args.first, args.parameters));
  HEDDLE_TRY(check_flat("adamw", "second", args.second, args.parameters));
  HEDDLE_TRY(check_place("adamw", "parameters", args.new_parameters, args.parameters));
  HEDDLE_TRY(check_place("adamw", "first", args.new_first, args.first));
  return check_place("adamw", "second", args.new_second, args.second);
}

template <class Args>
Status check_sgd(const Args& args) {
  HEDDLE_TRY(check_step("sgd", {args.parameters, args.gradients, args.schedule, args.factor, args.applied}, 1));
  HEDDLE_TRY(check_flat("sgd", "velocity", args.velocity, args.parameters));
  HEDDLE_TRY(check_place("sgd", "parameters", args.new_parameters, args.parameters));
  return check_place("sgd", "velocity", args.new_velocity, args.velocity);
}

template <class Args>
Status check_sum_squares(const Args& args) {
  HEDDLE_CHECK(args.x.rank >= 1 && args.x.dtype == DType::kF32 && args.x.dense(), "sum_squares", "x is " + describe(args.x) + ": expected f32 without gaps");
  return check_numbers("sum_squares", "y", args.y, 1);
}

template <class Args>
Status check_clip_factor(const Args& args) {
  HEDDLE_TRY(check_numbers("clip_factor", "square_sum", args.square_sum, 1));
  HEDDLE_TRY(check_numbers("clip_factor", "factor", args.factor, 1));
  if (!(args.max_norm > 0)) return refuse_number("clip_factor", "max_norm", args.max_norm, "a number above 0");
  return Status::success();
}

}  // namespace heddle
