// An f32 value as a sum of 16-bit values.
#pragma once
#include "cuda/vocabulary.cuh"

namespace heddle {

__device__ inline bool is_finite(float value) { return (__float_as_uint(value) & 0x7fffffffu) < 0x7f800000u; }

// To nearest, but a finite value stays finite: what rounding took away comes back in the next term.
__device__ inline BF16 nearest_finite(BF16, float value) {
  BF16 nearest = from_f32<BF16>(value);
  if ((nearest.bits & 0x7fffu) == 0x7f80u && is_finite(value)) nearest.bits--;
  return nearest;
}
__device__ inline F16 nearest_finite(F16, float value) {
  F16 nearest = from_f32<F16>(value);
  if ((nearest.bits & 0x7fffu) == 0x7c00u && is_finite(value)) nearest.bits--;
  return nearest;
}

// The first term of `value`, which becomes what the next terms have to add. Infinities and NaNs are in the first term alone.
template <class T>
__device__ T take_term(float& value) {
  const T term = nearest_finite(T{}, value);
  value = is_finite(value) ? value - to_f32(term) : 0.0f;
  return term;
}

// Eight elements from `from` on, zeros beyond the first `valid`.
__device__ inline Pack<float, 8> load_eight(const float* from, int64_t valid, bool vector) {
  Pack<float, 8> eight;
  if (vector && valid >= 8) {
    const Pack<float, 4> low = load_pack<4>(from), high = load_pack<4>(from + 4);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      eight.v[i] = low.v[i];
      eight.v[i + 4] = high.v[i];
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++) eight.v[i] = i < valid ? from[i] : 0.0f;
  }
  return eight;
}

// The next terms of eight values, two to a word.
template <class T>
__device__ inline Pack<uint32_t, 4> take_terms(Pack<float, 8>& eight) {
  Pack<uint32_t, 4> words;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const uint32_t low = take_term<T>(eight.v[2 * i]).bits, high = take_term<T>(eight.v[2 * i + 1]).bits;
    words.v[i] = low | high << 16;
  }
  return words;
}

}  // namespace heddle
