// rope_table and rope: angles once per step in f64, then a rotation of pairs of channels per layer.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/rope_ops.h"
#include "kernels/rope/rope_checks.h"
#include "kernels/rope/rotate_token.h"

#define HEDDLE_TARGET_FILE "kernels/rope/rope_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

// x and y may be the same memory: each pair is read before it is written.
template <bool kInverse>
HEDDLE_INLINE void rotate_halves(const float* x, const float* cosines, const float* sines, int64_t half, float* y) {
  for (int64_t i = 0; i < half; i += kLanes) {
    const int count = static_cast<int>(std::min<int64_t>(kLanes, half - i));
    const bool whole = count == kLanes;
    const auto read = [&](const float* p) { return whole ? load(p) : load_partial(p, count); };
    const Vector first = read(x + i), second = read(x + half + i), c = read(cosines + i), s = read(sines + i);
    const Vector left = kInverse ? fma(second, s, mul(first, c)) : sub(mul(first, c), mul(second, s));
    const Vector right = kInverse ? sub(mul(second, c), mul(first, s)) : fma(first, s, mul(second, c));
    if (whole) {
      store(y + i, left);
      store(y + half + i, right);
    } else {
      store_partial(y + i, left, count);
      store_partial(y + half + i, right, count);
    }
  }
}

template <bool kInverse>
HEDDLE_INLINE void rotate_pairs(const float* x, const float* cosines, const float* sines, int64_t half, float* y) {
  for (int64_t i = 0; i < half; i++) {
    const float first = x[2 * i], second = x[2 * i + 1], sine = kInverse ? -sines[i] : sines[i];
    y[2 * i] = first * cosines[i] - second * sine;
    y[2 * i + 1] = second * cosines[i] + first * sine;
  }
}

template <bool kInverse>
HEDDLE_INLINE void rotate_heads(const float* cosines, int64_t rotary, bool interleaved, const float* x, int64_t heads, int64_t width, float* y) {
  const int64_t half = rotary / 2;
  for (int64_t head = 0; head < heads; head++, x += width, y += width) {
    if (interleaved)
      rotate_pairs<kInverse>(x, cosines, cosines + half, half, y);
    else
      rotate_halves<kInverse>(x, cosines, cosines + half, half, y);
    if (x != y && rotary < width) std::memcpy(y + rotary, x + rotary, sizeof(float) * static_cast<size_t>(width - rotary));
  }
}

template <bool kInverse>
HEDDLE_INLINE void rotate_range(const RopeArgs& args, int64_t begin, int64_t end) {
  for (int64_t token = begin; token < end; token++)
    rotate_heads<kInverse>(args.table.row<const float>(token), args.table.dims[1], args.interleaved, args.x.row<const float>(token), args.x.dims[1],
                           args.x.dims[2], args.y.row<float>(token));
}

inline void rotate_token(const float* table, int64_t rotary, bool interleaved, const float* x, int64_t heads, int64_t width, float* y) {
  rotate_heads<false>(table, rotary, interleaved, x, heads, width, y);
}

inline void rotate_tokens(const RopeArgs& args, int64_t begin, int64_t end) {
  args.inverse ? rotate_range<true>(args, begin, end) : rotate_range<false>(args, begin, end);
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {
namespace {

constexpr int64_t kInlineAngles = 256;
constexpr int64_t kInlineElements = 1 << 14;
constexpr int64_t kChunkElements = 1 << 13;

// Runs body(begin, end) over tokens, in parallel when there are enough elements to share.
template <class Body>
void over_tokens(CpuContext& context, int64_t tokens, int64_t per_token, int64_t inline_elements, int64_t chunk_elements, const Body& body) {
  if (tokens * per_token <= inline_elements) return body(0, tokens);
  const int64_t step = std::max<int64_t>(1, chunk_elements / std::max<int64_t>(1, per_token));
  context.parallel((tokens + step - 1) / step,
                   [&](int64_t chunk, int) { body(chunk * step, std::min(tokens, (chunk + 1) * step)); });
}

void fill_table_row(const RopeTableArgs& args, int64_t token) {
  const int64_t half = args.table.dims[1] / 2;
  const int64_t position = std::max(args.positions.as<const int32_t>()[token], 0);
  int64_t length = position + 1;
  if (args.lengths.present()) length = std::max(length, int64_t{args.lengths.as<const int32_t>()[token]});
  const bool beyond = length > args.original_length;
  const bool dynamic = beyond && args.dynamic_factor > 0, long_table = beyond && !dynamic && args.long_frequencies.present();
  const float* frequencies = (long_table ? args.long_frequencies : args.frequencies).as<const float>();
  const double scale = long_table ? args.long_scale : args.scale;
  const double rotary = static_cast<double>(2 * half);
  double base = 0;
  if (dynamic) {
    const double factor = args.dynamic_factor;
    const double stretch = factor * static_cast<double>(length) / args.original_length - factor + 1;
    base = args.base * std::pow(stretch, rotary / (rotary - 2));
  }
  float* cosines = args.table.row<float>(token);
  for (int64_t i = 0; i < half; i++) {
    const double frequency = dynamic ? std::pow(base, -2.0 * static_cast<double>(i) / rotary) : double{frequencies[i]};
    const double angle = static_cast<double>(position) * frequency;
    cosines[i] = static_cast<float>(scale * std::cos(angle));
    cosines[half + i] = static_cast<float>(scale * std::sin(angle));
  }
}

}  // namespace

Status rope_table_cpu(const RopeTableArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_rope_table(args));
  const int64_t tokens = args.table.dims[0], half = args.table.dims[1] / 2;
  over_tokens(context, tokens, half, kInlineAngles, kInlineAngles, [&](int64_t begin, int64_t end) {
    for (int64_t token = begin; token < end; token++) fill_table_row(args, token);
  });
  return Status::success();
}

void rope_rotate_token(const float* table, int64_t rotary, bool interleaved, const float* x, int64_t heads, int64_t width, float* y) {
  HEDDLE_DISPATCH(rotate_token)(table, rotary, interleaved, x, heads, width, y);
}

Status rope_cpu(const RopeArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_rope(args));
  const auto rotate_tokens = HEDDLE_DISPATCH(rotate_tokens);
  over_tokens(context, args.x.dims[0], args.x.dims[1] * args.table.dims[1], kInlineElements, kChunkElements,
              [&](int64_t begin, int64_t end) { rotate_tokens(args, begin, end); });
  return Status::success();
}

}  // namespace heddle
#endif
