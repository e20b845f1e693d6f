#include "kernels/linear/linear_row_major.h"

#include <algorithm>
#include <cstring>

namespace heddle {

namespace {

// A square of the transposed source at a time: its lines and those of the destination stay in the first level cache.
template <class Element>
void transposed_rows(const std::byte* source, int64_t rows, int64_t k, int64_t k_step, Element* destination, int64_t inner) {
  constexpr int64_t kSquare = 64 / static_cast<int64_t>(sizeof(Element));
  for (int64_t first_row = 0; first_row < rows; first_row += kSquare) {
    const int64_t last_row = std::min(rows, first_row + kSquare);
    for (int64_t first = 0; first < k; first += kSquare) {
      const int64_t last = std::min(k, first + kSquare);
      for (int64_t index = first; index < last; index++) {
        const std::byte* from = source + index * k_step + first_row * static_cast<int64_t>(sizeof(Element));
        for (int64_t row = first_row; row < last_row; row++, from += sizeof(Element))
          std::memcpy(destination + row * inner + index, from, sizeof(Element));
      }
    }
  }
}

template <class Element>
void row_major_rows(const std::byte* source, int64_t rows, int64_t k, bool transposed, int64_t source_stride, Element* destination) {
  constexpr int64_t kSize = sizeof(Element);
  const int64_t inner = linear_inner(k);
  if (transposed) {
    transposed_rows(source, rows, k, source_stride * kSize, destination, inner);
  } else if (source_stride == k && inner == k) {
    if (rows * k > 0) std::memcpy(destination, source, static_cast<size_t>(rows * k * kSize));
  } else {
    for (int64_t row = 0; row < rows && k > 0; row++) std::memcpy(destination + row * inner, source + row * source_stride * kSize, static_cast<size_t>(k * kSize));
  }
  if (inner != k)
    for (int64_t row = 0; row < rows; row++) destination[row * inner + k] = Element{0};
}

}  // namespace

void linear_row_major_rows(DType dtype, const void* source, int64_t rows, int64_t k, bool transposed, int64_t source_stride,
                           int64_t first_output, void* destination) {
  const std::byte* from = static_cast<const std::byte*>(source);
  const int64_t skipped = first_output * linear_inner(k);
  if (dtype == DType::kF32) {
    row_major_rows(from, rows, k, transposed, source_stride, static_cast<uint32_t*>(destination) + skipped);
  } else if (dtype == DType::kF16 || dtype == DType::kBF16) {
    row_major_rows(from, rows, k, transposed, source_stride, static_cast<uint16_t*>(destination) + skipped);
  }
}

}  // namespace heddle
