// One wording for what a kernel refuses. Shapes were settled in TypeScript; these checks only keep memory safe.
#pragma once
#include <string>

#include "core/status.h"
#include "core/tensor_view.h"

namespace heddle {

inline std::string describe(const TensorView& tensor) {
  std::string text = dtype_name(tensor.dtype);
  text += " [";
  for (int i = 0; i < tensor.rank; i++) {
    if (i > 0) text += ", ";
    text += std::to_string(tensor.dims[i]);
  }
  return text + "]";
}

}  // namespace heddle

// Use inside a kernel: HEDDLE_CHECK(x.rank == 2, "linear", "x is " + describe(x) + ": expected two dimensions").
#define HEDDLE_CHECK(condition, op, message)                                                             \
  do {                                                                                                   \
    if (!(condition))                                                                                    \
      return ::heddle::fail(::heddle::StatusCode::kInvalidProgram, std::string("[") + (op) + "] " + (message)); \
  } while (0)
