// Products of the rows of one adapter with a tile of its tokens, for kernels of 128 threads.
//
// Each token's sums have one order: the four warps take columns in turn, eight by eight, and their sums are added at the end. They do
// not depend on which tokens or how many are in the tile.
#pragma once
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.cuh"
#include "kernels/grouped_lora/adapter_tokens.cuh"
#include "kernels/grouped_lora/gradient_rows.h"
#include "kernels/grouped_lora/pool_rows.cuh"

namespace heddle {

inline constexpr int kProductThreads = 128;
inline constexpr int kSliceColumns = 32, kSliceStride = kSliceColumns + 4;  // of what passes through shared memory at once
inline constexpr int kTileFloats = 3 * (kRunTile + kPassRanks) * kSliceStride;

// Rows of one f32 tensor, one per token.
struct TokenRows {
  const float* at;
  int64_t stride;
  int64_t width;

  // 16-byte loads of whole rows. Rows of the pool are aligned anyway, if the pool is.
  __device__ bool whole() const { return width % 4 == 0 && is_aligned16(at, stride); }
};

// Consecutive rows of the table, and behind them one row of f32 or none.
struct FactorRows {
  int64_t first;
  int32_t count;
  int32_t dtype;
  int32_t extra;  // -1: none

  __device__ int total() const { return count + (extra >= 0 ? 1 : 0); }
};

// Its address in units of the pool; -1: there is none.
__device__ inline int32_t factor_row(const AdapterPool& pool, const FactorRows& rows, int r) {
  return r >= rows.total() ? -1 : pool.rows[r < rows.count ? rows.first + r : rows.extra];
}

// At most 16 * M rows. store(t, r, product) for the tokens of the tile and the rows.
template <int M, class Store>
__device__ __forceinline__ void multiply_tile(const AdapterPool& pool, const FactorRows& rows, const TokenRows& z, const int32_t* token, int tokens,
                                              SharedPointer<float> buffer, const Store& store) {
  constexpr int kRanks = 16 * M, kSlice = (kRunTile + kRanks) * kSliceStride, kSlices = kTileFloats / kSlice;
  constexpr int kWide = M < 4 ? 4 : 2;  // columns at once: the sums of many ranks leave few registers
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  // Every thread brings the same four columns of two tokens and M rows.
  const int line = thread / 8, column = thread % 8 * 4;
  int32_t from_z[2];
  int32_t from_row[M];
  bool is_f32[M];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int t = line + 16 * i;
    from_z[i] = t < tokens ? token[t] : -1;
  }
#pragma unroll
  for (int i = 0; i < M; i++) {
    from_row[i] = factor_row(pool, rows, line + 16 * i);
    is_f32[i] = rows.dtype == static_cast<int32_t>(DType::kF32) || line + 16 * i >= rows.count;
  }
  const int width = static_cast<int>(z.width);
  const bool whole = z.whole(), whole_rows = width % 4 == 0;

  const auto bring = [&](int slice) {
    const int n = slice * kSliceColumns + column;
    const SharedPointer<float> to = buffer + slice % kSlices * kSlice + line * kSliceStride + column;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const SharedPointer<float> at = to + 16 * i * kSliceStride;
      const float* row = from_z[i] < 0 ? nullptr : z.at + from_z[i] * z.stride;
      if (whole) {
        const bool valid = row != nullptr && n < width;
        copy_async16(at, valid ? row + n : z.at, valid);
      } else {
        store_pack(at, load_four_single(row, n, width));
      }
    }
#pragma unroll
    for (int i = 0; i < M; i++) {
      const SharedPointer<float> at = to + (kRunTile + 16 * i) * kSliceStride;
      const std::byte* row = from_row[i] < 0 ? nullptr : pool.bytes + from_row[i] * kRowUnit;
      if (is_f32[i] && whole_rows) {
        const bool valid = row != nullptr && n < width;
        copy_async16(at, reinterpret_cast<const float*>(valid ? row + n * int64_t{4} : pool.bytes), valid);
      } else {
        store_pack(at, load_four_of(is_f32[i] ? static_cast<int32_t>(DType::kF32) : rows.dtype, row, n, width));
      }
    }
  };

  float sum[4][4 * M];
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4 * M; j++) sum[i][j] = 0;
  const int slices = (width + kSliceColumns - 1) / kSliceColumns;
  for (int slice = 0; slice + 1 < kSlices; slice++) {
    if (slice < slices) bring(slice);
    copy_async_commit();
  }
  for (int slice = 0; slice < slices; slice++) {
    copy_async_wait<kSlices - 2>();
    __syncthreads();
    if (slice + kSlices - 1 < slices) bring(slice + kSlices - 1);
    copy_async_commit();
    const SharedPointer<float> at = buffer + slice % kSlices * kSlice + warp * 8;
#pragma unroll(M < 2 ? 2 : 1)
    for (int k = 0; k < 8; k += kWide) {
      Pack<float, kWide> x[4];
#pragma unroll
      for (int i = 0; i < 4; i++) x[i] = load_pack<kWide>(at + (lane % 8 + 8 * i) * kSliceStride + k);
#pragma unroll
      for (int j = 0; j < 4 * M; j++) {
        const Pack<float, kWide> a = load_pack<kWide>(at + (kRunTile + lane / 8 + 4 * j) * kSliceStride + k);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
          for (int e = 0; e < kWide; e++) sum[i][j] = fmaf(x[i].v[e], a.v[e], sum[i][j]);
      }
    }
  }

  __syncthreads();
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4 * M; j++) buffer[(warp * kRunTile + lane % 8 + 8 * i) * kRanks + lane / 8 + 4 * j] = sum[i][j];
  __syncthreads();
  for (int i = thread; i < kRunTile * kRanks; i += kProductThreads) {
    const int t = i / kRanks, r = i % kRanks;
    if (t >= tokens || r >= rows.total()) continue;
    constexpr int kPart = kRunTile * kRanks;
    const float low = static_cast<float>(buffer[i]) + static_cast<float>(buffer[i + kPart]);
    const float high = static_cast<float>(buffer[i + 2 * kPart]) + static_cast<float>(buffer[i + 3 * kPart]);
    store(t, r, low + high);
  }
  __syncthreads();
}

// At most kPassRanks rows.
template <class Store>
__device__ __forceinline__ void multiply_tile(const AdapterPool& pool, const FactorRows& rows, const TokenRows& z, const int32_t* token, int tokens,
                                              SharedPointer<float> buffer, const Store& store) {
  if (rows.total() <= 16) {
    multiply_tile<1>(pool, rows, z, token, tokens, buffer, store);
  } else if (rows.total() <= 32) {
    multiply_tile<2>(pool, rows, z, token, tokens, buffer, store);
  } else {
    multiply_tile<4>(pool, rows, z, token, tokens, buffer, store);
  }
}

}  // namespace heddle
