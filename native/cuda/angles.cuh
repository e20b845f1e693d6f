// Sines and cosines of angles in f64, of any size, in registers alone: those of the CUDA library keep an array in local memory.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda/elements.cuh"

namespace heddle {
namespace angles {

// 64 zeros, then the binary digits of 2 / pi after the point: enough for the largest f64.
__device__ const uint64_t kTwoOverPi[19] = {
    0,
    0xa2f9836e4e441529ull, 0xfc2757d1f534ddc0ull, 0xdb6295993c439041ull,
    0xfe5163abdebbc561ull, 0xb7246e3a424dd2e0ull, 0x06492eea09d1921cull,
    0xfe1deb1cb129a73eull, 0xe88235f52ebb4484ull, 0xe99c7026b45f7e41ull,
    0x3991d639835339f4ull, 0x9c845f8bbdf9283bull, 0x1ff897ffde05980full,
    0xef2f118b5a0a6d1full, 0x6d367ecf27cb09b7ull, 0x4f463f669e5fea2dull,
    0x7527bac7ebe5f17bull, 0x3d0739f78a5292eaull, 0x6bfb5fb11f8d5d08ull,
};

// angle = quadrant pi / 2 + rest, |rest| <= pi / 4 up to rounding; only quadrant mod 4 has a meaning.
struct Reduced {
  int quadrant;
  double rest;
};

// Below 2^30 the multiple of pi / 2 is subtracted in two parts, with an error of about 2^-53.
__device__ inline Reduced reduce_near(double angle) {
  const double multiple = rint(angle * 0.63661977236758134308);
  const double first = fma(-multiple, 1.5707963267948965580, angle);
  return {static_cast<int>(multiple) & 3, fma(-multiple, 6.1232339957367658860e-17, first)};
}

// Payne and Hanek: angle = m 2^e with m below 2^53; of 2 / pi only the digits matter that m 2^e takes to the weights 2 and below.
__device__ inline Reduced reduce_far(double angle) {
  __extension__ typedef unsigned __int128 Wide;
  uint64_t bits;
  memcpy(&bits, &angle, 8);
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1075;
  const uint64_t m = (bits & 0xfffffffffffffull) | 0x10000000000000ull;
  const int start = exponent - 2 + 64, word = start / 64, shift = start % 64;
  const auto digits = [&](int at) { return shift == 0 ? kTwoOverPi[at] : kTwoOverPi[at] << shift | kTwoOverPi[at + 1] >> (64 - shift); };
  // Quarter turns with 62 digits after the point.
  const uint64_t turns = m * digits(word) + static_cast<uint64_t>(static_cast<Wide>(m) * digits(word + 1) >> 64);
  const int quadrant = static_cast<int>(turns >> 62) + static_cast<int>(turns >> 61 & 1);
  const double rest = static_cast<double>(static_cast<int64_t>(turns << 2)) * (1.5707963267948965580 * 5.42101086242752217004e-20);
  return bits >> 63 ? Reduced{-quadrant & 3, -rest} : Reduced{quadrant & 3, rest};
}

}  // namespace angles

// Both to within 3e-14, near their roots too in proportion to their own size; NaN for infinities.
__device__ inline void sine_cosine(double angle, double* sine, double* cosine) {
  if (!(fabs(angle) <= 1.7976931348623157e308)) {
    *sine = *cosine = angle - angle;
    return;
  }
  const angles::Reduced reduced = fabs(angle) < 1073741824.0 ? angles::reduce_near(angle) : angles::reduce_far(angle);
  const double r = reduced.rest, z = r * r;
  // Taylor: the first terms left out are below 2e-14 and 2e-15.
  double s = 1.0 / 6227020800;
  s = fma(s, z, -1.0 / 39916800);
  s = fma(s, z, 1.0 / 362880);
  s = fma(s, z, -1.0 / 5040);
  s = fma(s, z, 1.0 / 120);
  s = fma(s, z, -1.0 / 6);
  s = r * fma(s, z, 1.0);
  double c = -1.0 / 87178291200;
  c = fma(c, z, 1.0 / 479001600);
  c = fma(c, z, -1.0 / 3628800);
  c = fma(c, z, 1.0 / 40320);
  c = fma(c, z, -1.0 / 720);
  c = fma(c, z, 1.0 / 24);
  c = fma(c, z, -0.5);
  c = fma(c, z, 1.0);
  const bool swapped = reduced.quadrant & 1;
  const double first = swapped ? c : s, second = swapped ? s : c;
  *sine = reduced.quadrant & 2 ? -first : first;
  *cosine = (reduced.quadrant + 1) & 2 ? -second : second;
}

}  // namespace heddle
