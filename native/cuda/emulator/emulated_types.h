// CUDA's qualifiers, vector types and index variables.
#pragma once
#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define HEDDLE_EMULATED_VECTORS(type, name)          \
  struct alignas(2 * sizeof(type)) name##2 {         \
    type x, y;                                       \
  };                                                 \
  struct alignas(4 * sizeof(type)) name##4 {         \
    type x, y, z, w;                                 \
  };                                                 \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
HEDDLE_EMULATED_VECTORS(float, float)
HEDDLE_EMULATED_VECTORS(int, int)
HEDDLE_EMULATED_VECTORS(unsigned, uint)
HEDDLE_EMULATED_VECTORS(short, short)
HEDDLE_EMULATED_VECTORS(unsigned short, ushort)
HEDDLE_EMULATED_VECTORS(signed char, char)
HEDDLE_EMULATED_VECTORS(unsigned char, uchar)
#undef HEDDLE_EMULATED_VECTORS
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) longlong2 {
  long long x, y;
};
inline double2 make_double2(double x, double y) { return {x, y}; }
inline longlong2 make_longlong2(long long x, long long y) { return {x, y}; }

// Those of the thread that runs; set when the emulator goes from one to the next.
#define HEDDLE_EMULATED_INDEX extern __attribute__((visibility("hidden")))
HEDDLE_EMULATED_INDEX uint3 threadIdx;
HEDDLE_EMULATED_INDEX uint3 blockIdx;
HEDDLE_EMULATED_INDEX dim3 blockDim;
HEDDLE_EMULATED_INDEX dim3 gridDim;
#undef HEDDLE_EMULATED_INDEX
inline constexpr int warpSize = 32;
