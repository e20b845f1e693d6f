// f32 numbers as sums of bf16 numbers, so that tensor cores multiply them without losing bits.
//
// Cutting off a number's lower bits leaves eight of its 24; the rest, and the rest of the rest, are exact bf16 numbers too:
// f32 has three such terms, f16 two, bf16 is one.
#pragma once
#include "cuda/vocabulary.cuh"

namespace heddle {

// What cutting `value` to its upper half leaves; zero for an infinity, NaN for a NaN.
__device__ __forceinline__ float cut_rest(float value) {
  const float cut = __uint_as_float(__float_as_uint(value) & 0xffff0000u);
  return value == cut ? 0.0f : value - cut;
}

// The upper halves of two floats as an operand of mma, `low` in the lower half.
__device__ __forceinline__ uint32_t cut_pair(float low, float high) { return __float_as_uint(low) >> 16 | (__float_as_uint(high) & 0xffff0000u); }

// Two neighbouring numbers, term by term, the largest first.
template <int kTerms>
__device__ __forceinline__ void split_pair(uint32_t (&to)[kTerms], float low, float high) {
#pragma unroll
  for (int term = 0; term < kTerms; term++) {
    to[term] = cut_pair(low, high);
    if (term + 1 < kTerms) low = cut_rest(low), high = cut_rest(high);
  }
}

inline constexpr int kFloatTerms = 3;

// The same for elements of an adapter's rows.
template <class Row>
inline constexpr int kRowTerms = sizeof(Row) == 4 ? kFloatTerms : 2;
template <>
inline constexpr int kRowTerms<BF16> = 1;

template <class Row>
__device__ __forceinline__ void split_row_pair(uint32_t (&to)[kRowTerms<Row>], Row low, Row high) {
  split_pair(to, to_f32(low), to_f32(high));
}
template <>
__device__ __forceinline__ void split_row_pair<BF16>(uint32_t (&to)[1], BF16 low, BF16 high) {
  to[0] = static_cast<uint32_t>(low.bits) | static_cast<uint32_t>(high.bits) << 16;
}

// Whether the product of two terms is worth an mma: that of two third terms is below the last bit of the largest.
constexpr bool is_kept(int row_term, int float_term) { return row_term + float_term <= 3; }

}  // namespace heddle
