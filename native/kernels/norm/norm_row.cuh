// Statistics of a row, for norms and their gradients; every thread of the row's team gets them.
#pragma once
#include <cfloat>

#include "cuda/row_team.cuh"

namespace heddle {

struct NormScratch {
  SharedPointer<float> sums;
  SharedPointer<double> wide_sums;
};
#define HEDDLE_NORM_SCRATCH(name)            \
  HEDDLE_SHARED(float, name##_sums, 32);     \
  HEDDLE_SHARED(double, name##_wide, 32);    \
  const NormScratch name = {name##_sums, name##_wide}

// Sum over the row of term(value), in f64: for rows whose squares leave f32.
template <class Team, class Term>
__device__ __forceinline__ double wide_sum(const RowValues<Team>& x, int64_t width, const NormScratch& scratch, const Term& term) {
  double sum = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = x.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (k < count) sum += term(static_cast<double>(four.v[k]));
  });
  return Team::sum(sum, scratch.wide_sums);
}

// 1 / sqrt(mean of squares + eps) from the calling thread's share of the squares.
template <class Team>
__device__ __forceinline__ float inverse_rms(const RowValues<Team>& x, float squares, int64_t width, float eps, const NormScratch& scratch) {
  squares = Team::sum(squares, scratch.sums);
  if (squares <= FLT_MAX) return 1.0f / sqrtf(squares / static_cast<float>(width) + eps);
  const double wide = wide_sum(x, width, scratch, [](double v) { return v * v; });
  return static_cast<float>(1.0 / sqrt(wide / static_cast<double>(width) + static_cast<double>(eps)));
}

__device__ __forceinline__ float add_squares(const Four& four, float squares) {
#pragma unroll
  for (int k = 0; k < 4; k++) squares = fmaf(four.v[k], four.v[k], squares);
  return squares;
}

template <class Team>
__device__ __forceinline__ float inverse_rms_of(const RowValues<Team>& x, int64_t width, float eps, const NormScratch& scratch) {
  float squares = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) { squares = add_squares(x.at(slot, i, count), squares); });
  return inverse_rms(x, squares, width, eps, scratch);
}

struct WideStatistics {
  double mean, scale;  // scale: 1 / sqrt(variance + eps)
};

template <class Team>
__device__ __forceinline__ WideStatistics wide_statistics(const RowValues<Team>& x, int64_t width, float eps, const NormScratch& scratch) {
  const double terms = static_cast<double>(width);
  const double mean = wide_sum(x, width, scratch, [](double v) { return v; }) / terms;
  const double squares = wide_sum(x, width, scratch, [mean](double v) { return (v - mean) * (v - mean); });
  return {mean, 1.0 / sqrt(squares / terms + static_cast<double>(eps))};
}

// The normalised element is ((x - center) - shift) * scale; wide: squares leave f32 and wide_statistics must be used.
struct LayerStatistics {
  float center, shift, scale;
  bool wide;

  __device__ __forceinline__ float normal(float x) const { return ((x - center) - shift) * scale; }
};

template <class Team>
__device__ __forceinline__ LayerStatistics layer_statistics(const RowValues<Team>& x, int64_t width, float eps, const NormScratch& scratch) {
  const float terms = static_cast<float>(width);
  float sum = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = x.at(slot, i, count);
    sum += (four.v[0] + four.v[1]) + (four.v[2] + four.v[3]);
  });
  const float center = Team::sum(sum, scratch.sums) / terms;

  // The mean is rounded; what it misses comes out of the centred sum.
  float rest = 0, squares = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = x.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const float v = k < count ? four.v[k] - center : 0.0f;
      rest += v;
      squares = fmaf(v, v, squares);
    }
  });
  squares = Team::sum(squares, scratch.sums);
  const float shift = Team::sum(rest, scratch.sums) / terms;
  if (!(squares <= FLT_MAX)) return {0, 0, 0, true};
  const float variance = fmaxf(squares / terms - shift * shift, 0.0f);
  return {center, shift, 1.0f / sqrtf(variance + eps), false};
}

}  // namespace heddle
