#include <cfloat>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/norm_ops.h"

#define HEDDLE_TARGET_FILE "kernels/norm/norm_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {
namespace {

// Four vectors of partial sums, always added in the same tree.
struct Sums {
  Vector part[4];
};
HEDDLE_INLINE Sums no_sums() { return {{zero(), zero(), zero(), zero()}}; }
HEDDLE_INLINE float total(const Sums& sums) { return reduce_add(add(add(sums.part[0], sums.part[1]), add(sums.part[2], sums.part[3]))); }

// Calls step(part, i, count) for every vector of a row; count < kLanes only at the end.
template <class Step>
HEDDLE_INLINE void over_vectors(int64_t width, const Step& step) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes)
    for (int part = 0; part < 4; part++) step(part, i + part * kLanes, kLanes);
  for (int part = 0; i < width; part++, i += kLanes) step(part, i, static_cast<int>(width - i < kLanes ? width - i : kLanes));
}

HEDDLE_INLINE Vector load_some(const float* p, int count) { return count == kLanes ? load(p) : load_partial(p, count); }
HEDDLE_INLINE void store_some(float* p, Vector a, int count) { count == kLanes ? store(p, a) : store_partial(p, a, count); }

// 1 / sqrt(mean of squares + eps). Where the squares leave f32, they are summed again in f64.
float inverse_rms(const float* x, float square_sum, int64_t width, float eps) {
  double sum = square_sum;
  if (!(square_sum <= FLT_MAX)) {
    sum = 0;
    for (int64_t i = 0; i < width; i++) sum += static_cast<double>(x[i]) * x[i];
  }
  return static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + eps));
}

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
  Sums squares = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) {
    const Vector v = load_some(x + i, count);
    squares.part[part] = fma(v, v, squares.part[part]);
  });
  write_rms(x, weight, y, width, inverse_rms(x, total(squares), width, eps), weight_offset);
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
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < width; i++) sum += x[i];
  const double mean = sum / static_cast<double>(width);
  for (int64_t i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(width) + eps);
  for (int64_t i = 0; i < width; i++)
    y[i] = static_cast<float>((x[i] - mean) * scale * (weight != nullptr ? weight[i] : 1.0f) + (bias != nullptr ? bias[i] : 0.0f));
}

void layer_norm_row(const float* x, const float* weight, const float* bias, float* y, int64_t width, float eps) {
  Sums sums = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) { sums.part[part] = add(sums.part[part], load_some(x + i, count)); });
  const double terms = static_cast<double>(width);
  const float mean = static_cast<float>(total(sums) / terms);

  // The mean is rounded; what it misses comes out of the centred sum.
  const Vector center = broadcast(mean);
  Sums rests = no_sums(), squares = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) {
    Vector v = load_some(x + i, count);
    if (count < kLanes) {
      float lanes[kLanes];
      store(lanes, center);
      std::memcpy(lanes, x + i, sizeof(float) * static_cast<size_t>(count));
      v = load(lanes);
    }
    v = sub(v, center);
    rests.part[part] = add(rests.part[part], v);
    squares.part[part] = fma(v, v, squares.part[part]);
  });
  const float square_sum = total(squares);
  if (!(square_sum <= FLT_MAX)) return layer_norm_wide(x, weight, bias, y, width, eps);
  const double rest = total(rests) / terms;
  double variance = square_sum / terms - rest * rest;
  if (variance < 0) variance = 0;
  const Vector shift = broadcast(static_cast<float>(rest)), scale = broadcast(static_cast<float>(1.0 / std::sqrt(variance + eps)));
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

namespace {

constexpr int64_t kGrain = 16384;  // elements per chunk

Status check_like(const char* op, const char* name, const TensorView& tensor, const TensorView& y) {
  HEDDLE_CHECK(y.rank >= 1 && same_dims(tensor, y) && tensor.dtype == DType::kF32 && y.dtype == DType::kF32, op,
               std::string(name) + " is " + describe(tensor) + " but y is " + describe(y) + ": expected f32 of equal shapes, rank 1 to 4");
  return Status::success();
}

Status check_weight(const char* op, const char* name, const TensorView& weight, const TensorView& x) {
  HEDDLE_CHECK(!weight.present() || (weight.rank == 1 && weight.dtype == DType::kF32 && weight.dims[0] == x.columns()), op,
               std::string(name) + " is " + describe(weight) + " but x is " + describe(x) + ": expected f32 [" + std::to_string(x.columns()) + "]");
  return Status::success();
}

const float* pointer_or_null(const TensorView& tensor) { return tensor.present() ? tensor.as<float>() : nullptr; }

}  // namespace

Status rms_norm_cpu(const RmsNormArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_like("rms_norm", "x", args.x, args.y));
  HEDDLE_TRY(check_weight("rms_norm", "weight", args.weight, args.x));
  const auto kernel = HEDDLE_DISPATCH(rms_norm_row);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  const float* weight = pointer_or_null(args.weight);
  parallel_rows(context, x.count, x.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), weight, args.y.as<float>() + y.offset(row), x.columns, args.eps, args.weight_offset);
  });
  return Status::success();
}

Status add_rms_norm_cpu(const AddRmsNormArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_like("add_rms_norm", "a", args.a, args.y));
  HEDDLE_TRY(check_like("add_rms_norm", "b", args.b, args.y));
  HEDDLE_TRY(check_like("add_rms_norm", "sum", args.sum, args.y));
  HEDDLE_TRY(check_weight("add_rms_norm", "weight", args.weight, args.a));
  const auto kernel = HEDDLE_DISPATCH(add_rms_norm_row);
  const Rows a = rows_of(args.a), b = rows_of(args.b), sum = rows_of(args.sum), y = rows_of(args.y);
  const float* weight = pointer_or_null(args.weight);
  parallel_rows(context, a.count, a.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.a.as<float>() + a.offset(row), args.b.as<float>() + b.offset(row), weight, args.sum.as<float>() + sum.offset(row),
             args.y.as<float>() + y.offset(row), a.columns, args.eps, args.weight_offset);
  });
  return Status::success();
}

Status layer_norm_cpu(const LayerNormArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_like("layer_norm", "x", args.x, args.y));
  HEDDLE_TRY(check_weight("layer_norm", "weight", args.weight, args.x));
  HEDDLE_TRY(check_weight("layer_norm", "bias", args.bias, args.x));
  const auto kernel = HEDDLE_DISPATCH(layer_norm_row);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  const float *weight = pointer_or_null(args.weight), *bias = pointer_or_null(args.bias);
  parallel_rows(context, x.count, x.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), weight, bias, args.y.as<float>() + y.offset(row), x.columns, args.eps);
  });
  return Status::success();
}

}  // namespace heddle
#endif
