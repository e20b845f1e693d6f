#include "cuda/cuda_context.h"
#include "generated/norm_ops.h"
#include "kernels/norm/norm_checks.h"
#include "kernels/norm/norm_row.cuh"

namespace heddle {

namespace {

struct NormNumbers {
  int64_t rows, width;
  float eps, weight_offset;
  bool aligned;
};

// values * scale * (weight + offset)
__device__ __forceinline__ Four scaled(Four four, float scale, const float* weight, float offset, int64_t i, int count, bool aligned) {
  if (weight == nullptr) {
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] *= scale;
    return four;
  }
  const Four factor = load_four(weight + i, count, aligned);
#pragma unroll
  for (int k = 0; k < 4; k++) four.v[k] = four.v[k] * scale * (factor.v[k] + offset);
  return four;
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads) rms_norm_kernel(RowsOf<const float> x, const float* weight, RowsOf<float> y, NormNumbers numbers) {
  HEDDLE_NORM_SCRATCH(scratch);
  const int64_t row = Team::row(), width = numbers.width;
  if (row >= numbers.rows) return;
  const RowValues<Team> values(x.row(row), width, numbers.aligned);
  const float scale = inverse_rms_of(values, width, numbers.eps, scratch);
  float* out = y.row(row);
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = scaled(values.at(slot, i, count), scale, weight, numbers.weight_offset, i, count, numbers.aligned);
    store_four(out + i, four, count, numbers.aligned);
  });
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads)
    add_rms_norm_kernel(RowsOf<const float> a, RowsOf<const float> b, const float* weight, RowsOf<float> sum, RowsOf<float> y, NormNumbers numbers) {
  HEDDLE_NORM_SCRATCH(scratch);
  const int64_t row = Team::row(), width = numbers.width;
  if (row >= numbers.rows) return;
  const float* other = b.row(row);
  float* total = sum.row(row);
  RowValues<Team> values(a.row(row), width, numbers.aligned);
  float squares = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    Four four = values.at(slot, i, count);
    const Four more = load_four(other + i, count, numbers.aligned);
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] += more.v[k];
    squares = add_squares(four, squares);
    store_four(total + i, four, count, numbers.aligned);
    if constexpr (Team::kHeld) values.held[slot] = four;
  });
  values.from = total;  // what is not held is read again where this thread wrote it
  const float scale = inverse_rms(values, squares, width, numbers.eps, scratch);
  float* out = y.row(row);
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = scaled(values.at(slot, i, count), scale, weight, numbers.weight_offset, i, count, numbers.aligned);
    store_four(out + i, four, count, numbers.aligned);
  });
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads) inverse_rms_kernel(RowsOf<const float> x, float* y, NormNumbers numbers) {
  HEDDLE_NORM_SCRATCH(scratch);
  const int64_t row = Team::row();
  if (row >= numbers.rows) return;
  const RowValues<Team> values(x.row(row), numbers.width, numbers.aligned);
  const float scale = inverse_rms_of(values, numbers.width, numbers.eps, scratch);
  if (Team::index() == 0) y[row] = scale;
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads)
    layer_norm_kernel(RowsOf<const float> x, const float* weight, const float* bias, RowsOf<float> y, NormNumbers numbers) {
  HEDDLE_NORM_SCRATCH(scratch);
  const int64_t row = Team::row(), width = numbers.width;
  if (row >= numbers.rows) return;
  const RowValues<Team> values(x.row(row), width, numbers.aligned);
  const LayerStatistics statistics = layer_statistics(values, width, numbers.eps, scratch);
  float* out = y.row(row);
  if (statistics.wide) {
    const WideStatistics wide = wide_statistics(values, width, numbers.eps, scratch);
    each_four<Team>(width, [&](int slot, int64_t i, int count) {
      const Four four = values.at(slot, i, count);
#pragma unroll
      for (int k = 0; k < 4; k++) {
        if (k >= count) continue;
        const double factor = weight != nullptr ? weight[i + k] : 1.0f, term = bias != nullptr ? bias[i + k] : 0.0f;
        out[i + k] = static_cast<float>((four.v[k] - wide.mean) * wide.scale * factor + term);
      }
    });
    return;
  }
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    Four four = values.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] = statistics.normal(four.v[k]);
    if (weight != nullptr) {
      const Four factor = load_four(weight + i, count, numbers.aligned);
#pragma unroll
      for (int k = 0; k < 4; k++) four.v[k] *= factor.v[k];
    }
    if (bias != nullptr) {
      const Four term = load_four(bias + i, count, numbers.aligned);
#pragma unroll
      for (int k = 0; k < 4; k++) four.v[k] += term.v[k];
    }
    store_four(out + i, four, count, numbers.aligned);
  });
}

}  // namespace

Status rms_norm_cuda(const RmsNormArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_norm_like("rms_norm", "x", args.x, args.y));
  HEDDLE_TRY(check_norm_weight("rms_norm", "weight", args.weight, args.x));
  const Rows rows = rows_of(args.x);
  const bool aligned = rows_aligned(args.x) && rows_aligned(args.y) && is_aligned16(pointer_or_null(args.weight));
  const NormNumbers numbers = {rows.count, rows.columns, args.eps, args.weight_offset, aligned};
  return with_row_team(rows.count, rows.columns, [&](auto team, const LaunchShape& shape) {
    return context.launch("rms_norm", rms_norm_kernel<decltype(team)>, shape, device_rows<const float>(args.x), pointer_or_null(args.weight),
                          device_rows<float>(args.y), numbers);
  });
}

Status add_rms_norm_cuda(const AddRmsNormArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_norm_like("add_rms_norm", "a", args.a, args.y));
  HEDDLE_TRY(check_norm_like("add_rms_norm", "b", args.b, args.y));
  HEDDLE_TRY(check_norm_like("add_rms_norm", "sum", args.sum, args.y));
  HEDDLE_TRY(check_norm_weight("add_rms_norm", "weight", args.weight, args.a));
  const Rows rows = rows_of(args.a);
  const bool aligned = rows_aligned(args.a) && rows_aligned(args.b) && rows_aligned(args.sum) && rows_aligned(args.y) &&
                       is_aligned16(pointer_or_null(args.weight));
  const NormNumbers numbers = {rows.count, rows.columns, args.eps, args.weight_offset, aligned};
  return with_row_team(rows.count, rows.columns, [&](auto team, const LaunchShape& shape) {
    return context.launch("add_rms_norm", add_rms_norm_kernel<decltype(team)>, shape, device_rows<const float>(args.a), device_rows<const float>(args.b),
                          pointer_or_null(args.weight), device_rows<float>(args.sum), device_rows<float>(args.y), numbers);
  });
}

Status inverse_rms_cuda(const InverseRmsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_inverse_rms(args.x, args.y));
  const Rows rows = rows_of(args.x);
  const NormNumbers numbers = {rows.count, rows.columns, args.eps, 0, rows_aligned(args.x)};
  return with_row_team(rows.count, rows.columns, [&](auto team, const LaunchShape& shape) {
    return context.launch("inverse_rms", inverse_rms_kernel<decltype(team)>, shape, device_rows<const float>(args.x), args.y.as<float>(), numbers);
  });
}

Status layer_norm_cuda(const LayerNormArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_norm_like("layer_norm", "x", args.x, args.y));
  HEDDLE_TRY(check_norm_weight("layer_norm", "weight", args.weight, args.x));
  HEDDLE_TRY(check_norm_weight("layer_norm", "bias", args.bias, args.x));
  const Rows rows = rows_of(args.x);
  const float *weight = pointer_or_null(args.weight), *bias = pointer_or_null(args.bias);
  const bool aligned = rows_aligned(args.x) && rows_aligned(args.y) && is_aligned16(weight) && is_aligned16(bias);
  const NormNumbers numbers = {rows.count, rows.columns, args.eps, 0, aligned};
  return with_row_team(rows.count, rows.columns, [&](auto team, const LaunchShape& shape) {
    return context.launch("layer_norm", layer_norm_kernel<decltype(team)>, shape, device_rows<const float>(args.x), weight, bias,
                          device_rows<float>(args.y), numbers);
  });
}

}  // namespace heddle
