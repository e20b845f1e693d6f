// Tensors walked as rows of their last dimension, or as pieces of contiguous elements, and the loops over them.
#pragma once
#include <cstdint>

#include "core/tensor_view.h"
#include "cpu/cpu_context.h"

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

  int64_t offset(int64_t row) const {
    return per_leading == 1 ? row * leading_stride : row / per_leading * leading_stride + row % per_leading * columns;
  }
};

inline Rows rows_of(const TensorView& tensor) {
  if (tensor.rank < 2) return {1, tensor.columns(), 1, tensor.columns()};
  int64_t per_leading = 1;
  for (int i = 1; i + 1 < tensor.rank; i++) per_leading *= tensor.dims[i];
  return {tensor.dims[0] * per_leading, tensor.columns(), per_leading, tensor.leading_stride};
}

// body(first row, end row) over blocks of about `grain` elements.
template <class Body>
void parallel_rows(CpuContext& context, int64_t rows, int64_t columns, int64_t grain, const Body& body) {
  if (rows <= 0) return;
  const int64_t block = columns >= grain ? 1 : grain / (columns > 0 ? columns : 1);
  context.parallel((rows + block - 1) / block, [&](int64_t chunk, int) {
    const int64_t end = (chunk + 1) * block;
    body(chunk * block, end < rows ? end : rows);
  });
}

// body(row, column, count) over contiguous pieces that together cover rows x width elements.
template <class Body>
void parallel_pieces(CpuContext& context, int64_t rows, int64_t width, int64_t grain, const Body& body) {
  const int64_t total = rows * width;
  context.parallel((total + grain - 1) / grain, [&](int64_t chunk, int) {
    const int64_t end = (chunk + 1) * grain < total ? (chunk + 1) * grain : total;
    for (int64_t at = chunk * grain; at < end;) {
      const int64_t row = at / width, column = at % width;
      const int64_t count = width - column < end - at ? width - column : end - at;
      body(row, column, count);
      at += count;
    }
  });
}

}  // namespace heddle
