#include <cmath>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/elementwise_ops.h"
#include "kernels/elementwise/pieces.h"

#define HEDDLE_TARGET_FILE "kernels/elementwise/elementwise_map_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/elementwise/activations.h"

namespace heddle::HEDDLE_TARGET {
namespace {

template <class Function>
inline void vectors(const float* x, float* y, int64_t count, const Function& function) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, function(load(x + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, function(load_partial(x + i, rest)), rest);
}

// One rounding per element; compilers vectorise what they can.
template <class Function>
inline void scalars(const float* x, float* y, int64_t count, const Function& function) {
  for (int64_t i = 0; i < count; i++) y[i] = function(x[i]);
}

void map_array(MapFunction function, const float* x, float* y, int64_t count) {
  switch (function) {
    case MapFunction::kExp:
      return vectors(x, y, count, [](Vector v) { return exp(v); });
    case MapFunction::kNormalCdf:
      return vectors(x, y, count, [](Vector v) { return normal_cdf(v, NormalTail::of(v)); });
    case MapFunction::kLog:
      return scalars(x, y, count, [](float v) { return static_cast<float>(std::log(static_cast<double>(v))); });
    case MapFunction::kSin:
      return scalars(x, y, count, [](float v) { return static_cast<float>(std::sin(static_cast<double>(v))); });
    case MapFunction::kCos:
      return scalars(x, y, count, [](float v) { return static_cast<float>(std::cos(static_cast<double>(v))); });
    case MapFunction::kSqrt:
      return scalars(x, y, count, [](float v) { return std::sqrt(v); });
    case MapFunction::kRsqrt:
      return scalars(x, y, count, [](float v) { return 1.0f / std::sqrt(v); });
    case MapFunction::kReciprocal:
      return scalars(x, y, count, [](float v) { return 1.0f / v; });
    case MapFunction::kSquare:
      return scalars(x, y, count, [](float v) { return v * v; });
    case MapFunction::kNeg:
      return scalars(x, y, count, [](float v) { return -v; });
    case MapFunction::kAbs:
      return scalars(x, y, count, [](float v) { return std::fabs(v); });
    case MapFunction::kSign:
      return scalars(x, y, count, [](float v) { return v > 0 ? 1.0f : v < 0 ? -1.0f : v; });
    case MapFunction::kStep:
      return scalars(x, y, count, [](float v) { return v > 0 ? 1.0f : v <= 0 ? 0.0f : v; });
    case MapFunction::kComplement:
      return scalars(x, y, count, [](float v) { return 1.0f - v; });
  }
}

void divide_arrays(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = a[i] / b[i];
}

void multiply_arrays(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

void multiply_by_one(const float* x, float factor, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = x[i] * factor;
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

Status map_cpu(const MapArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("map", "x", args.x, args.y));
  const auto kernel = HEDDLE_DISPATCH(map_array);
  over_pieces(context, kFunctionGrain, [&](const float* x, float* y, int64_t count) { kernel(args.function, x, y, count); }, args.x, args.y);
  return Status::success();
}

Status divide_cpu(const DivideArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_operands("divide", args));
  over_pieces(context, kCheapGrain, HEDDLE_DISPATCH(divide_arrays), args.a, args.b, args.y);
  return Status::success();
}

Status scale_columns_cpu(const ScaleColumnsArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_scale_columns(args));
  const auto kernel = HEDDLE_DISPATCH(multiply_arrays);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  parallel_rows(context, x.count, x.columns, kCheapGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), args.factor.as<float>(), args.y.as<float>() + y.offset(row), x.columns);
  });
  return Status::success();
}

Status scale_rows_cpu(const ScaleRowsArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_scale_rows(args));
  const auto kernel = HEDDLE_DISPATCH(multiply_by_one);
  const int64_t width = args.x.inner_elements();
  const int64_t x_stride = args.x.rank == 1 ? 1 : args.x.leading_stride, y_stride = args.y.rank == 1 ? 1 : args.y.leading_stride;
  parallel_rows(context, args.x.dims[0], width, kCheapGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + row * x_stride, args.factor.as<float>()[row], args.y.as<float>() + row * y_stride, width);
  });
  return Status::success();
}

}  // namespace heddle
#endif
