#include "generated/elementwise_ops.h"

#include "cuda/angles.cuh"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/elementwise/activations.cuh"
#include "kernels/elementwise/elementwise_checks.h"
#include "kernels/elementwise/map_rows.cuh"

namespace heddle {
namespace {

struct Mapped {
  static constexpr int kInputs = 1, kOutputs = 1;
  MapFunction function;

  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[1][N], float (&out)[1][N]) const {
    const auto each = [&](const auto& of) {
#pragma unroll
      for (int i = 0; i < N; i++) out[0][i] = of(in[0][i]);
    };
    switch (function) {
      case MapFunction::kExp:
        return each([](float v) { return expf(v); });
      case MapFunction::kLog:
        return each([](float v) { return logf(v); });
      case MapFunction::kSqrt:
        return each([](float v) { return sqrtf(v); });
      case MapFunction::kRsqrt:
        return each([](float v) { return 1.0f / sqrtf(v); });
      case MapFunction::kReciprocal:
        return each([](float v) { return 1.0f / v; });
      case MapFunction::kSquare:
        return each([](float v) { return v * v; });
      case MapFunction::kNeg:
        return each([](float v) { return -v; });
      case MapFunction::kAbs:
        return each([](float v) { return fabsf(v); });
      case MapFunction::kSign:
        return each([](float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : v; });
      case MapFunction::kStep:
        return each([](float v) { return v > 0 ? 1.0f : v <= 0 ? 0.0f : v; });
      case MapFunction::kComplement:
        return each([](float v) { return 1.0f - v; });
      case MapFunction::kNormalCdf:
        return each([](float v) { return activations::normal_cdf(v, activations::NormalTail::of(v)); });
      case MapFunction::kSin:
      case MapFunction::kCos:
        return;  // Waves
    }
  }
};

// Apart from the others: f64 needs registers that they do not.
struct Waves {
  static constexpr int kInputs = 1, kOutputs = 1;
  bool cosine;

  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[1][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) {
      double sine, other;
      sine_cosine(in[0][i], &sine, &other);
      out[0][i] = static_cast<float>(cosine ? other : sine);
    }
  }
};

}  // namespace

Status map_cuda(const MapArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_pair("map", "x", args.x, args.y));
  const bool cosine = args.function == MapFunction::kCos;
  if (cosine || args.function == MapFunction::kSin) return map_tensors("map", context, Waves{cosine}, args.x, args.y);
  return map_tensors("map", context, Mapped{args.function}, args.x, args.y);
}

}  // namespace heddle
