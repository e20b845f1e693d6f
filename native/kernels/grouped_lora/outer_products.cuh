// Sums of outer products over an adapter's tokens, added to rows of gradients, for kernels of 128 threads.
//
// Each element has one owner, which takes the tokens one after the other from what the row held before: the same bits whoever else is
// in the batch, and whether the tokens come in one launch or in several.
#pragma once
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/gradient_sites.cuh"
#include "kernels/grouped_lora/tile_products.cuh"

namespace heddle {

inline constexpr int kOuterColumns = 64;  // of a block
inline constexpr int kOuterTokens = 16;

// Coefficients (row r of the p-th token: values[p * kPassRanks + r]) and the tokens' rows of z.
struct OuterProduct {
  const float* values;
  const int32_t* token;
  int32_t count;
  TokenRows z;
};

// Columns from .. from + kOuterColumns of at most 16 * M rows.
template <int M>
__device__ __forceinline__ void add_outer_products(const AdapterPool& pool, const GradientSpace& gradients, const FactorRows& rows,
                                                   const OuterProduct& what, int64_t from, SharedPointer<float> buffer) {
  constexpr int kRanks = 16 * M, kOwn = 2 * M, kStage = kOuterTokens * (kOuterColumns + kRanks), kWide = kOwn < 4 ? kOwn : 4;
  constexpr int kOuterStages = kTileFloats / kStage < 6 ? kTileFloats / kStage : 6;
  constexpr int kValuePacks = kOuterTokens * kRanks / 4, kValueShare = (kValuePacks + kProductThreads - 1) / kProductThreads;
  static_assert(kOuterStages >= 4, "enough of z is on its way");
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarp, lane = thread % kWarp;
  const int total = rows.total();
  const int64_t width = what.z.width, n = from + lane % 16 * 4;
  const int first = (warp * 2 + lane / 16) * kOwn;  // of this thread's rows
  const bool whole = what.z.whole(), aligned = is_aligned16(gradients.at);
  const auto row_of = [&](int r) -> float* {
    return r < total ? gradient_of(pool, gradients, r < rows.count ? rows.first + r : rows.extra) : nullptr;
  };

  float sum[kOwn][4];
#pragma unroll
  for (int r = 0; r < kOwn; r++) {
    const float* row = row_of(first + r);
    const Pack<float, 4> before = load_four_at(row, n, width, aligned);
#pragma unroll
    for (int e = 0; e < 4; e++) sum[r][e] = before.v[e];
  }

  // Every thread brings four columns of two tokens and its share of the coefficients.
  const int line = thread / 16, column = thread % 16 * 4;
  const int32_t stages = (what.count + kOuterTokens - 1) / kOuterTokens;
  int32_t next[2];
  const auto look_ahead = [&](int32_t stage) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int32_t p = stage * kOuterTokens + line + 8 * i;
      next[i] = p < what.count ? what.token[p] : -1;
    }
  };
  const auto bring = [&](int32_t stage) {
    const SharedPointer<float> to = buffer + stage % kOuterStages * kStage;
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const SharedPointer<float> at = to + (line + 8 * i) * kOuterColumns + column;
      const float* row = next[i] < 0 ? nullptr : what.z.at + next[i] * what.z.stride;
      if (whole) {
        const bool valid = row != nullptr && from + column < width;
        copy_async16(at, valid ? row + from + column : what.z.at, valid);
      } else {
        store_pack(at, load_four_single(row, from + column, width));
      }
    }
#pragma unroll
    for (int i = 0; i < kValueShare; i++) {
      const int pack = thread + i * kProductThreads, t = pack / (kRanks / 4), r = pack % (kRanks / 4) * 4;
      const int32_t p = stage * kOuterTokens + t;
      if (pack >= kValuePacks) continue;
      const bool valid = p < what.count;
      copy_async16(to + kOuterTokens * kOuterColumns + t * kRanks + r, what.values + static_cast<int64_t>(valid ? p : 0) * kPassRanks + r, valid);
    }
  };

  look_ahead(0);
  for (int32_t stage = 0; stage + 1 < kOuterStages; stage++) {
    if (stage < stages) bring(stage);
    copy_async_commit();
    look_ahead(stage + 1);
  }
  for (int32_t stage = 0; stage < stages; stage++) {
    copy_async_wait<kOuterStages - 2>();
    __syncthreads();
    if (stage + kOuterStages - 1 < stages) bring(stage + kOuterStages - 1);
    copy_async_commit();
    look_ahead(stage + kOuterStages);
    const SharedPointer<float> z = buffer + stage % kOuterStages * kStage + lane % 16 * 4;
    const SharedPointer<float> value = buffer + stage % kOuterStages * kStage + kOuterTokens * kOuterColumns + first;
    const int32_t left = what.count - stage * kOuterTokens, tokens = left < kOuterTokens ? left : kOuterTokens;
#pragma unroll 4
    for (int t = 0; t < tokens; t++) {
      const Pack<float, 4> b = load_pack<4>(z + t * kOuterColumns);
#pragma unroll
      for (int r = 0; r < kOwn; r += kWide) {
        const Pack<float, kWide> v = load_pack<kWide>(value + t * kRanks + r);
#pragma unroll
        for (int i = 0; i < kWide; i++)
#pragma unroll
          for (int e = 0; e < 4; e++) sum[r + i][e] = fmaf(v.v[i], b.v[e], sum[r + i][e]);
      }
    }
  }

#pragma unroll
  for (int r = 0; r < kOwn; r++) {
    float* row = row_of(first + r);
    if (row == nullptr) continue;
    store_four_at(row, n, width, aligned, {{sum[r][0], sum[r][1], sum[r][2], sum[r][3]}});
  }
  __syncthreads();
}

// At most kPassRanks rows.
__device__ __forceinline__ void add_outer_products(const AdapterPool& pool, const GradientSpace& gradients, const FactorRows& rows,
                                                   const OuterProduct& what, int64_t from, SharedPointer<float> buffer) {
  if (rows.total() <= 16) {
    add_outer_products<1>(pool, gradients, rows, what, from, buffer);
  } else if (rows.total() <= 32) {
    add_outer_products<2>(pool, gradients, rows, what, from, buffer);
  } else {
    add_outer_products<4>(pool, gradients, rows, what, from, buffer);
  }
}

}  // namespace heddle
