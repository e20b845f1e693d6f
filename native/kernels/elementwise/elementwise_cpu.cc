#include <cfloat>
#include <cstring>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/elementwise_ops.h"
#include "kernels/elementwise/pieces.h"

#define HEDDLE_TARGET_FILE "kernels/elementwise/elementwise_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/elementwise/activations.h"

namespace heddle::HEDDLE_TARGET {
namespace {

template <class Function>
inline void map(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, Function::of(load(x + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, Function::of(load_partial(x + i, rest)), rest);
}

template <class Function>
inline void map_times(const float* x, const float* factor, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, mul(Function::of(load(x + i)), load(factor + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, mul(Function::of(load_partial(x + i, rest)), load_partial(factor + i, rest)), rest);
}

void activate(ActivateFunction function, const float* x, float* y, int64_t count) {
  switch (function) {
    case ActivateFunction::kRelu:
      return map<Relu>(x, y, count);
    case ActivateFunction::kGelu:
      return map<Gelu>(x, y, count);
    case ActivateFunction::kGeluTanh:
      return map<GeluTanh>(x, y, count);
    case ActivateFunction::kSilu:
      return map<Silu>(x, y, count);
    case ActivateFunction::kSigmoid:
      return map<Sigmoid>(x, y, count);
    case ActivateFunction::kTanh:
      return map<Tanh>(x, y, count);
  }
}

void gate(GateFunction function, const float* x, const float* up, float* y, int64_t count) {
  switch (function) {
    case GateFunction::kRelu:
      return map_times<Relu>(x, up, y, count);
    case GateFunction::kGelu:
      return map_times<Gelu>(x, up, y, count);
    case GateFunction::kGeluTanh:
      return map_times<GeluTanh>(x, up, y, count);
    case GateFunction::kSilu:
      return map_times<Silu>(x, up, y, count);
    case GateFunction::kSigmoid:
      return map_times<Sigmoid>(x, up, y, count);
    case GateFunction::kTanh:
      return map_times<Tanh>(x, up, y, count);
  }
}

// Plain loops: one rounding per element, and compilers vectorise them.
void add_arrays(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

void mul_arrays(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

void scale_array(const float* x, float factor, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = factor * x[i];
}

void soft_cap(const float* x, float cap, float* y, int64_t count) {
  const Vector limit = broadcast(cap);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, mul(limit, tanh(div(load(x + i), limit))));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, mul(limit, tanh(div(load_partial(x + i, rest), limit))), rest);
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

Status add_cpu(const AddArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("add", "a", args.a, args.y));
  HEDDLE_TRY(check_pair("add", "b", args.b, args.y));
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(add_arrays), args.a, args.b, args.y);
  return Status::success();
}

Status mul_cpu(const MulArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("mul", "a", args.a, args.y));
  HEDDLE_TRY(check_pair("mul", "b", args.b, args.y));
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(mul_arrays), args.a, args.b, args.y);
  return Status::success();
}

Status add_bias_cpu(const AddBiasArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("add_bias", "x", args.x, args.y));
  HEDDLE_CHECK(args.bias.rank == 1 && args.bias.dtype == DType::kF32 && args.bias.dims[0] == args.x.columns(), "add_bias",
               "x is " + describe(args.x) + " but bias is " + describe(args.bias) + ": expected f32 [" + std::to_string(args.x.columns()) + "]");
  const auto kernel = HEDDLE_DISPATCH(add_arrays);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  parallel_rows(context, x.count, x.columns, kCheapGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), args.bias.as<float>(), args.y.as<float>() + y.offset(row), x.columns);
  });
  return Status::success();
}

Status scale_cpu(const ScaleArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("scale", "x", args.x, args.y));
  const auto kernel = HEDDLE_DISPATCH(scale_array);
  over_pieces(context, kCheapGrain, [&](const float* x, float* y, int64_t count) { kernel(x, args.factor, y, count); }, args.x, args.y);
  return Status::success();
}

Status activate_cpu(const ActivateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("activate", "x", args.x, args.y));
  const auto kernel = HEDDLE_DISPATCH(activate);
  over_pieces(context, kFunctionGrain, [&](const float* x, float* y, int64_t count) { kernel(args.function, x, y, count); }, args.x, args.y);
  return Status::success();
}

Status gate_cpu(const GateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("gate", "gate", args.gate, args.y));
  HEDDLE_TRY(check_pair("gate", "up", args.up, args.y));
  const auto kernel = HEDDLE_DISPATCH(gate);
  over_pieces(
      context, kFunctionGrain, [&](const float* x, const float* up, float* y, int64_t count) { kernel(args.function, x, up, y, count); }, args.gate,
      args.up, args.y);
  return Status::success();
}

Status soft_cap_cpu(const SoftCapArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("soft_cap", "x", args.x, args.y));
  HEDDLE_CHECK(args.cap > 0 && args.cap <= FLT_MAX, "soft_cap", "cap is " + std::to_string(args.cap) + ": expected a finite number above 0");
  const auto kernel = HEDDLE_DISPATCH(soft_cap);
  over_pieces(context, kFunctionGrain, [&](const float* x, float* y, int64_t count) { kernel(x, args.cap, y, count); }, args.x, args.y);
  return Status::success();
}

Status zeros_like_cpu(const ZerosLikeArgs& args, CpuContext& context) {
  HEDDLE_CHECK(args.y.rank >= 1 && args.y.dtype == DType::kF32 && args.y.dense() && same_dims(args.x, args.y), "zeros_like",
               "x is " + describe(args.x) + " but y is " + describe(args.y) + ": expected f32 of x's shape without gaps");
  float* y = args.y.as<float>();
  parallel_pieces(context, 1, args.y.elements(), kCheapGrain,
                  [&](int64_t, int64_t at, int64_t count) { std::memset(y + at, 0, static_cast<size_t>(count) * sizeof(float)); });
  return Status::success();
}

Status accumulate_cpu(const AccumulateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("accumulate", "x", args.x, args.sum));
  HEDDLE_CHECK(args.target.data == args.sum.data, "accumulate", "sum does not lie over target");
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(add_arrays), args.sum, args.x, args.sum);
  return Status::success();
}

Status copy_cpu(const CopyArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y) && x.dtype == y.dtype, "copy",
               "x is " + describe(x) + " but y is " + describe(y) + ": expected equal dtypes and shapes of rank 1 to 4");
  const int64_t bytes = static_cast<int64_t>(dtype_bytes(x.dtype));
  const bool flat = x.dense() && y.dense();
  parallel_pieces(context, flat ? 1 : x.dims[0], (flat ? x.elements() : x.inner_elements()) * bytes, 65536, [&](int64_t row, int64_t column, int64_t count) {
    std::memcpy(y.as<char>() + (flat ? 0 : row * y.leading_stride * bytes) + column, x.as<char>() + (flat ? 0 : row * x.leading_stride * bytes) + column,
                static_cast<size_t>(count));
  });
  return Status::success();
}

}  // namespace heddle
#endif
