// Activations of a product with 16-bit weights, as one or two terms of the weight's type in the workspace.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "core/status.h"

namespace heddle {

struct CudaContext;

// Rows are filled up with zeros to a multiple of so many k: what a tile of the tensor cores takes at a time.
inline constexpr int64_t kRoundedDepth = 64;

// x[r, i] = unscale[r] (terms[0][r, i] + terms[1][r, i] ..). f16 rows are scaled by a power of two so that neither their largest
// nor their small elements leave its range; bf16 has f32's range and no scales.
struct RoundedRows {
  const void* terms;
  const float* unscale;  // nullptr: all 1
  int64_t rows, padded;  // a term is [rows, padded]
  int count;             // of terms
};

constexpr int64_t rounded_padded(int64_t k) { return (k + kRoundedDepth - 1) / kRoundedDepth * kRoundedDepth; }

// How many rows are rounded at a time, and where they lie.
struct RoundedBlock {
  int64_t rows;
  size_t unscale_bytes, bytes;

  // Rounded rows take 64 MiB at most, so that they stay near in the second level cache, but 128 rows always.
  static RoundedBlock of(int64_t rows, int64_t k, int terms) {
    const size_t row_bytes = static_cast<size_t>(rounded_padded(std::max<int64_t>(k, 1))) * 2 * static_cast<size_t>(terms);
    const size_t most = std::max(kMost, kFewestRows * row_bytes);
    RoundedBlock block{};
    block.rows = static_cast<size_t>(rows) * row_bytes <= most ? rows : static_cast<int64_t>(most / row_bytes / kFewestRows * kFewestRows);
    block.unscale_bytes = (static_cast<size_t>(rows) * sizeof(float) + 255) / 256 * 256;
    block.bytes = block.unscale_bytes + std::min(static_cast<size_t>(rows) * row_bytes, most);
    return block;
  }

 private:
  static constexpr size_t kMost = size_t{64} << 20, kFewestRows = 128;
};

// Rounds x[rows, k] into context.workspace as RoundedBlock says; rows <= block.rows.
Status linear_round_rows(const char* op, DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t k, int terms, const RoundedBlock& block,
                         const CudaContext& context, RoundedRows* rounded);

}  // namespace heddle
