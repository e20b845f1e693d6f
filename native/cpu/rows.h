// Parallel loops over rows of tensors, or over pieces of contiguous elements.
#pragma once
#include <cstdint>

#include "core/rows.h"
#include "cpu/cpu_context.h"

namespace heddle {

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
