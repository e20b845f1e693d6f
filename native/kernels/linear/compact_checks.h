// What ops that read weights of linear ask of one that may be compact.
#pragma once
#include <string>

#include "core/check.h"
#include "kernels/linear/compact_panels.h"

namespace heddle {

// `operands` says what the sizes come from.
inline Status compact_dims_check(const char* op, const TensorView& weight, int64_t outputs, int64_t k, const std::string& operands) {
  const int64_t panels = linear_panels(outputs), lines = compact_slot_lines(k);
  HEDDLE_CHECK(weight.rank == 3 && weight.dense() && weight.dims[0] == panels && weight.dims[1] == lines && weight.dims[2] == kPanelLine, op,
               "weight is " + describe(weight) + " for " + operands + ": expected [" + std::to_string(panels) + ", " + std::to_string(lines) + ", " +
                   std::to_string(kPanelLine) + "] without gaps");
  return Status::success();
}

// Where the first header of a weight says that things are. The other headers say the same: nobody follows them.
inline Status compact_weight_check(const char* op, const TensorView& weight, int64_t k) {
  if (!may_be_compact(weight) || weight.dims[0] == 0) return Status::success();
  const PanelHeader& first = PanelRows{weight.as<const std::byte>(), k}.first();
  if (first.compact == 0) return Status::success();
  const int64_t units = compact_units(k) * kUnitBytes, slot = compact_slot_bytes(k);
  const bool sound = first.units_at >= kPanelLine && first.units_at % kPanelLine == 0 && first.step <= slot && first.units_at <= slot && first.step == first.units_at + units;
  HEDDLE_CHECK(sound, op,
               "weight " + describe(weight) + " has panels of " + std::to_string(first.step) + " bytes with units at " + std::to_string(first.units_at) +
                   ": expected compact panels of k " + std::to_string(k));
  return Status::success();
}

inline Status refuse_compact(const char* op, const TensorView& weight) {
  HEDDLE_CHECK(!may_be_compact(weight), op, "weight is " + describe(weight) + ": a CUDA device reads no compact panels, expected f32, f16 or bf16");
  return Status::success();
}

}  // namespace heddle
