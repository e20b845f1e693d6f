// Device functions: barriers, shuffles, votes, atomics, bits and rounding.
#pragma once
#include <type_traits>

#include "cuda/emulator/emulated_types.h"
#include "cuda/emulator/warp_exchange.h"

#define HEDDLE_EMULATED_SITE int line = __builtin_LINE(), const char *file = __builtin_FILE()

inline void __syncthreads(HEDDLE_EMULATED_SITE) {
  heddle::emulator::barrier(heddle::emulator::BarrierKind::kPlain, 0, {file, line});
}
inline int __syncthreads_or(int predicate, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::barrier(heddle::emulator::BarrierKind::kOr, predicate != 0, {file, line}) != 0;
}
inline int __syncthreads_and(int predicate, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::barrier(heddle::emulator::BarrierKind::kAnd, predicate != 0, {file, line}) == static_cast<int>(blockDim.x);
}
inline int __syncthreads_count(int predicate, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::barrier(heddle::emulator::BarrierKind::kCount, predicate != 0, {file, line});
}
inline void __syncwarp(unsigned mask = 0xffffffffu, HEDDLE_EMULATED_SITE) {
  heddle::emulator::warp_exchange(heddle::emulator::WarpKind::kSync, mask, 0, 0, {file, line});
}

namespace heddle::emulator {

template <class T>
T shuffle(WarpKind kind, unsigned mask, T value, int argument, int width, Site site) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
  static_assert(std::is_arithmetic_v<T>, "a shuffle moves numbers");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = warp_exchange(kind, mask, bits, pack_shuffle(argument, width), site);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace heddle::emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::shuffle(heddle::emulator::WarpKind::kShuffle, mask, value, lane, width, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::shuffle(heddle::emulator::WarpKind::kShuffleUp, mask, value, static_cast<int>(delta), width, {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::shuffle(heddle::emulator::WarpKind::kShuffleDown, mask, value, static_cast<int>(delta), width, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int width = 32, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::shuffle(heddle::emulator::WarpKind::kShuffleXor, mask, value, distance, width, {file, line});
}

inline unsigned __ballot_sync(unsigned mask, int predicate, HEDDLE_EMULATED_SITE) {
  return static_cast<unsigned>(
      heddle::emulator::warp_exchange(heddle::emulator::WarpKind::kBallot, mask, predicate != 0, 0, {file, line}));
}
inline int __any_sync(unsigned mask, int predicate, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::warp_exchange(heddle::emulator::WarpKind::kBallot, mask, predicate != 0, 0, {file, line}) != 0;
}
inline int __all_sync(unsigned mask, int predicate, HEDDLE_EMULATED_SITE) {
  return heddle::emulator::warp_exchange(heddle::emulator::WarpKind::kBallot, mask, predicate != 0, 0, {file, line}) == mask;
}
template <class T>
unsigned __match_any_sync(unsigned mask, T value, HEDDLE_EMULATED_SITE) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a match compares 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  return static_cast<unsigned>(heddle::emulator::warp_exchange(heddle::emulator::WarpKind::kMatch, mask, bits, 0, {file, line}));
}
#undef HEDDLE_EMULATED_SITE

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) { heddle::emulator::yield(); }

// ---- atomics: threads take turns, so plain arithmetic is atomic ----

#define HEDDLE_EMULATED_ATOMIC(name, type, expression) \
  inline type name(type* at, type value) {             \
    heddle::emulator::check_atomic(at, sizeof(type));  \
    const type before = *at;                           \
    *at = (expression);                                \
    return before;                                     \
  }
#define HEDDLE_EMULATED_ATOMICS(type)                                     \
  HEDDLE_EMULATED_ATOMIC(atomicAdd, type, before + value)                 \
  HEDDLE_EMULATED_ATOMIC(atomicMax, type, before < value ? value : before) \
  HEDDLE_EMULATED_ATOMIC(atomicMin, type, value < before ? value : before) \
  HEDDLE_EMULATED_ATOMIC(atomicExch, type, value)                         \
  HEDDLE_EMULATED_ATOMIC(atomicOr, type, before | value)                  \
  HEDDLE_EMULATED_ATOMIC(atomicAnd, type, before & value)                 \
  HEDDLE_EMULATED_ATOMIC(atomicXor, type, before ^ value)                 \
  inline type atomicCAS(type* at, type expected, type value) {            \
    heddle::emulator::check_atomic(at, sizeof(type));                     \
    const type before = *at;                                              \
    if (before == expected) *at = value;                                  \
    return before;                                                        \
  }
HEDDLE_EMULATED_ATOMICS(int)
HEDDLE_EMULATED_ATOMICS(unsigned)
HEDDLE_EMULATED_ATOMICS(unsigned long long)
HEDDLE_EMULATED_ATOMIC(atomicSub, int, before - value)
HEDDLE_EMULATED_ATOMIC(atomicSub, unsigned, before - value)
#undef HEDDLE_EMULATED_ATOMICS
#undef HEDDLE_EMULATED_ATOMIC

// ---- bits ----

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __popcll(unsigned long long bits) { return __builtin_popcountll(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return bits == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(bits)); }
inline unsigned __brev(unsigned bits) {
  bits = (bits >> 1 & 0x55555555u) | (bits & 0x55555555u) << 1;
  bits = (bits >> 2 & 0x33333333u) | (bits & 0x33333333u) << 2;
  bits = (bits >> 4 & 0x0f0f0f0fu) | (bits & 0x0f0f0f0fu) << 4;
  return __builtin_bswap32(bits);
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

namespace heddle::emulator {

template <class To, class From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

}  // namespace heddle::emulator

inline unsigned __float_as_uint(float value) { return heddle::emulator::same_bits<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return heddle::emulator::same_bits<float>(bits); }
inline int __float_as_int(float value) { return heddle::emulator::same_bits<int>(value); }
inline float __int_as_float(int bits) { return heddle::emulator::same_bits<float>(bits); }
inline long long __double_as_longlong(double value) { return heddle::emulator::same_bits<long long>(value); }
inline double __longlong_as_double(long long bits) { return heddle::emulator::same_bits<double>(bits); }

// ---- arithmetic ----

inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __expf(float a) { return expf(a); }
inline float __logf(float a) { return logf(a); }
inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
inline int __float2int_rn(float a) { return static_cast<int>(nearbyintf(a)); }
inline int __float2int_rz(float a) { return static_cast<int>(a); }
inline unsigned __float2uint_rn(float a) { return static_cast<unsigned>(nearbyintf(a)); }
inline float __int2float_rn(int a) { return static_cast<float>(a); }
inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }

template <class T>
T __ldg(const T* from) {
  return *from;
}

#define HEDDLE_EMULATED_EXTREMES(type)                       \
  inline type min(type a, type b) { return b < a ? b : a; } \
  inline type max(type a, type b) { return a < b ? b : a; }
HEDDLE_EMULATED_EXTREMES(int)
HEDDLE_EMULATED_EXTREMES(unsigned)
HEDDLE_EMULATED_EXTREMES(long)
HEDDLE_EMULATED_EXTREMES(unsigned long)
HEDDLE_EMULATED_EXTREMES(long long)
HEDDLE_EMULATED_EXTREMES(unsigned long long)
#undef HEDDLE_EMULATED_EXTREMES
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
