// Attention in f32 by tiles of 64 rows against 64 keys, for blocks of 256 threads.
//
// A thread has rows `place.row + 16 i` of a tile, i < 4, and four keys or four channels of it; 16 neighbouring lanes share their
// rows. Tiles lie in shared memory as [64][kTileStride], 64 channels at a time. Every product is one chain over the channels and
// every weighted sum one chain over the keys, so a row's bits do not depend on the rows beside it.
#pragma once
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"

namespace heddle {

inline constexpr int kTile = 64;
inline constexpr int kSlice = 64;  // channels
inline constexpr int kAttentionThreads = 256;
inline constexpr int kTileStride = kSlice + 4;  // 16-byte accesses down a column meet different banks
inline constexpr int kAttentionTileFloats = kTile * kTileStride;
inline constexpr float kNothing = -HUGE_VALF;
// The weight of a key that a row does not see. A seen key's weight is never this zero, so that a NaN among the values can be told
// to stay with the rows that see it.
inline constexpr float kUnseen = -0.0f;

struct PlaceInTile {
  int row, column;
  __device__ PlaceInTile() : row(static_cast<int>(threadIdx.x) / 16), column(static_cast<int>(threadIdx.x) % 16) {}
};

// Channels of slice `slice` in a row of `width`.
__device__ __forceinline__ int slice_channels(int width, int slice) { return min(kSlice, width - slice * kSlice); }

__device__ __forceinline__ bool is_unseen(float weight) { return __float_as_uint(weight) == 0x80000000u; }
__device__ __forceinline__ bool is_finite(float value) { return (__float_as_uint(value) & 0x7f800000u) != 0x7f800000u; }

// Channels [first, first + kSlice) of rows [0, count), times `factor`; zeros elsewhere. `row(r)` is where row r starts; with
// `vectors` rows are aligned to 16 bytes and the width is a multiple of 4. All threads are done with the tile before, and it is
// complete after. Returns whether any element is infinite or NaN.
template <class RowStart>
__device__ __forceinline__ bool load_tile(SharedPointer<float> tile, const RowStart& row, int count, int width, int first, bool vectors,
                                          float factor = 1.0f) {
  __syncthreads();
  bool finite = true;
#pragma unroll 2
  for (int step = 0; step < kTile * kSlice / 4 / kAttentionThreads; step++) {
    const int r = static_cast<int>(threadIdx.x) / 16 + step * 16, channel = static_cast<int>(threadIdx.x) % 16 * 4;
    Pack<float, 4> part = {};
    if (r < count && first + channel < width) {
      const float* from = row(r) + first + channel;
      if (vectors) {
        part = load_pack<4>(from);
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++)
          if (first + channel + e < width) part.v[e] = from[e];
      }
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
      part.v[e] *= factor;
      finite = finite && is_finite(part.v[e]);
    }
    store_pack(tile + r * kTileStride + channel, part);
  }
  return __syncthreads_or(finite ? 0 : 1) != 0;
}

// sums[i][j] += rows[row + 16 i] . keys[column + 16 j], over the first `channels`; what lies behind them up to a multiple of 4 is zero.
__device__ __forceinline__ void add_products(float (&sums)[4][4], SharedPointer<float> rows, SharedPointer<float> keys, int channels,
                                             PlaceInTile place) {
#pragma unroll 1
  for (int channel = 0; channel < channels; channel += 4) {
    Pack<float, 4> a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      a[i] = load_pack<4>(rows + (place.row + 16 * i) * kTileStride + channel);
      b[i] = load_pack<4>(keys + (place.column + 16 * i) * kTileStride + channel);
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = fmaf(a[i].v[e], b[j].v[e], sums[i][j]);
  }
}

// sums[i][c] += sum over the first `keys` of weights[row + 16 i][key] values[key][4 column + c]. `careful`: some value is not finite, so keys
// that a row does not see must be left out; otherwise they add an exact zero, as do those up to a multiple of 4.
__device__ __forceinline__ void add_weighted(float (&sums)[4][4], SharedPointer<float> weights, SharedPointer<float> values, int keys,
                                             PlaceInTile place, bool careful) {
  if (careful) {
    for (int key = 0; key < keys; key++) {
      const Pack<float, 4> value = load_pack<4>(values + key * kTileStride + 4 * place.column);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float weight = weights[(place.row + 16 * i) * kTileStride + key];
        if (is_unseen(weight)) continue;
#pragma unroll
        for (int c = 0; c < 4; c++) sums[i][c] = fmaf(weight, value.v[c], sums[i][c]);
      }
    }
    return;
  }
#pragma unroll 1
  for (int key = 0; key < keys; key += 4) {
    Pack<float, 4> weight[4];
#pragma unroll
    for (int i = 0; i < 4; i++) weight[i] = load_pack<4>(weights + (place.row + 16 * i) * kTileStride + key);
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const Pack<float, 4> value = load_pack<4>(values + (key + e) * kTileStride + 4 * place.column);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[i][c] = fmaf(weight[i].v[e], value.v[c], sums[i][c]);
    }
  }
}

__device__ __forceinline__ float cap_score(float product, float scale, float soft_cap) {
  const float score = product * scale;
  return soft_cap > 0 ? soft_cap * tanhf(score * (1.0f / soft_cap)) : score;
}

// The softmax of a thread's four rows over the keys so far, and `Slices` times 64 channels of the weighted sums.
template <int Slices>
struct OnlineRows {
  float maximum[4], total[4];  // `total` is of this thread's keys only until finish()
  float sums[Slices][4][4];

  __device__ OnlineRows() {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      maximum[i] = kNothing;
      total[i] = 0;
#pragma unroll
      for (int s = 0; s < Slices; s++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[s][i][c] = 0;
    }
  }

  // Scores become weights; everything so far is brought to the new maximum. `seen(i, j)`: row i sees key j.
  template <class Seen>
  __device__ __forceinline__ void weigh(float (&scores)[4][4], const Seen& seen) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float top = kNothing;
#pragma unroll
      for (int j = 0; j < 4; j++)
        if (seen(i, j)) top = fmaxf(top, scores[i][j]);
      const float peak = fmaxf(maximum[i], warp_max<16>(top));
      const float base = peak == kNothing ? 0.0f : peak;  // -inf minus itself would be NaN
      const float factor = peak == maximum[i] ? 1.0f : expf(maximum[i] - base);
      maximum[i] = peak;
      total[i] *= factor;
#pragma unroll
      for (int s = 0; s < Slices; s++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[s][i][c] *= factor;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        scores[i][j] = seen(i, j) ? expf(scores[i][j] - base) : kUnseen;
        total[i] += scores[i][j];
      }
    }
  }

  __device__ __forceinline__ void finish() {
#pragma unroll
    for (int i = 0; i < 4; i++) total[i] = warp_sum<16>(total[i]);
  }
};

// values[c] to channel first + c of a row that has `width`.
__device__ __forceinline__ void store_channels(float* row, int first, int width, bool vectors, const float (&values)[4], float divisor) {
  Pack<float, 4> pack;
#pragma unroll
  for (int c = 0; c < 4; c++) pack.v[c] = divisor == 1.0f ? values[c] : values[c] / divisor;
  if (vectors && first < width) {
    store_pack(row + first, pack);
    return;
  }
#pragma unroll
  for (int c = 0; c < 4; c++)
    if (first + c < width) row[first + c] = pack.v[c];
}

}  // namespace heddle
