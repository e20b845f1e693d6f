// What sample does for one row, and the scratch of one worker.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/sampling/candidates.h"

namespace heddle {

inline constexpr int64_t kMaximaBlock = 64;  // logits per entry of SampleScratch::maxima
inline constexpr int64_t kMassBlock = 2048;  // logits per entry of SampleScratch::masses

struct SampleRow {
  const float* logits;
  int64_t vocabulary;
  const float* controls;
  const int32_t* integers;
  const int32_t* history;
  int32_t prompt_length, total_length;
  const int32_t* bias_tokens;
  const float* bias_values;
  int64_t biases;
  int32_t* token;
  float* logprob;
  int32_t* top_tokens;
  float* top_logprobs;
  int64_t tops;  // columns of top_tokens
};

struct SampleScratch {
  float* logits;  // adjusted copy
  Candidates candidates;
  float* maxima;
  float* sorted_maxima;
  double* masses;

  // Laid out from `base`; with base == nullptr only the size counts.
  static size_t place(std::byte* base, int64_t vocabulary, SampleScratch* out) {
    size_t used = 0;
    const auto take = [&](int64_t count, size_t bytes) {
      std::byte* start = base == nullptr ? nullptr : base + used;
      used += (static_cast<size_t>(count) * bytes + 63) / 64 * 64;
      return static_cast<void*>(start);
    };
    const int64_t blocks = (vocabulary + kMaximaBlock - 1) / kMaximaBlock;
    SampleScratch scratch;
    scratch.logits = static_cast<float*>(take(vocabulary, sizeof(float)));
    scratch.candidates.logit = static_cast<float*>(take(vocabulary, sizeof(float)));
    scratch.candidates.weight = static_cast<float*>(take(vocabulary, sizeof(float)));
    scratch.candidates.token = static_cast<int32_t*>(take(vocabulary, sizeof(int32_t)));
    scratch.candidates.order = static_cast<int32_t*>(take(vocabulary, sizeof(int32_t)));
    scratch.maxima = static_cast<float*>(take(blocks, sizeof(float)));
    scratch.sorted_maxima = static_cast<float*>(take(blocks, sizeof(float)));
    scratch.masses = static_cast<double*>(take((vocabulary + kMassBlock - 1) / kMassBlock, sizeof(double)));
    if (out != nullptr) *out = scratch;
    return used;
  }
};

}  // namespace heddle
