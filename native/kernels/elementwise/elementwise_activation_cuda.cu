// Activations, gates, caps, and their gradients.
#include "generated/elementwise_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/elementwise/activations.cuh"
#include "kernels/elementwise/elementwise_checks.h"
#include "kernels/elementwise/map_rows.cuh"

namespace heddle {
namespace {

template <class Choice>
constexpr Activation activation_of(Choice function) {
  static_assert(Choice::kRelu == Choice{0} && Choice::kGelu == Choice{1} && Choice::kGeluTanh == Choice{2} && Choice::kSilu == Choice{3} &&
                Choice::kSigmoid == Choice{4} && Choice::kTanh == Choice{5});
  return static_cast<Activation>(function);
}

struct Activated {
  static constexpr int kInputs = 1, kOutputs = 1;
  Activation function;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[1][N], float (&out)[1][N]) const {
    with_activation(function, [&](auto f) {
#pragma unroll
      for (int i = 0; i < N; i++) out[0][i] = f.of(in[0][i]);
    });
  }
};

struct Gated {
  static constexpr int kInputs = 2, kOutputs = 1;
  Activation function;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[2][N], float (&out)[1][N]) const {
    with_activation(function, [&](auto f) {
#pragma unroll
      for (int i = 0; i < N; i++) out[0][i] = f.of(in[0][i]) * in[1][i];
    });
  }
};

struct ActivatedGrad {
  static constexpr int kInputs = 2, kOutputs = 1;
  Activation function;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[2][N], float (&out)[1][N]) const {
    with_activation(function, [&](auto f) {
#pragma unroll
      for (int i = 0; i < N; i++) out[0][i] = in[1][i] * f.slope(in[0][i]).slope;
    });
  }
};

// Of gate, up and dy.
struct GatedGrad {
  static constexpr int kInputs = 3, kOutputs = 2;
  Activation function;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[3][N], float (&out)[2][N]) const {
    with_activation(function, [&](auto f) {
#pragma unroll
      for (int i = 0; i < N; i++) {
        const Slope s = f.slope(in[0][i]);
        out[0][i] = in[2][i] * in[1][i] * s.slope;
        out[1][i] = in[2][i] * s.value;
      }
    });
  }
};

struct Capped {
  static constexpr int kInputs = 1, kOutputs = 1;
  float cap;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[1][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = cap * tanhf(in[0][i] / cap);
  }
};

struct CappedGrad {
  static constexpr int kInputs = 2, kOutputs = 1;
  float cap;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[2][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = in[1][i] * activations::Tanh::slope(in[0][i] / cap).slope;
  }
};

}  // namespace

Status activate_cuda(const ActivateArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_pair("activate", "x", args.x, args.y));
  return map_tensors("activate", context, Activated{activation_of(args.function)}, args.x, args.y);
}

Status gate_cuda(const GateArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_gate(args));
  return map_tensors("gate", context, Gated{activation_of(args.function)}, args.gate, args.up, args.y);
}

Status soft_cap_cuda(const SoftCapArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_soft_cap(args));
  return map_tensors("soft_cap", context, Capped{args.cap}, args.x, args.y);
}

Status activate_grad_cuda(const ActivateGradArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_activate_grad(args));
  return map_tensors("activate_grad", context, ActivatedGrad{activation_of(args.function)}, args.x, args.dy, args.dx);
}

Status gate_grad_cuda(const GateGradArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_gate_grad(args));
  return map_tensors("gate_grad", context, GatedGrad{activation_of(args.function)}, args.gate, args.up, args.dy, args.d_gate, args.d_up);
}

Status soft_cap_grad_cuda(const SoftCapGradArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_soft_cap_grad(args));
  return map_tensors("soft_cap_grad", context, CappedGrad{args.cap}, args.x, args.dy, args.dx);
}

}  // namespace heddle
