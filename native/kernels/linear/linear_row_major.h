// Weights of linear as the CUDA device holds them: as many bytes as linear_pack.h's panels, but row-major.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "kernels/linear/linear_pack.h"

namespace heddle {

// Bytes of one output: inner = k rounded up to even elements.
inline size_t linear_row_bytes(DType dtype, int64_t k) { return static_cast<size_t>(linear_inner(k)) * dtype_bytes(dtype); }

// Lays `rows` outputs of one matrix out as rows first_output, first_output + 1, ... of `destination`, host memory whose first
// row is output 0: a staging buffer for some rows alone is filled with first_output = 0. The source is [rows, k] with
// source_stride elements between rows, or [k, rows] when transposed; it may be unaligned. An odd k is filled up with a zero;
// calls that write different outputs may run at the same time. The outputs up to the end of the last panel are zeros that
// somebody else stores (linear_packed_bytes counts them).
void linear_row_major_rows(DType dtype, const void* source, int64_t rows, int64_t k, bool transposed, int64_t source_stride,
                           int64_t first_output, void* destination);

}  // namespace heddle
