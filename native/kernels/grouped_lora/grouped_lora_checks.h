// What both devices check of grouped_lora's operands.
#pragma once
#include "core/check.h"
#include "generated/grouped_lora_ops.h"

namespace heddle {

inline Status check_grouped_lora(const GroupedLoraArgs& args) {
  constexpr const char* kName = "grouped_lora";
  HEDDLE_CHECK(args.x.rank == 2 && args.x.dtype == DType::kF32, kName, "x is " + describe(args.x) + ": expected f32 [tokens, inputs]");
  const int64_t tokens = args.x.dims[0];
  for (const TensorView* view : {&args.base, &args.y})
    HEDDLE_CHECK(view->rank == 2 && view->dtype == DType::kF32 && view->dims[0] == tokens && view->dims[1] == args.base.dims[1], kName,
                 "base is " + describe(args.base) + " and y " + describe(args.y) + ": expected f32 [tokens, columns]");
  HEDDLE_CHECK(args.base.data == args.y.data && args.base.leading_stride == args.y.leading_stride, kName, "y does not lie over base");
  const TensorView& bias = args.base_bias;
  HEDDLE_CHECK(!bias.present() || (bias.rank == 1 && bias.dtype == DType::kF32 && bias.dims[0] == args.base.dims[1]), kName,
               "base_bias is " + describe(bias) + ": expected f32 [" + std::to_string(args.base.dims[1]) + "]");
  HEDDLE_CHECK(args.columns.rank == 1 && args.columns.dtype == DType::kI32 && args.columns.dims[0] >= 2, kName,
               "columns is " + describe(args.columns) + ": expected i32 [sites + 1]");
  return Status::success();
}

}  // namespace heddle
