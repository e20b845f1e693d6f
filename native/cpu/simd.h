// `Vector`: kLanes floats of the target being compiled (cpu/foreach_target.h). No include guard: one copy per target.
//
// Everything a kernel needs to be written once for all targets: load, store, arithmetic, fma, the 16-bit float loads,
// exp, reductions in a fixed order. kLanes divides 16, so a panel of 16 outputs is kPanelVectors vectors everywhere.
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/float16.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

#define HEDDLE_INLINE inline __attribute__((always_inline))

#if defined(HEDDLE_TARGET_AVX512)

inline constexpr int kLanes = 16;
struct Vector {
  __m512 v;
};
HEDDLE_INLINE Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
HEDDLE_INLINE Vector load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
}
HEDDLE_INLINE Vector load_f16(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))}; }
// kLanes bf16 pairs, the first or the second of each.
HEDDLE_INLINE Vector load_bf16_even(const uint16_t* p) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))}; }
HEDDLE_INLINE Vector load_bf16_odd(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}
HEDDLE_INLINE void store(float* p, Vector a) { _mm512_storeu_ps(p, a.v); }
// The first `count` (0..kLanes) elements only; missing lanes read as zero.
HEDDLE_INLINE Vector load_partial(const float* p, int count) { return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1u), p)}; }
HEDDLE_INLINE void store_partial(float* p, Vector a, int count) { _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), a.v); }
HEDDLE_INLINE Vector broadcast(float x) { return {_mm512_set1_ps(x)}; }
HEDDLE_INLINE Vector zero() { return {_mm512_setzero_ps()}; }
HEDDLE_INLINE Vector add(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector sub(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector mul(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector div(Vector a, Vector b) { return {_mm512_div_ps(a.v, b.v)}; }
// max and min return b when either is NaN.
HEDDLE_INLINE Vector max(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector min(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector fma(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }  // a * b + c
HEDDLE_INLINE Vector round_nearest(Vector a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// a * 2^n for integral n; saturates to 0 and infinity.
HEDDLE_INLINE Vector scale_by_power(Vector a, Vector n) { return {_mm512_scalef_ps(a.v, n.v)}; }
HEDDLE_INLINE Vector abs(Vector a) { return {_mm512_abs_ps(a.v)}; }
// The magnitude of a with the sign of b.
HEDDLE_INLINE Vector copy_sign(Vector a, Vector b) {
  const __m512 sign = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(sign, a.v), _mm512_and_ps(sign, b.v))};
}
// a < b ? yes : no, per lane; a NaN in a or b gives no.
HEDDLE_INLINE Vector select_less(Vector a, Vector b, Vector yes, Vector no) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
}

#elif defined(HEDDLE_TARGET_AVX2)

inline constexpr int kLanes = 8;
struct Vector {
  __m256 v;
};
HEDDLE_INLINE __m256i partial_mask(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
HEDDLE_INLINE Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
HEDDLE_INLINE Vector load_bf16(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16))};
}
HEDDLE_INLINE Vector load_f16(const uint16_t* p) { return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))}; }
HEDDLE_INLINE Vector load_bf16_even(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), 16))};
}
HEDDLE_INLINE Vector load_bf16_odd(const uint16_t* p) {
  const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return {_mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))};
}
HEDDLE_INLINE void store(float* p, Vector a) { _mm256_storeu_ps(p, a.v); }
HEDDLE_INLINE Vector load_partial(const float* p, int count) { return {_mm256_maskload_ps(p, partial_mask(count))}; }
HEDDLE_INLINE void store_partial(float* p, Vector a, int count) { _mm256_maskstore_ps(p, partial_mask(count), a.v); }
HEDDLE_INLINE Vector broadcast(float x) { return {_mm256_set1_ps(x)}; }
HEDDLE_INLINE Vector zero() { return {_mm256_setzero_ps()}; }
HEDDLE_INLINE Vector add(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector sub(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector mul(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector div(Vector a, Vector b) { return {_mm256_div_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector max(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector min(Vector a, Vector b) { return {_mm256_min_ps(a.v, b.v)}; }
HEDDLE_INLINE Vector fma(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
HEDDLE_INLINE Vector round_nearest(Vector a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// Two steps of 2^(n/2), so that the exponent field never overflows on the way; |n| <= 252.
HEDDLE_INLINE Vector scale_by_power(Vector a, Vector n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const __m256 first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
  const __m256 second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23));
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, first), second)};
}
HEDDLE_INLINE Vector abs(Vector a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
HEDDLE_INLINE Vector copy_sign(Vector a, Vector b) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(sign, a.v), _mm256_and_ps(sign, b.v))};
}
HEDDLE_INLINE Vector select_less(Vector a, Vector b, Vector yes, Vector no) {
  return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
}

#elif defined(__aarch64__)

inline constexpr int kLanes = 4;
struct Vector {
  float32x4_t v;
};
HEDDLE_INLINE Vector load(const float* p) { return {vld1q_f32(p)}; }
HEDDLE_INLINE Vector load_bf16(const uint16_t* p) { return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))}; }
HEDDLE_INLINE Vector load_f16(const uint16_t* p) { return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))}; }
HEDDLE_INLINE Vector load_bf16_even(const uint16_t* p) { return {vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(p)), 16))}; }
HEDDLE_INLINE Vector load_bf16_odd(const uint16_t* p) {
  return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u16(vld1q_u16(p)), vdupq_n_u32(0xffff0000u)))};
}
HEDDLE_INLINE void store(float* p, Vector a) { vst1q_f32(p, a.v); }
HEDDLE_INLINE Vector load_partial(const float* p, int count) {
  float lanes[4] = {0, 0, 0, 0};
  for (int i = 0; i < count; i++) lanes[i] = p[i];
  return {vld1q_f32(lanes)};
}
HEDDLE_INLINE void store_partial(float* p, Vector a, int count) {
  float lanes[4];
  vst1q_f32(lanes, a.v);
  for (int i = 0; i < count; i++) p[i] = lanes[i];
}
HEDDLE_INLINE Vector broadcast(float x) { return {vdupq_n_f32(x)}; }
HEDDLE_INLINE Vector zero() { return {vdupq_n_f32(0)}; }
HEDDLE_INLINE Vector add(Vector a, Vector b) { return {vaddq_f32(a.v, b.v)}; }
HEDDLE_INLINE Vector sub(Vector a, Vector b) { return {vsubq_f32(a.v, b.v)}; }
HEDDLE_INLINE Vector mul(Vector a, Vector b) { return {vmulq_f32(a.v, b.v)}; }
HEDDLE_INLINE Vector div(Vector a, Vector b) { return {vdivq_f32(a.v, b.v)}; }
// Not vmaxq and vminq: they would return the NaN.
HEDDLE_INLINE Vector max(Vector a, Vector b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
HEDDLE_INLINE Vector min(Vector a, Vector b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
HEDDLE_INLINE Vector fma(Vector a, Vector b, Vector c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
HEDDLE_INLINE Vector round_nearest(Vector a) { return {vrndnq_f32(a.v)}; }
HEDDLE_INLINE Vector scale_by_power(Vector a, Vector n) {
  const int32x4_t whole = vcvtq_s32_f32(n.v);
  const int32x4_t half = vshrq_n_s32(whole, 1);
  const int32x4_t bias = vdupq_n_s32(127);
  const float32x4_t first = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
  const float32x4_t second = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vsubq_s32(whole, half), bias), 23));
  return {vmulq_f32(vmulq_f32(a.v, first), second)};
}
HEDDLE_INLINE Vector abs(Vector a) { return {vabsq_f32(a.v)}; }
HEDDLE_INLINE Vector copy_sign(Vector a, Vector b) { return {vbslq_f32(vdupq_n_u32(0x80000000u), b.v, a.v)}; }
HEDDLE_INLINE Vector select_less(Vector a, Vector b, Vector yes, Vector no) { return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)}; }

#else  // x86-64 baseline (SSE2) and anything else: four floats in the compilers' own vector type

inline constexpr int kLanes = 4;
typedef float FourFloats __attribute__((vector_size(16)));
typedef uint32_t FourWords __attribute__((vector_size(16)));
struct Vector {
  FourFloats v;
};
#define HEDDLE_LANES(expression)               \
  do {                                         \
    Vector result;                             \
    for (int i = 0; i < 4; i++) result.v[i] = (expression); \
    return result;                             \
  } while (0)
HEDDLE_INLINE FourWords load_words(const uint16_t* p) {  // four halves, widened
  uint16_t halves __attribute__((vector_size(8)));
  std::memcpy(&halves, p, sizeof halves);
  return __builtin_convertvector(halves, FourWords);
}
HEDDLE_INLINE FourWords load_pairs(const uint16_t* p) {
  FourWords words;
  std::memcpy(&words, p, sizeof words);
  return words;
}
HEDDLE_INLINE Vector load(const float* p) {
  Vector a;
  std::memcpy(&a.v, p, sizeof a.v);
  return a;
}
HEDDLE_INLINE Vector load_bf16(const uint16_t* p) { return {(FourFloats)(load_words(p) << 16)}; }
HEDDLE_INLINE Vector load_bf16_even(const uint16_t* p) { return {(FourFloats)(load_pairs(p) << 16)}; }
HEDDLE_INLINE Vector load_bf16_odd(const uint16_t* p) { return {(FourFloats)(load_pairs(p) & 0xffff0000u)}; }
// Exponent and mantissa fall into place after one shift; 2^112 makes up for the narrower exponent, also of subnormals.
HEDDLE_INLINE Vector load_f16(const uint16_t* p) {
  const FourWords half = load_words(p);
  const FourWords magnitude = (half & 0x7fffu) << 13;
  const FourWords special = (FourWords)(magnitude >= 0x0f800000u) & 0x7f800000u;
  const FourFloats scaled = (FourFloats)magnitude * 5192296858534827628530496329220096.0f;
  return {(FourFloats)((FourWords)scaled | special | (half & 0x8000u) << 16)};
}
HEDDLE_INLINE void store(float* p, Vector a) { std::memcpy(p, &a.v, sizeof a.v); }
HEDDLE_INLINE Vector load_partial(const float* p, int count) { HEDDLE_LANES(i < count ? p[i] : 0.0f); }
HEDDLE_INLINE void store_partial(float* p, Vector a, int count) {
  for (int i = 0; i < count; i++) p[i] = a.v[i];
}
HEDDLE_INLINE Vector broadcast(float x) { return {FourFloats{x, x, x, x}}; }
HEDDLE_INLINE Vector zero() { return {FourFloats{0, 0, 0, 0}}; }
HEDDLE_INLINE Vector add(Vector a, Vector b) { return {a.v + b.v}; }
HEDDLE_INLINE Vector sub(Vector a, Vector b) { return {a.v - b.v}; }
HEDDLE_INLINE Vector mul(Vector a, Vector b) { return {a.v * b.v}; }
HEDDLE_INLINE Vector div(Vector a, Vector b) { return {a.v / b.v}; }
HEDDLE_INLINE Vector max(Vector a, Vector b) { return {a.v > b.v ? a.v : b.v}; }
HEDDLE_INLINE Vector min(Vector a, Vector b) { return {a.v < b.v ? a.v : b.v}; }
HEDDLE_INLINE Vector fma(Vector a, Vector b, Vector c) { return {a.v * b.v + c.v}; }
HEDDLE_INLINE Vector round_nearest(Vector a) { HEDDLE_LANES(std::nearbyint(a.v[i])); }
HEDDLE_INLINE Vector scale_by_power(Vector a, Vector n) { HEDDLE_LANES(n.v[i] == n.v[i] ? std::ldexp(a.v[i], static_cast<int>(n.v[i])) : n.v[i]); }
HEDDLE_INLINE Vector abs(Vector a) { HEDDLE_LANES(std::fabs(a.v[i])); }
HEDDLE_INLINE Vector copy_sign(Vector a, Vector b) { HEDDLE_LANES(std::copysign(a.v[i], b.v[i])); }
HEDDLE_INLINE Vector select_less(Vector a, Vector b, Vector yes, Vector no) { HEDDLE_LANES(a.v[i] < b.v[i] ? yes.v[i] : no.v[i]); }
#undef HEDDLE_LANES

#endif

inline constexpr int kPanel = 16;                      // outputs side by side in packed weights
inline constexpr int kPanelVectors = kPanel / kLanes;  // vectors per panel

// Sum and maximum of the lanes, always in the same tree order.
HEDDLE_INLINE float reduce_add(Vector a) {
  float lanes[kLanes];
  store(lanes, a);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
  return lanes[0];
}
HEDDLE_INLINE float reduce_max(Vector a) {
  float lanes[kLanes];
  store(lanes, a);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
  return lanes[0];
}

// e^x, relative error below 2e-7 on the range where the result is a normal f32; underflows to 0, overflows to infinity.
HEDDLE_INLINE Vector exp(Vector x) {
  // Beyond these bounds the result is 0 or infinity. With x as the second operand a NaN passes through both.
  const Vector clamped = min(broadcast(89.0f), max(broadcast(-104.0f), x));
  const Vector n = round_nearest(mul(clamped, broadcast(1.44269504088896341f)));
  // Cody-Waite: ln 2 in two parts, so that r = x - n ln 2 keeps full precision.
  Vector r = fma(n, broadcast(-0.693145751953125f), clamped);
  r = fma(n, broadcast(-1.42860682030941723212e-6f), r);
  Vector p = broadcast(1.9875691500e-4f);
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(5.0000001201e-1f));
  p = fma(mul(r, r), p, add(r, broadcast(1.0f)));
  return scale_by_power(p, n);
}

// Relative error below 3e-7; +-1 for large x, a NaN stays a NaN.
HEDDLE_INLINE Vector tanh(Vector x) {
  const Vector magnitude = abs(x);
  // Small x: odd polynomial, because 1 - 2 / (e^2x + 1) would cancel.
  const Vector z = mul(x, x);
  Vector p = broadcast(-0.005717036550959043f);
  p = fma(p, z, broadcast(0.02065057899371604f));
  p = fma(p, z, broadcast(-0.05374349525803385f));
  p = fma(p, z, broadcast(0.13331491248469962f));
  p = fma(p, z, broadcast(-0.3333328392358884f));
  const Vector near = fma(mul(magnitude, z), p, magnitude);
  const Vector far = sub(broadcast(1.0f), div(broadcast(2.0f), add(exp(add(magnitude, magnitude)), broadcast(1.0f))));
  return copy_sign(select_less(magnitude, broadcast(0.625f), near, far), x);
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
