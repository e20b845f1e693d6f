// Gradients of norms with respect to x. dx may lie over dy: a thread reads an element of dy before it writes that element of dx.
#include "cuda/cuda_context.h"
#include "generated/norm_ops.h"
#include "kernels/norm/norm_checks.h"
#include "kernels/norm/norm_row.cuh"

namespace heddle {

namespace {

constexpr int kMostThreads = 512;

struct GradientNumbers {
  int64_t rows, width;
  float eps, weight_offset;
  bool aligned;
};

// dy times the factor that the norm multiplied by.
template <class Team>
struct WeightedGradient {
  RowValues<Team> dy;
  const float* weight;
  float offset;

  __device__ __forceinline__ WeightedGradient(const float* row, const float* weights, float weight_offset, int64_t width, bool aligned)
      : dy(row, width, aligned), weight(weights), offset(weight_offset) {
    if constexpr (Team::kHeld)
      if (weights != nullptr) each_four<Team>(width, [&](int slot, int64_t i, int count) { dy.held[slot] = times_weight(dy.held[slot], i, count); });
  }
  __device__ __forceinline__ Four times_weight(Four four, int64_t i, int count) const {
    const Four factor = load_four(weight + i, count, dy.aligned);
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] *= factor.v[k] + offset;
    return four;
  }
  __device__ __forceinline__ Four at(int slot, int64_t i, int count) const {
    const Four four = dy.at(slot, i, count);
    if constexpr (!Team::kHeld)
      if (weight != nullptr) return times_weight(four, i, count);
    return four;
  }
};

template <class Team>
__global__ void __launch_bounds__(Team::kThreads)
    rms_norm_grad_kernel(RowsOf<const float> x, const float* weight, RowsOf<const float> dy, RowsOf<float> dx, GradientNumbers numbers) {
  HEDDLE_NORM_SCRATCH(scratch);
  const int64_t row = Team::row(), width = numbers.width;
  if (row >= numbers.rows) return;
  const RowValues<Team> values(x.row(row), width, numbers.aligned);
  const WeightedGradient<Team> gradient(dy.row(row), weight, numbers.weight_offset, width, numbers.aligned);
  const float scale = inverse_rms_of(values, width, numbers.eps, scratch);
  float products = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count), g = gradient.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) products = fmaf(g.v[k], four.v[k] * scale, products);
  });
  const float mean = Team::sum(products, scratch.sums) / static_cast<float>(width);
  float* out = dx.row(row);
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count);
    Four g = gradient.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) g.v[k] = scale * (g.v[k] - four.v[k] * scale * mean);
    store_four(out + i, g, count, numbers.aligned);
  });
}

// In f64, for rows whose squares leave f32.
template <class Team>
__device__ __forceinline__ void layer_norm_grad_wide(const RowValues<Team>& values, const WeightedGradient<Team>& gradient, float* out,
                                                     const GradientNumbers& numbers, const NormScratch& scratch) {
  const int64_t width = numbers.width;
  const WideStatistics wide = wide_statistics(values, width, numbers.eps, scratch);
  double sum = 0, products = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count), g = gradient.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (k >= count) continue;
      sum += static_cast<double>(g.v[k]);
      products += g.v[k] * ((four.v[k] - wide.mean) * wide.scale);
    }
  });
  const double terms = static_cast<double>(width);
  const double mean = Team::sum(sum, scratch.wide_sums) / terms, slope = Team::sum(products, scratch.wide_sums) / terms;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count);
    Four g = gradient.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) g.v[k] = static_cast<float>(wide.scale * (g.v[k] - mean - (four.v[k] - wide.mean) * wide.scale * slope));
    store_four(out + i, g, count, numbers.aligned);
  });
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads)
    layer_norm_grad_kernel(RowsOf<const float> x, const float* weight, RowsOf<const float> dy, RowsOf<float> dx, GradientNumbers numbers) {
  HEDDLE_NORM_SCRATCH(scratch);
  const int64_t row = Team::row(), width = numbers.width;
  if (row >= numbers.rows) return;
  const RowValues<Team> values(x.row(row), width, numbers.aligned);
  const WeightedGradient<Team> gradient(dy.row(row), weight, 0, width, numbers.aligned);
  const LayerStatistics statistics = layer_statistics(values, width, numbers.eps, scratch);
  float* out = dx.row(row);
  if (statistics.wide) return layer_norm_grad_wide(values, gradient, out, numbers, scratch);
  float sum = 0, products = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count), g = gradient.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) {
      sum += g.v[k];  // a missing element has g = 0
      products = fmaf(g.v[k], statistics.normal(four.v[k]), products);
    }
  });
  const float terms = static_cast<float>(width);
  const float mean = Team::sum(sum, scratch.sums) / terms, slope = Team::sum(products, scratch.sums) / terms;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count);
    Four g = gradient.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) g.v[k] = statistics.scale * (g.v[k] - mean - statistics.normal(four.v[k]) * slope);
    store_four(out + i, g, count, numbers.aligned);
  });
}

struct GradientOperands {
  const TensorView &x, &weight, &dy, &dx;
};

Status check_gradient(const char* op, const GradientOperands& operands) {
  HEDDLE_TRY(check_norm_like(op, "x", operands.x, operands.dx));
  HEDDLE_TRY(check_norm_like(op, "dy", operands.dy, operands.dx));
  return check_norm_weight(op, "weight", operands.weight, operands.x);
}

GradientNumbers gradient_numbers(const GradientOperands& operands, float eps, float weight_offset) {
  const Rows rows = rows_of(operands.x);
  const bool aligned = rows_aligned(operands.x) && rows_aligned(operands.dy) && rows_aligned(operands.dx) && is_aligned16(pointer_or_null(operands.weight));
  return {rows.count, rows.columns, eps, weight_offset, aligned};
}

}  // namespace

Status rms_norm_grad_cuda(const RmsNormGradArgs& args, CudaContext& context) {
  const GradientOperands operands = {args.x, args.weight, args.dy, args.dx};
  HEDDLE_TRY(check_gradient("rms_norm_grad", operands));
  const GradientNumbers numbers = gradient_numbers(operands, args.eps, args.weight_offset);
  return with_row_team<kMostThreads>(numbers.rows, numbers.width, [&](auto team, const LaunchShape& shape) {
    return context.launch("rms_norm_grad", rms_norm_grad_kernel<decltype(team)>, shape, device_rows<const float>(args.x), pointer_or_null(args.weight),
                          device_rows<const float>(args.dy), device_rows<float>(args.dx), numbers);
  });
}

Status layer_norm_grad_cuda(const LayerNormGradArgs& args, CudaContext& context) {
  const GradientOperands operands = {args.x, args.weight, args.dy, args.dx};
  HEDDLE_TRY(check_gradient("layer_norm_grad", operands));
  const GradientNumbers numbers = gradient_numbers(operands, args.eps, 0);
  return with_row_team<kMostThreads>(numbers.rows, numbers.width, [&](auto team, const LaunchShape& shape) {
    return context.launch("layer_norm_grad", layer_norm_grad_kernel<decltype(team)>, shape, device_rows<const float>(args.x), pointer_or_null(args.weight),
                          device_rows<const float>(args.dy), device_rows<float>(args.dx), numbers);
  });
}

}  // namespace heddle
