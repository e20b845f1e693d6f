#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/norm_ops.h"
#include "kernels/norm/norm_checks.h"

#define HEDDLE_TARGET_FILE "kernels/norm/norm_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/norm/norm_row.h"

namespace heddle::HEDDLE_TARGET {
namespace {

void write_rms(const float* x, const float* weight, float* y, int64_t width, float scale, float weight_offset) {
  const Vector factor = broadcast(scale), offset = broadcast(weight_offset);
  if (weight == nullptr) {
    over_vectors(width, [&](int, int64_t i, int count) { store_some(y + i, mul(load_some(x + i, count), factor), count); });
  } else {
    over_vectors(width, [&](int, int64_t i, int count) {
      store_some(y + i, mul(mul(load_some(x + i, count), factor), add(load_some(weight + i, count), offset)), count);
    });
  }
}

void rms_norm_row(const float* x, const float* weight, float* y, int64_t width, float eps, float weight_offset) {
  write_rms(x, weight, y, width, inverse_rms_of(x, width, eps), weight_offset);
}

void add_rms_norm_row(const float* a, const float* b, const float* weight, float* sum, float* y, int64_t width, float eps, float weight_offset) {
  Sums squares = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) {
    const Vector v = add(load_some(a + i, count), load_some(b + i, count));
    store_some(sum + i, v, count);
    squares.part[part] = fma(v, v, squares.part[part]);
  });
  write_rms(sum, weight, y, width, inverse_rms(sum, total(squares), width, eps), weight_offset);
}

// The same in f64, for rows whose squares leave f32.
void layer_norm_wide(const float* x, const float* weight, const float* bias, float* y, int64_t width, float eps) {
  const WideStatistics row = wide_statistics(x, width, eps);
  for (int64_t i = 0; i < width; i++)
    y[i] = static_cast<float>((x[i] - row.mean) * row.scale * (weight != nullptr ? weight[i] : 1.0f) + (bias != nullptr ? bias[i] : 0.0f));
}

void layer_norm_row(const float* x, const float* weight, const float* bias, float* y, int64_t width, float eps) {
  const LayerStatistics row = layer_statistics(x, width, eps);
  if (row.wide) return layer_norm_wide(x, weight, bias, y, width, eps);
  const Vector center = broadcast(row.center), shift = broadcast(row.shift), scale = broadcast(row.scale);
  over_vectors(width, [&](int, int64_t i, int count) {
    Vector v = mul(sub(sub(load_some(x + i, count), center), shift), scale);
    if (weight != nullptr) v = mul(v, load_some(weight + i, count));
    if (bias != nullptr) v = add(v, load_some(bias + i, count));
    store_some(y + i, v, count);
  });
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

Status rms_norm_cpu(const RmsNormArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_norm_like("rms_norm", "x", args.x, args.y));
  HEDDLE_TRY(check_norm_weight("rms_norm", "weight", args.weight, args.x));
  const auto kernel = HEDDLE_DISPATCH(rms_norm_row);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  const float* weight = pointer_or_null(args.weight);
  parallel_rows(context, x.count, x.columns, kNormGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), weight, args.y.as<float>() + y.offset(row), x.columns, args.eps, args.weight_offset);
  });
  return Status::success();
}

Status inverse_rms_cpu(const InverseRmsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_inverse_rms(x, y));
  const auto kernel = HEDDLE_DISPATCH(inverse_rms_of);
  const Rows rows = rows_of(x);
  parallel_rows(context, rows.count, rows.columns, kNormGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) y.as<float>()[row] = kernel(x.as<float>() + rows.offset(row), rows.columns, args.eps);
  });
  return Status::success();
}

Status add_rms_norm_cpu(const AddRmsNormArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_norm_like("add_rms_norm", "a", args.a, args.y));
  HEDDLE_TRY(check_norm_like("add_rms_norm", "b", args.b, args.y));
  HEDDLE_TRY(check_norm_like("add_rms_norm", "sum", args.sum, args.y));
  HEDDLE_TRY(check_norm_weight("add_rms_norm", "weight", args.weight, args.a));
  const auto kernel = HEDDLE_DISPATCH(add_rms_norm_row);
  const Rows a = rows_of(args.a), b = rows_of(args.b), sum = rows_of(args.sum), y = rows_of(args.y);
  const float* weight = pointer_or_null(args.weight);
  parallel_rows(context, a.count, a.columns, kNormGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.a.as<float>() + a.offset(row), args.b.as<float>() + b.offset(row), weight, args.sum.as<float>() + sum.offset(row),
             args.y.as<float>() + y.offset(row), a.columns, args.eps, args.weight_offset);
  });
  return Status::success();
}

Status layer_norm_cpu(const LayerNormArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_norm_like("layer_norm", "x", args.x, args.y));
  HEDDLE_TRY(check_norm_weight("layer_norm", "weight", args.weight, args.x));
  HEDDLE_TRY(check_norm_weight("layer_norm", "bias", args.bias, args.x));
  const auto kernel = HEDDLE_DISPATCH(layer_norm_row);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  const float *weight = pointer_or_null(args.weight), *bias = pointer_or_null(args.bias);
  parallel_rows(context, x.count, x.columns, kNormGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), weight, bias, args.y.as<float>() + y.offset(row), x.columns, args.eps);
  });
  return Status::success();
}

}  // namespace heddle
#endif
