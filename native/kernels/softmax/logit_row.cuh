// Maximum of a row of logits and the sum of exp(x - maximum), whole or from parts of the row.
#pragma once
#include "cuda/row_parts.cuh"

namespace heddle {

struct LogitSum {
  float maximum;  // a NaN is passed over; -infinity when no element is larger
  double sum;     // of exp(x - reference_of(maximum)); NaN where an element is NaN or +infinity

  // What elements are measured from: without a maximum all are -infinity or NaN, and add 0 or NaN.
  __device__ __forceinline__ float reference() const { return maximum == -HUGE_VALF ? 0.0f : maximum; }
};

struct LogitScratch {
  SharedPointer<float> maxima;
  SharedPointer<double> sums;
};
#define HEDDLE_LOGIT_SCRATCH(name)             \
  HEDDLE_SHARED(float, name##_maxima, 32);     \
  HEDDLE_SHARED(double, name##_sums, 32);      \
  const LogitScratch name = {name##_maxima, name##_sums}

// Of the team's part of a row; element `skipped` counts for the maximum but not for the sum.
template <class Team>
__device__ __forceinline__ LogitSum sum_logits(const RowValues<Team>& x, int64_t width, int64_t skipped, const LogitScratch& scratch) {
  float top = -HUGE_VALF;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = x.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (k < count) top = fmaxf(top, four.v[k]);
  });
  LogitSum result = {Team::max(top, scratch.maxima), 0};
  const float reference = result.reference();
  float sum = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = x.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++)
      if (k < count && i + k != skipped) sum += expf(four.v[k] - reference);
  });
  result.sum = Team::sum(static_cast<double>(sum), scratch.sums);
  return result;
}

// Of a row from those of its parts; a block's threads call it together.
template <class Team>
__device__ __forceinline__ LogitSum join_parts(const LogitSum* parts, int64_t count, const LogitScratch& scratch) {
  float top = -HUGE_VALF;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) top = fmaxf(top, parts[i].maximum);
  LogitSum result = {Team::max(top, scratch.maxima), 0};
  const float reference = result.reference();
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const LogitSum part = parts[i];
    // A part without a maximum has the sum 0 or NaN, which no factor may change: one from 0 to far below overflows.
    sum += part.maximum == -HUGE_VALF ? part.sum : part.sum * static_cast<double>(expf(part.maximum - reference));
  }
  result.sum = Team::sum(sum, scratch.sums);
  return result;
}

}  // namespace heddle
