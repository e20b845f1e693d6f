// One pass over a row of logits: its maximum, where that first is, and the sum of exp(x - maximum).
// No include guard: one copy per target, like cpu/simd.h. Include inside the HEDDLE_TARGET section, outside any namespace.
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {
namespace {

// f32 lanes within a block, f64 from block to block: the error does not grow with the row.
constexpr int64_t kLogitBlock = 2048;

// A NaN counts as -infinity and +infinity as the largest finite number.
HEDDLE_INLINE Vector tame(Vector x) { return min(max(x, broadcast(-HUGE_VALF)), broadcast(FLT_MAX)); }

// The last count < kLanes elements; missing lanes are -infinity.
HEDDLE_INLINE Vector load_last(const float* x, int64_t count) {
  float lanes[kLanes];
  store(lanes, broadcast(-HUGE_VALF));
  std::memcpy(lanes, x, sizeof(float) * static_cast<size_t>(count));
  return load(lanes);
}

// The largest element; NaN is passed over, and an empty block gives -infinity.
inline float block_max(const float* x, int64_t count) {
  Vector best[4];
  for (Vector& v : best) v = broadcast(-HUGE_VALF);
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int part = 0; part < 4; part++) best[part] = max(load(x + i + part * kLanes), best[part]);
  for (; i + kLanes <= count; i += kLanes) best[0] = max(load(x + i), best[0]);
  if (i < count) best[0] = max(load_last(x + i, count - i), best[0]);
  return reduce_max(max(max(best[0], best[1]), max(best[2], best[3])));
}

// sum of exp((x - maximum) * factor).
template <bool kTame>
inline float block_exp_sum(const float* x, int64_t count, float maximum, float factor) {
  const Vector top = broadcast(maximum), slope = broadcast(factor);
  const auto term = [&](Vector v) { return exp(mul(sub(kTame ? tame(v) : v, top), slope)); };
  Vector sum[4];
  for (Vector& v : sum) v = zero();
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int part = 0; part < 4; part++) sum[part] = add(sum[part], term(load(x + i + part * kLanes)));
  for (; i + kLanes <= count; i += kLanes) sum[0] = add(sum[0], term(load(x + i)));
  if (i < count) sum[0] = add(sum[0], term(load_last(x + i, count - i)));
  return reduce_add(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
}

struct LogitSum {
  float maximum;  // -infinity when no element is larger
  double sum;     // of exp(x - maximum); 0 when maximum is -infinity and kTame
  int64_t first;  // index of the first maximum; 0 when maximum is -infinity
};

// kTame: NaN counts as -infinity, +infinity as the largest finite number. Otherwise a NaN makes the sum NaN.
template <bool kTame>
inline LogitSum sum_logits(const float* x, int64_t count) {
  LogitSum result = {-HUGE_VALF, 0, 0};
  int64_t best = 0;
  for (int64_t at = 0; at < count; at += kLogitBlock) {
    const int64_t size = count - at < kLogitBlock ? count - at : kLogitBlock;
    float top = block_max(x + at, size);
    if (kTame && top > FLT_MAX) top = FLT_MAX;
    if (top > result.maximum) {
      if (result.sum != 0) result.sum *= std::exp(static_cast<double>(result.maximum) - top);
      result.maximum = top;
      best = at;
    }
    // Without a maximum so far every element is -infinity or NaN: measured from 0 they add 0 or NaN.
    const float top_so_far = result.maximum > -HUGE_VALF ? result.maximum : 0.0f;
    if (!kTame || result.maximum > -HUGE_VALF) result.sum += block_exp_sum<kTame>(x + at, size, top_so_far, 1.0f);
  }
  if (result.maximum > -HUGE_VALF) {
    while (!(x[best] >= result.maximum)) best++;
    result.first = best;
  }
  return result;
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif
