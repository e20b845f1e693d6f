#include <cstring>

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
  HEDDLE_TRY(check_operands("add", args));
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(add_arrays), args.a, args.b, args.y);
  return Status::success();
}

Status mul_cpu(const MulArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_operands("mul", args));
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(mul_arrays), args.a, args.b, args.y);
  return Status::success();
}

Status add_bias_cpu(const AddBiasArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_add_bias(args));
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
  HEDDLE_TRY(check_gate(args));
  const auto kernel = HEDDLE_DISPATCH(gate);
  over_pieces(
      context, kFunctionGrain, [&](const float* x, const float* up, float* y, int64_t count) { kernel(args.function, x, up, y, count); }, args.gate,
      args.up, args.y);
  return Status::success();
}

Status soft_cap_cpu(const SoftCapArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_soft_cap(args));
  const auto kernel = HEDDLE_DISPATCH(soft_cap);
  over_pieces(context, kFunctionGrain, [&](const float* x, float* y, int64_t count) { kernel(x, args.cap, y, count); }, args.x, args.y);
  return Status::success();
}

Status zeros_like_cpu(const ZerosLikeArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_zeros_like(args));
  float* y = args.y.as<float>();
  parallel_pieces(context, 1, args.y.elements(), kCheapGrain,
                  [&](int64_t, int64_t at, int64_t count) { std::memset(y + at, 0, static_cast<size_t>(count) * sizeof(float)); });
  return Status::success();
}

Status accumulate_cpu(const AccumulateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_accumulate(args));
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(add_arrays), args.sum, args.x, args.sum);
  return Status::success();
}

Status copy_cpu(const CopyArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_copy(args));
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
