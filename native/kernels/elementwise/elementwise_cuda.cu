// Sums, products, quotients, factors, copies.
#include "generated/elementwise_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/move_rows.cuh"
#include "cuda/vocabulary.cuh"
#include "kernels/elementwise/elementwise_checks.h"
#include "kernels/elementwise/map_rows.cuh"

namespace heddle {
namespace {

struct Sum {
  static constexpr int kInputs = 2, kOutputs = 1;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[2][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = in[0][i] + in[1][i];
  }
};

struct Product {
  static constexpr int kInputs = 2, kOutputs = 1;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[2][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = in[0][i] * in[1][i];
  }
};

struct Quotient {
  static constexpr int kInputs = 2, kOutputs = 1;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[2][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = in[0][i] / in[1][i];
  }
};

struct Times {
  static constexpr int kInputs = 1, kOutputs = 1;
  float factor;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t, const float (&in)[1][N], float (&out)[1][N]) const {
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = factor * in[0][i];
  }
};

struct TimesOfRow {
  static constexpr int kInputs = 1, kOutputs = 1;
  const float* factors;
  template <int N>
  __device__ __forceinline__ void operator()(int64_t row, const float (&in)[1][N], float (&out)[1][N]) const {
    const float factor = factors[row];
#pragma unroll
    for (int i = 0; i < N; i++) out[0][i] = in[0][i] * factor;
  }
};

}  // namespace

Status add_cuda(const AddArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_operands("add", args));
  return map_tensors("add", context, Sum{}, args.a, args.b, args.y);
}

Status mul_cuda(const MulArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_operands("mul", args));
  return map_tensors("mul", context, Product{}, args.a, args.b, args.y);
}

Status divide_cuda(const DivideArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_operands("divide", args));
  return map_tensors("divide", context, Quotient{}, args.a, args.b, args.y);
}

Status accumulate_cuda(const AccumulateArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_accumulate(args));
  return map_tensors("accumulate", context, Sum{}, args.sum, args.x, args.sum);
}

Status scale_cuda(const ScaleArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_pair("scale", "x", args.x, args.y));
  return map_tensors("scale", context, Times{args.factor}, args.x, args.y);
}

Status add_bias_cuda(const AddBiasArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_add_bias(args));
  return map_columns("add_bias", context, Sum{}, args.x, args.bias, args.y);
}

Status scale_columns_cuda(const ScaleColumnsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_scale_columns(args));
  return map_columns("scale_columns", context, Product{}, args.x, args.factor, args.y);
}

Status scale_rows_cuda(const ScaleRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_scale_rows(args));
  const auto operand = [](const TensorView& t) { return MapOperand{t.as<float>(), t.rank == 1 ? 1 : t.leading_stride, 0}; };
  return launch_map("scale_rows", context, TimesOfRow{args.factor.as<float>()}, args.x.dims[0], 1, args.x.inner_elements(),
                    std::array<MapOperand, 2>{operand(args.x), operand(args.y)});
}

Status zeros_like_cuda(const ZerosLikeArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_zeros_like(args));
  return context.zero("zeros_like", args.y.data, static_cast<size_t>(args.y.elements()) * sizeof(float));
}

Status copy_cuda(const CopyArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_copy(args));
  const TensorView &x = args.x, &y = args.y;
  if (x.dense() && y.dense()) return context.copy("copy", y.data, x.data, static_cast<size_t>(x.elements()) * dtype_bytes(x.dtype));
  return move_rows("copy", context, x.dims[0], row_bytes(x), SameRows{byte_rows(x), byte_rows(y)});
}

}  // namespace heddle
