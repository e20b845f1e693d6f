// Element types of tensors on the device and their conversions; a Pack is what one load or store moves.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>

#include "core/dtype.h"
#if defined(HEDDLE_CUDA_EMULATOR)
#include "core/float16.h"
#endif

namespace heddle {

inline constexpr int kWarp = 32;
inline constexpr unsigned kFullWarp = 0xffffffffu;

struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

__host__ __device__ inline float to_f32(float value) { return value; }

__device__ inline float to_f32(BF16 value) { return __uint_as_float(static_cast<uint32_t>(value.bits) << 16); }

__device__ inline float to_f32(F16 value) {
#if defined(HEDDLE_CUDA_EMULATOR)
  return f16_to_f32(value.bits);
#else
  float result;
  asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
  return result;
#endif
}

// To nearest, ties to even; a NaN stays a NaN.
template <class T>
__device__ T from_f32(float value);

template <>
__device__ inline float from_f32<float>(float value) {
  return value;
}

template <>
__device__ inline BF16 from_f32<BF16>(float value) {
#if defined(HEDDLE_CUDA_EMULATOR)
  return {f32_to_bf16(value)};
#else
  const uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
#endif
}

template <>
__device__ inline F16 from_f32<F16>(float value) {
#if defined(HEDDLE_CUDA_EMULATOR)
  return {f32_to_f16(value)};
#else
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return {bits};
#endif
}

// Two floats as the 32-bit operand of a 16-bit mma: `low` in the lower half.
template <class T>
__device__ inline uint32_t pack_pair(float low, float high) {
  return static_cast<uint32_t>(from_f32<T>(low).bits) | static_cast<uint32_t>(from_f32<T>(high).bits) << 16;
}

// N elements side by side. sizeof must be 4, 8 or 16 for one access; the address must be a multiple of it.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T v[N];
};

// Elements of T in 16 bytes.
template <class T>
inline constexpr int kPackWidth = 16 / static_cast<int>(sizeof(T));

// Calls body(float{}), body(BF16{}) or body(F16{}) on the host by a tensor's dtype; other dtypes give what body(float{}) gives,
// so check the dtype before.
template <class Body>
auto dispatch_float(DType dtype, const Body& body) {
  if (dtype == DType::kBF16) return body(BF16{});
  if (dtype == DType::kF16) return body(F16{});
  return body(float{});
}

}  // namespace heddle
