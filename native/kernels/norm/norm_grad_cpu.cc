// Gradients of norms with respect to x. dx may lie over dy: an element of dy is read before its dx is written.
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/norm_ops.h"
#include "kernels/norm/norm_checks.h"

#define HEDDLE_TARGET_FILE "kernels/norm/norm_grad_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/norm/norm_row.h"

namespace heddle::HEDDLE_TARGET {
namespace {

// dy times the factor that the norm multiplied by.
struct WeightedGradient {
  const float *dy, *weight;
  Vector offset;

  HEDDLE_INLINE Vector at(int64_t i, int count) const {
    const Vector v = load_some(dy + i, count);
    return weight == nullptr ? v : mul(v, add(load_some(weight + i, count), offset));
  }
};

void rms_norm_grad_row(const float* x, const float* weight, const float* dy, float* dx, int64_t width, float eps, float weight_offset) {
  const Vector scale = broadcast(inverse_rms_of(x, width, eps));
  const WeightedGradient gradient = {dy, weight, broadcast(weight_offset)};
  Sums products = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) {
    products.part[part] = fma(gradient.at(i, count), mul(load_some(x + i, count), scale), products.part[part]);
  });
  const Vector mean = broadcast(static_cast<float>(total(products) / static_cast<double>(width)));
  over_vectors(width, [&](int, int64_t i, int count) {
    const Vector normal = mul(load_some(x + i, count), scale);
    store_some(dx + i, mul(scale, sub(gradient.at(i, count), mul(normal, mean))), count);
  });
}

// In f64, for rows whose squares leave f32.
void layer_norm_grad_wide(const float* x, const float* weight, const float* dy, float* dx, int64_t width, float eps) {
  const WideStatistics row = wide_statistics(x, width, eps);
  const auto gradient = [&](int64_t i) { return static_cast<double>(dy[i]) * (weight != nullptr ? weight[i] : 1.0f); };
  double sum = 0, products = 0;
  for (int64_t i = 0; i < width; i++) {
    sum += gradient(i);
    products += gradient(i) * ((x[i] - row.mean) * row.scale);
  }
  const double mean = sum / static_cast<double>(width), slope = products / static_cast<double>(width);
  for (int64_t i = 0; i < width; i++)
    dx[i] = static_cast<float>(row.scale * (gradient(i) - mean - (x[i] - row.mean) * row.scale * slope));
}

void layer_norm_grad_row(const float* x, const float* weight, const float* dy, float* dx, int64_t width, float eps) {
  const LayerStatistics row = layer_statistics(x, width, eps);
  if (row.wide) return layer_norm_grad_wide(x, weight, dy, dx, width, eps);
  const Vector center = broadcast(row.center), shift = broadcast(row.shift), scale = broadcast(row.scale);
  const auto normal = [&](int64_t i, int count) { return mul(sub(sub(load_some(x + i, count), center), shift), scale); };
  const WeightedGradient gradient = {dy, weight, zero()};
  Sums sums = no_sums(), products = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) {
    const Vector g = gradient.at(i, count);
    sums.part[part] = add(sums.part[part], g);
    products.part[part] = fma(g, normal(i, count), products.part[part]);
  });
  const double terms = static_cast<double>(width);
  const Vector mean = broadcast(static_cast<float>(total(sums) / terms)), slope = broadcast(static_cast<float>(total(products) / terms));
  over_vectors(width, [&](int, int64_t i, int count) {
    store_some(dx + i, mul(scale, sub(sub(gradient.at(i, count), mean), mul(normal(i, count), slope))), count);
  });
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

Status rms_norm_grad_cpu(const RmsNormGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_norm_like("rms_norm_grad", "x", args.x, args.dx));
  HEDDLE_TRY(check_norm_like("rms_norm_grad", "dy", args.dy, args.dx));
  HEDDLE_TRY(check_norm_weight("rms_norm_grad", "weight", args.weight, args.x));
  const auto kernel = HEDDLE_DISPATCH(rms_norm_grad_row);
  const Rows x = rows_of(args.x), dy = rows_of(args.dy), dx = rows_of(args.dx);
  const float* weight = pointer_or_null(args.weight);
  parallel_rows(context, x.count, x.columns, kNormGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), weight, args.dy.as<float>() + dy.offset(row), args.dx.as<float>() + dx.offset(row), x.columns,
             args.eps, args.weight_offset);
  });
  return Status::success();
}

Status layer_norm_grad_cpu(const LayerNormGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_norm_like("layer_norm_grad", "x", args.x, args.dx));
  HEDDLE_TRY(check_norm_like("layer_norm_grad", "dy", args.dy, args.dx));
  HEDDLE_TRY(check_norm_weight("layer_norm_grad", "weight", args.weight, args.x));
  const auto kernel = HEDDLE_DISPATCH(layer_norm_grad_row);
  const Rows x = rows_of(args.x), dy = rows_of(args.dy), dx = rows_of(args.dx);
  const float* weight = pointer_or_null(args.weight);
  parallel_rows(context, x.count, x.columns, kNormGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), weight, args.dy.as<float>() + dy.offset(row), args.dx.as<float>() + dx.offset(row), x.columns,
             args.eps);
  });
  return Status::success();
}

}  // namespace heddle
#endif
