// Compiles the including file once per instruction-set target. A kernel file starts with
//
//   #include <...>                                             all ordinary headers, first
//   #define HEDDLE_TARGET_FILE "kernels/norm/norm_cpu.cc"
//   #include "cpu/foreach_target.h"
//   #if defined(HEDDLE_TARGET)
//   namespace heddle::HEDDLE_TARGET { ... code that uses cpu/simd.h's Vector ... }
//   #endif
//   #if defined(HEDDLE_ONCE)
//   namespace heddle { the functions of op_table.h, calling HEDDLE_DISPATCH(name)(...) }
//   #endif
//
// Each pass re-includes HEDDLE_TARGET_FILE with HEDDLE_TARGET naming a namespace, under that target's code generation.
// After the passes HEDDLE_TARGET is undefined and HEDDLE_ONCE is defined.
#ifndef HEDDLE_TARGET_PASS
#define HEDDLE_TARGET_PASS

#define HEDDLE_TARGET baseline
#include "cpu/simd.h"
#include HEDDLE_TARGET_FILE
#undef HEDDLE_TARGET

#if defined(__x86_64__)

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,popcnt")
#define HEDDLE_TARGET avx2
#define HEDDLE_TARGET_AVX2 1
#include "cpu/simd.h"
#include HEDDLE_TARGET_FILE
#undef HEDDLE_TARGET_AVX2
#undef HEDDLE_TARGET
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi,bmi2,popcnt,avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")
#define HEDDLE_TARGET avx512
#define HEDDLE_TARGET_AVX512 1
#include "cpu/simd.h"
#include HEDDLE_TARGET_FILE
#undef HEDDLE_TARGET

#pragma GCC push_options
#pragma GCC target("avx512bf16")
#define HEDDLE_TARGET avx512_bf16
#define HEDDLE_TARGET_BF16_DOT 1
#include "cpu/simd.h"
#include HEDDLE_TARGET_FILE
#undef HEDDLE_TARGET_BF16_DOT
#undef HEDDLE_TARGET_AVX512
#undef HEDDLE_TARGET
#pragma GCC pop_options
#pragma GCC pop_options

#endif  // x86-64

#define HEDDLE_ONCE 1
#endif  // HEDDLE_TARGET_PASS
