// The loop of all element by element kernels.
#pragma once
#include <tuple>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "kernels/elementwise/elementwise_checks.h"

namespace heddle {

inline constexpr int64_t kCheapGrain = 16384;    // elements per chunk of memory-bound loops
inline constexpr int64_t kFunctionGrain = 4096;  // of loops with an exponential

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
