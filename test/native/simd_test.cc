// The vectors of cpu/simd.h on every instruction-set target of this machine, against the same in scalars.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "core/float16.h"
#include "cpu/targets.h"

// Only plain arrays cross between a target's code and the checks: a function of a standard header that the code of one
// target brought into being would be everybody's.
#if !defined(HEDDLE_TARGET_PASS)
enum class VectorOp { kAdd, kSub, kMul, kDiv, kMax, kMin, kFma, kRound, kScale, kAbs, kCopySign, kSelectLess, kExp, kTanh };
enum class Halves { kBf16, kF16, kBf16Even, kBf16Odd };
#endif

#define HEDDLE_TARGET_FILE "../../test/native/simd_test.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "cpu/transpose.h"

namespace heddle::HEDDLE_TARGET {
namespace {

Vector vector_op(VectorOp op, Vector a, Vector b, Vector c) {
  switch (op) {
    case VectorOp::kAdd:
      return add(a, b);
    case VectorOp::kSub:
      return sub(a, b);
    case VectorOp::kMul:
      return mul(a, b);
    case VectorOp::kDiv:
      return div(a, b);
    case VectorOp::kMax:
      return max(a, b);
    case VectorOp::kMin:
      return min(a, b);
    case VectorOp::kFma:
      return fma(a, b, c);
    case VectorOp::kRound:
      return round_nearest(a);
    case VectorOp::kScale:
      return scale_by_power(a, b);
    case VectorOp::kAbs:
      return abs(a);
    case VectorOp::kCopySign:
      return copy_sign(a, b);
    case VectorOp::kSelectLess:
      return select_less(a, b, c, broadcast(-1.0f));
    case VectorOp::kExp:
      return exp(a);
    case VectorOp::kTanh:
      return tanh(a);
  }
  return zero();
}

// a, b, c and y have room for whole vectors beyond count.
void map_vectors(VectorOp op, const float* a, const float* b, const float* c, float* y, int count) {
  for (int i = 0; i < count; i += kLanes) store(y + i, vector_op(op, load(a + i), load(b + i), load(c + i)));
}

// `count` halves, a multiple of 32; pairs give half as many floats.
void widen(Halves how, const uint16_t* from, float* to, int count) {
  if (how == Halves::kBf16)
    for (int i = 0; i < count; i += kLanes) store(to + i, load_bf16(from + i));
  else if (how == Halves::kF16)
    for (int i = 0; i < count; i += kLanes) store(to + i, load_f16(from + i));
  else if (how == Halves::kBf16Even)
    for (int i = 0; i < count / 2; i += kLanes) store(to + i, load_bf16_even(from + 2 * i));
  else
    for (int i = 0; i < count / 2; i += kLanes) store(to + i, load_bf16_odd(from + 2 * i));
}

// `part` has `count` elements, `whole` a vector of them.
void copy_partial(const float* part, const float* whole, float* loaded, float* stored, int count) {
  store(loaded, load_partial(part, count));
  store_partial(stored, load(whole), count);
}

int lanes() { return kLanes; }
float add_lanes(const float* from) { return reduce_add(load(from)); }
float largest_lane(const float* from) { return reduce_max(load(from)); }
void transpose(const float* from, float* to, int64_t to_stride) {
  transpose_block([&](int row) { return from + 16 * row; }, to, to_stride);
}
#if defined(__x86_64__) && !defined(HEDDLE_TARGET_AVX2) && !defined(HEDDLE_TARGET_AVX512)
bool rounds_once() { return false; }
#else
bool rounds_once() { return true; }
#endif

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {
namespace {

constexpr int kMostLanes = 16;
constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
const std::vector<float> kNumbers = {0.0f,     -0.0f,     1.0f,      -1.0f,    0.5f,      1.5f,      -2.5f,  3.1415927f, 1e-40f,
                                     -3e-39f,  1.17549e-38f, 8388609.0f, -3e9f, 1.0000001f, 3.4028e38f, -3.4e38f, kInfinity, -kInfinity, kNan};

// Runs body under each target; a failure inside names it.
template <class Body>
void on_every_target(const Body& body) {
  const CpuTarget best = cpu_target();
  for (int i = 0; i < kCpuTargetCount; i++) {
    const auto target = static_cast<CpuTarget>(i);
    if (!set_cpu_target(target)) continue;
    const int before = test::failures();
    body();
    if (test::failures() != before) std::fprintf(stderr, "  (target %s)\n", cpu_target_name(target));
  }
  CHECK(set_cpu_target(best));
}

bool same(float a, float b) { return float_bits(a) == float_bits(b) || (std::isnan(a) && std::isnan(b)); }

std::vector<float> apply(VectorOp op, std::vector<float> a, std::vector<float> b, std::vector<float> c) {
  const size_t count = a.size(), room = count + kMostLanes;
  a.resize(room), b.resize(room), c.resize(room);
  std::vector<float> y(room);
  HEDDLE_DISPATCH(map_vectors)(op, a.data(), b.data(), c.data(), y.data(), static_cast<int>(count));
  y.resize(count);
  return y;
}

// Every pair of kNumbers, with c going round among them.
template <class Scalar>
void check_pairs(VectorOp op, const Scalar& scalar) {
  std::vector<float> a, b, c;
  for (const float left : kNumbers)
    for (const float right : kNumbers) {
      a.push_back(left), b.push_back(right);
      c.push_back(kNumbers[c.size() % (kNumbers.size() - 2)]);
    }
  on_every_target([&] {
    const std::vector<float> y = apply(op, a, b, c);
    for (size_t i = 0; i < y.size(); i++)
      if (!same(y[i], scalar(a[i], b[i], c[i])))
        CHECK_EQUAL("f(" + std::to_string(a[i]) + ", " + std::to_string(b[i]) + ", " + std::to_string(c[i]) + ") = " + std::to_string(y[i]),
                    std::to_string(scalar(a[i], b[i], c[i])));
  });
}

// The largest relative error of op from `first` to `last`.
template <class Exact>
double worst_error(VectorOp op, double first, double last, const Exact& exact) {
  std::vector<float> x;
  for (int i = 0; i <= 20'000; i++) x.push_back(static_cast<float>(first + (last - first) * i / 20'000));
  const std::vector<float> y = apply(op, x, x, x);
  double worst = 0;
  for (size_t i = 0; i < x.size(); i++) {
    const double expected = exact(static_cast<double>(x[i]));
    const double error = expected == 0 ? std::fabs(y[i]) : std::fabs(y[i] - expected) / std::fabs(expected);
    worst = error <= worst ? worst : error;  // a NaN counts
  }
  return worst;
}

}  // namespace

TEST("arithmetic") {
  check_pairs(VectorOp::kAdd, [](float a, float b, float) { return a + b; });
  check_pairs(VectorOp::kSub, [](float a, float b, float) { return a - b; });
  check_pairs(VectorOp::kMul, [](float a, float b, float) { return a * b; });
  check_pairs(VectorOp::kDiv, [](float a, float b, float) { return a / b; });
  check_pairs(VectorOp::kFma, [](float a, float b, float c) { return HEDDLE_DISPATCH(rounds_once)() ? std::fma(a, b, c) : a * b + c; });
}

TEST("signs, and the larger and the smaller: the second where one is not a number") {
  check_pairs(VectorOp::kMax, [](float a, float b, float) { return a > b ? a : b; });
  check_pairs(VectorOp::kMin, [](float a, float b, float) { return a < b ? a : b; });
  check_pairs(VectorOp::kAbs, [](float a, float, float) { return std::fabs(a); });
  check_pairs(VectorOp::kCopySign, [](float a, float b, float) { return std::copysign(a, b); });
  check_pairs(VectorOp::kSelectLess, [](float a, float b, float c) { return a < b ? c : -1.0f; });
}

TEST("rounding goes to the nearest, and to even between two") {
  check_pairs(VectorOp::kRound, [](float a, float, float) { return std::nearbyint(a); });
}

TEST("powers of two scale once, into subnormals and to infinity") {
  std::vector<float> a, n;
  for (const float value : {1.0f, 1.5f, -1.9999999f, 1.0000001f})
    for (int power = -160; power <= 200; power++) a.push_back(value), n.push_back(static_cast<float>(power));
  on_every_target([&] {
    const std::vector<float> y = apply(VectorOp::kScale, a, n, a);
    for (size_t i = 0; i < y.size(); i++) CHECK_EQUAL(y[i], std::ldexp(a[i], static_cast<int>(n[i])));
  });
}

TEST("16-bit floats: all of them") {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); i++) halves[i] = static_cast<uint16_t>(i);
  on_every_target([&] {
    std::vector<float> wide(halves.size());
    const auto widened = [&](Halves how) {
      HEDDLE_DISPATCH(widen)(how, halves.data(), wide.data(), static_cast<int>(halves.size()));
      return wide;
    };
    const std::vector<float> f16 = widened(Halves::kF16), bf16 = widened(Halves::kBf16);
    const std::vector<float> even = widened(Halves::kBf16Even), odd = widened(Halves::kBf16Odd);
    int wrong = 0;
    for (size_t i = 0; i < halves.size(); i++) {
      wrong += !same(f16[i], f16_to_f32(halves[i])) + !same(bf16[i], bf16_to_f32(halves[i]));
      wrong += !same((i % 2 == 0 ? even : odd)[i / 2], bf16_to_f32(halves[i]));
    }
    CHECK_EQUAL(wrong, 0);
  });
}

TEST("parts of vectors touch nothing beyond them") {
  on_every_target([] {
    float from[kMostLanes];
    for (int i = 0; i < kMostLanes; i++) from[i] = static_cast<float>(i + 1);
    for (int count = 0; count <= HEDDLE_DISPATCH(lanes)(); count++) {
      float loaded[kMostLanes] = {}, stored[kMostLanes] = {};
      const std::vector<float> part(from, from + count);
      HEDDLE_DISPATCH(copy_partial)(part.data(), from, loaded, stored, count);
      for (int i = 0; i < HEDDLE_DISPATCH(lanes)(); i++) {
        CHECK_EQUAL(loaded[i], i < count ? from[i] : 0.0f);
        CHECK_EQUAL(stored[i], i < count ? from[i] : 0.0f);
      }
    }
  });
}

TEST("lanes are summed as a tree, halves first") {
  on_every_target([] {
    const int lanes = HEDDLE_DISPATCH(lanes)();
    // 1e8 is a multiple of 8, but not all sums of two such numbers are floats: only in this order is nothing lost.
    float values[kMostLanes];
    for (int i = 0; i < lanes; i++) values[i] = (i < lanes / 2 ? 1e8f : -1e8f) + static_cast<float>(8 * i);
    CHECK_EQUAL(HEDDLE_DISPATCH(add_lanes)(values), static_cast<float>(4 * lanes * (lanes - 1)));
    for (int largest = 0; largest < lanes; largest++) {
      for (int i = 0; i < lanes; i++) values[i] = i == largest ? -1.0f : -2.0f - static_cast<float>(i);
      CHECK_EQUAL(HEDDLE_DISPATCH(largest_lane)(values), -1.0f);
    }
  });
}

TEST("squares are turned around") {
  on_every_target([] {
    constexpr int kStride = 19;
    float from[16 * 16], to[16 * kStride];
    for (int i = 0; i < 16 * 16; i++) from[i] = static_cast<float>(i);
    for (float& value : to) value = -1.0f;
    HEDDLE_DISPATCH(transpose)(from, to, kStride);
    for (int i = 0; i < 16; i++)
      for (int j = 0; j < kStride; j++) {
        if (i == 15 && j >= 16) break;
        CHECK_EQUAL(to[i * kStride + j], j < 16 ? from[j * 16 + i] : -1.0f);
      }
  });
}

TEST("exp and tanh are as near as they say") {
  on_every_target([] {
    const auto exact_exp = [](double x) { return std::exp(x); };
    const auto exact_tanh = [](double x) { return std::tanh(x); };
    CHECK(worst_error(VectorOp::kExp, -87.3, 88.7, exact_exp) < 2e-7);
    CHECK(worst_error(VectorOp::kTanh, -10, 10, exact_tanh) < 3e-7);
    CHECK(worst_error(VectorOp::kTanh, -1e-3, 1e-3, exact_tanh) < 3e-7);
    const std::vector<float> ends = {kInfinity, -kInfinity, kNan, 1000.0f, -1000.0f};
    const std::vector<float> powers = apply(VectorOp::kExp, ends, ends, ends), tangents = apply(VectorOp::kTanh, ends, ends, ends);
    const float expected_power[] = {kInfinity, 0, kNan, kInfinity, 0}, expected_tangent[] = {1, -1, kNan, 1, -1};
    for (size_t i = 0; i < ends.size(); i++) {
      CHECK(same(powers[i], expected_power[i]));
      CHECK(same(tangents[i], expected_tangent[i]));
    }
  });
}

}  // namespace heddle

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
#endif
