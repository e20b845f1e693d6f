// Tensors walked as rows of their last dimension.
#pragma once
#include <cstdint>

#include "core/tensor_view.h"

namespace heddle {

inline bool same_dims(const TensorView& a, const TensorView& b) {
  if (a.rank != b.rank) return false;
  for (int i = 0; i < a.rank; i++)
    if (a.dims[i] != b.dims[i]) return false;
  return true;
}

// Rank 1..4, the leading dimension perhaps strided.
struct Rows {
  int64_t count, columns;
  int64_t per_leading;  // rows behind one index of the leading dimension
  int64_t leading_stride;

  constexpr int64_t offset(int64_t row) const {
    return per_leading == 1 ? row * leading_stride : row / per_leading * leading_stride + row % per_leading * columns;
  }
};

inline Rows rows_of(const TensorView& tensor) {
  if (tensor.rank < 2) return {1, tensor.columns(), 1, tensor.columns()};
  int64_t per_leading = 1;
  for (int i = 1; i + 1 < tensor.rank; i++) per_leading *= tensor.dims[i];
  return {tensor.dims[0] * per_leading, tensor.columns(), per_leading, tensor.leading_stride};
}

}  // namespace heddle
