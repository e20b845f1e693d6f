// Loops and checks that all element by element kernels share.
#pragma once
#include <string>
#include <tuple>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"

namespace heddle {

inline constexpr int64_t kCheapGrain = 16384;    // elements per chunk of memory-bound loops
inline constexpr int64_t kFunctionGrain = 4096;  // of loops with an exponential

inline Status check_pair(const char* op, const char* name, const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y), op, std::string(name) + " is " + describe(x) + " but y is " + describe(y) + ": expected equal shapes of rank 1 to 4");
  HEDDLE_CHECK(x.dtype == DType::kF32 && y.dtype == DType::kF32, op, std::string(name) + " is " + describe(x) + ", y is " + describe(y) + ": expected f32");
  return Status::success();
}

// body(a pointer into each tensor, count) over contiguous pieces of tensors f32 of equal shapes.
template <class Body, class... Tensors>
void over_pieces(CpuContext& context, int64_t grain, const Body& body, const Tensors&... tensors) {
  const TensorView& first = std::get<0>(std::tie(tensors...));
  const bool flat = (tensors.dense() && ...);
  parallel_pieces(context, flat ? 1 : first.dims[0], flat ? first.elements() : first.inner_elements(), grain,
                  [&](int64_t row, int64_t column, int64_t count) {
                    body(((flat ? tensors.template as<float>() : tensors.template row<float>(row)) + column)..., count);
                  });
}

}  // namespace heddle
