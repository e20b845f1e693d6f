// A borrowed tensor: where its elements are and how many. Kernels see nothing else.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace heddle {

inline constexpr int kMaxRank = 4;

// Row-major. The leading dimension may be strided (a slice of columns of a wider tensor); all others are dense.
// An optional operand that was not given has data == nullptr and rank 0.
struct TensorView {
  void* data = nullptr;
  int64_t dims[kMaxRank] = {0, 0, 0, 0};
  int64_t leading_stride = 0;  // elements from one index of dims[0] to the next
  DType dtype = DType::kF32;
  uint8_t rank = 0;

  bool present() const { return data != nullptr || rank != 0; }

  int64_t elements() const {
    int64_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    return count;
  }
  // Elements behind one index of the leading dimension.
  int64_t inner_elements() const {
    int64_t count = 1;
    for (int i = 1; i < rank; i++) count *= dims[i];
    return count;
  }
  // All leading dimensions folded into rows, the last kept as columns (rank >= 1; only for dense or rank-2 views).
  int64_t rows() const { return rank == 0 ? 0 : (rank == 1 ? 1 : elements_before_last()); }
  int64_t columns() const { return rank == 0 ? 0 : dims[rank - 1]; }
  bool dense() const { return rank < 2 || dims[0] <= 1 || leading_stride == inner_elements(); }

  template <class T>
  T* as() const {
    return static_cast<T*>(data);
  }
  template <class T>
  T* row(int64_t index) const {
    return static_cast<T*>(data) + index * leading_stride;
  }

 private:
  int64_t elements_before_last() const {
    int64_t count = 1;
    for (int i = 0; i + 1 < rank; i++) count *= dims[i];
    return count;
  }
};

}  // namespace heddle
