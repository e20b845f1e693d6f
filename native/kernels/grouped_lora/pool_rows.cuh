// Rows of the pool for warps and threads: whether they lie inside, and four neighbouring elements as f32, whatever a row's end.
#pragma once
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.cuh"

namespace heddle {

// By a whole warp: rows[first .. first + count) exist and lie in the first `bytes` of the pool.
__device__ inline bool rows_inside(const AdapterPool& pool, int64_t first, int64_t count, int64_t width_bytes, int64_t bytes) {
  if (!rows_exist(pool, first, count)) return false;
  bool inside = true;
  for (int64_t r = threadIdx.x % kWarp; r < count; r += kWarp) {
    const int64_t at = pool.rows[first + r] * kRowUnit;
    inside = inside && at >= 0 && at <= bytes - width_bytes;
  }
  return __all_sync(kFullWarp, inside) != 0;
}

// From element n on, a multiple of 4; elements from `width` on are zero and not read. The row may be null, else it is aligned to four
// elements.
template <class T>
__device__ __forceinline__ Pack<float, 4> load_four(const T* row, int64_t n, int64_t width) {
  Pack<float, 4> four = {};
  if (row == nullptr || n >= width) return four;
  if (n + 4 <= width) {
    const Pack<T, 4> pack = load_pack<4>(row + n);
#pragma unroll
    for (int i = 0; i < 4; i++) four.v[i] = to_f32(pack.v[i]);
    return four;
  }
#pragma unroll
  for (int i = 0; i < 3; i++)
    if (n + i < width) four.v[i] = to_f32(row[n + i]);
  return four;
}

// The same from any address.
__device__ __forceinline__ Pack<float, 4> load_four_single(const float* row, int64_t n, int64_t width) {
  Pack<float, 4> four = {};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (row != nullptr && n + i < width) four.v[i] = row[n + i];
  return four;
}

__device__ __forceinline__ Pack<float, 4> load_four_at(const float* row, int64_t n, int64_t width, bool aligned) {
  return aligned ? load_four(row, n, width) : load_four_single(row, n, width);
}

// Of a row of the pool, which is aligned.
__device__ __forceinline__ Pack<float, 4> load_four_of(int32_t dtype, const std::byte* row, int64_t n, int64_t width) {
  if (dtype == static_cast<int32_t>(DType::kBF16)) return load_four(reinterpret_cast<const BF16*>(row), n, width);
  if (dtype == static_cast<int32_t>(DType::kF16)) return load_four(reinterpret_cast<const F16*>(row), n, width);
  return load_four(reinterpret_cast<const float*>(row), n, width);
}

__device__ __forceinline__ void store_four_at(float* row, int64_t n, int64_t width, bool aligned, const Pack<float, 4>& four) {
  if (aligned && n + 4 <= width) {
    store_pack<4>(row + n, four);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (n + i < width) row[n + i] = four.v[i];
}

}  // namespace heddle
