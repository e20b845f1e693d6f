// Statistics of a row, for norms and their gradients.
// No include guard: one copy per target, like cpu/simd.h. Include inside the HEDDLE_TARGET section, outside any namespace.
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

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
inline float inverse_rms(const float* x, float square_sum, int64_t width, float eps) {
  double sum = square_sum;
  if (!(square_sum <= FLT_MAX)) {
    sum = 0;
    for (int64_t i = 0; i < width; i++) sum += static_cast<double>(x[i]) * x[i];
  }
  return static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + eps));
}

inline float square_sum_of(const float* x, int64_t width) {
  Sums squares = no_sums();
  over_vectors(width, [&](int part, int64_t i, int count) {
    const Vector v = load_some(x + i, count);
    squares.part[part] = fma(v, v, squares.part[part]);
  });
  return total(squares);
}

inline float inverse_rms_of(const float* x, int64_t width, float eps) { return inverse_rms(x, square_sum_of(x, width), width, eps); }

struct WideStatistics {
  double mean, scale;  // scale: 1 / sqrt(variance + eps)
};

inline WideStatistics wide_statistics(const float* x, int64_t width, float eps) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < width; i++) sum += x[i];
  const double mean = sum / static_cast<double>(width);
  for (int64_t i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1.0 / std::sqrt(squares / static_cast<double>(width) + eps)};
}

// The normalised element is ((x - center) - shift) * scale; wide: squares leave f32 and wide_statistics must be used.
struct LayerStatistics {
  float center, shift, scale;
  bool wide;
};

inline LayerStatistics layer_statistics(const float* x, int64_t width, float eps) {
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
  if (!(square_sum <= FLT_MAX)) return {0, 0, 0, true};
  const double rest = total(rests) / terms;
  double variance = square_sum / terms - rest * rest;
  if (variance < 0) variance = 0;
  return {mean, static_cast<float>(rest), static_cast<float>(1.0 / std::sqrt(variance + eps)), false};
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif
