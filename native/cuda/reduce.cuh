// Sums and maxima over neighbouring lanes, a warp or a block, always in the same order: the same bits in every run.
#pragma once
#include "cuda/shared.cuh"

namespace heddle {

// Over groups of Width lanes (a power of two); every lane of the group gets the result. All lanes of the warp take part.
template <int Width = kWarp, class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(kFullWarp, value, distance);
  return value;
}
// A NaN is kept only where it is met first: mask NaNs before where they matter.
template <int Width = kWarp, class T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2) {
    const T other = __shfl_xor_sync(kFullWarp, value, distance);
    value = other > value ? other : value;
  }
  return value;
}

// Over the block, whose size is a multiple of 32; every thread gets the result. `scratch` holds 32 elements and may be used again
// right after.
template <class T>
__device__ __forceinline__ T block_sum(T value, SharedPointer<T> scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_sum(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  T total = lane < warps ? static_cast<T>(scratch[lane]) : T(0);
  total = warp_sum(total);
  __syncthreads();
  return total;
}
template <class T>
__device__ __forceinline__ T block_max(T value, SharedPointer<T> scratch) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warp_max(value);
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  T best = lane < warps ? static_cast<T>(scratch[lane]) : static_cast<T>(scratch[0]);
  best = warp_max(best);
  __syncthreads();
  return best;
}

}  // namespace heddle
