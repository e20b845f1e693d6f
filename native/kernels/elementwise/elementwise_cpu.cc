#include <cfloat>
#include <cstring>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/elementwise_ops.h"

#define HEDDLE_TARGET_FILE "kernels/elementwise/elementwise_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {
namespace {

// e^-|x| never overflows, and the tail towards 0 keeps its relative accuracy.
HEDDLE_INLINE Vector sigmoid(Vector x) {
  const Vector e = exp(sub(zero(), abs(x)));
  const Vector one = broadcast(1.0f);
  return div(select_less(x, zero(), e, one), add(one, e));
}

// Keeps -infinity * 0 out of x * sigmoid(x); a NaN passes.
HEDDLE_INLINE Vector finite_below(Vector x) { return max(broadcast(-FLT_MAX), x); }

struct Relu {
  static HEDDLE_INLINE Vector of(Vector x) { return max(zero(), x); }
};
struct Sigmoid {
  static HEDDLE_INLINE Vector of(Vector x) { return sigmoid(x); }
};
struct Silu {
  static HEDDLE_INLINE Vector of(Vector x) { return mul(finite_below(x), sigmoid(x)); }
};
struct Tanh {
  static HEDDLE_INLINE Vector of(Vector x) { return tanh(x); }
};
// 0.5 x (1 + tanh u) = x sigmoid(2u), without the cancellation for negative u.
struct GeluTanh {
  static HEDDLE_INLINE Vector of(Vector x) {
    const Vector inner = fma(mul(x, x), broadcast(0.0713548162726f), broadcast(1.59576912160573f));  // 2 sqrt(2 / pi) (0.044715 x^2 + 1)
    return mul(finite_below(x), sigmoid(mul(x, inner)));
  }
};
// x Phi(x). The upper tail Q(a) = e^(-a^2 / 2) t P(t), t = 1 / (1 + 0.3 a), P fitted to 4e-9 on 0 <= a <= 16.
struct Gelu {
  static HEDDLE_INLINE Vector of(Vector x) {
    const Vector a = min(broadcast(16.0f), abs(x));
    const Vector t = div(broadcast(1.0f), fma(broadcast(0.3f), a, broadcast(1.0f)));
    Vector p = broadcast(-0.02062996548589421f);
    p = fma(p, t, broadcast(0.11247210285494419f));
    p = fma(p, t, broadcast(-0.22830256743227736f));
    p = fma(p, t, broadcast(0.19190787588035135f));
    p = fma(p, t, broadcast(-0.07953041781231511f));
    p = fma(p, t, broadcast(0.09621681086788961f));
    p = fma(p, t, broadcast(0.07836793092339629f));
    p = fma(p, t, broadcast(0.11024030900051482f));
    p = fma(p, t, broadcast(0.11957119626593535f));
    p = fma(p, t, broadcast(0.11968672320389634f));
    // Where fma is fused, the rounding error of a^2 is put back: it would be multiplied by a^2 in the result.
    const Vector square = mul(a, a);
    const Vector lost = fma(a, a, sub(zero(), square));
    const Vector e = exp(mul(square, broadcast(-0.5f)));
    const Vector tail = mul(fma(mul(lost, broadcast(-0.5f)), e, e), mul(p, t));
    return mul(finite_below(x), select_less(x, zero(), tail, sub(broadcast(1.0f), tail)));
  }
};

template <class Function>
inline void map(const float* x, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, Function::of(load(x + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, Function::of(load_partial(x + i, rest)), rest);
}

template <class Function>
inline void map_times(const float* x, const float* factor, float* y, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, mul(Function::of(load(x + i)), load(factor + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, mul(Function::of(load_partial(x + i, rest)), load_partial(factor + i, rest)), rest);
}

void activate(ActivateFunction function, const float* x, float* y, int64_t count) {
  switch (function) {
    case ActivateFunction::kRelu:
      return map<Relu>(x, y, count);
    case ActivateFunction::kGelu:
      return map<Gelu>(x, y, count);
    case ActivateFunction::kGeluTanh:
      return map<GeluTanh>(x, y, count);
    case ActivateFunction::kSilu:
      return map<Silu>(x, y, count);
    case ActivateFunction::kSigmoid:
      return map<Sigmoid>(x, y, count);
    case ActivateFunction::kTanh:
      return map<Tanh>(x, y, count);
  }
}

void gate(GateFunction function, const float* x, const float* up, float* y, int64_t count) {
  switch (function) {
    case GateFunction::kRelu:
      return map_times<Relu>(x, up, y, count);
    case GateFunction::kGelu:
      return map_times<Gelu>(x, up, y, count);
    case GateFunction::kGeluTanh:
      return map_times<GeluTanh>(x, up, y, count);
    case GateFunction::kSilu:
      return map_times<Silu>(x, up, y, count);
    case GateFunction::kSigmoid:
      return map_times<Sigmoid>(x, up, y, count);
    case GateFunction::kTanh:
      return map_times<Tanh>(x, up, y, count);
  }
}

// Plain loops: one rounding per element, and compilers vectorise them.
void add_arrays(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = a[i] + b[i];
}

void mul_arrays(const float* a, const float* b, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = a[i] * b[i];
}

void scale_array(const float* x, float factor, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = factor * x[i];
}

void soft_cap(const float* x, float cap, float* y, int64_t count) {
  const Vector limit = broadcast(cap);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, mul(limit, tanh(div(load(x + i), limit))));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_partial(y + i, mul(limit, tanh(div(load_partial(x + i, rest), limit))), rest);
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kCheapGrain = 16384;     // elements per chunk of memory-bound loops
constexpr int64_t kFunctionGrain = 4096;   // of loops with an exponential

Status check_pair(const char* op, const char* name, const TensorView& x, const TensorView& y) {
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y), op, std::string(name) + " is " + describe(x) + " but y is " + describe(y) + ": expected equal shapes of rank 1 to 4");
  HEDDLE_CHECK(x.dtype == DType::kF32 && y.dtype == DType::kF32, op, std::string(name) + " is " + describe(x) + ", y is " + describe(y) + ": expected f32");
  return Status::success();
}

// body(x, y, count) over contiguous pieces of two equal shapes.
template <class Body>
void over_pieces(CpuContext& context, const TensorView& x, const TensorView& y, int64_t grain, const Body& body) {
  const bool flat = x.dense() && y.dense();
  parallel_pieces(context, flat ? 1 : x.dims[0], flat ? x.elements() : x.inner_elements(), grain, [&](int64_t row, int64_t column, int64_t count) {
    body((flat ? x.as<float>() : x.row<float>(row)) + column, (flat ? y.as<float>() : y.row<float>(row)) + column, count);
  });
}

// The same with a second input.
template <class Body>
void over_pieces(CpuContext& context, const TensorView& a, const TensorView& b, const TensorView& y, int64_t grain, const Body& body) {
  const bool flat = a.dense() && b.dense() && y.dense();
  parallel_pieces(context, flat ? 1 : a.dims[0], flat ? a.elements() : a.inner_elements(), grain, [&](int64_t row, int64_t column, int64_t count) {
    if (flat) row = 0;
    const auto at = [&](const TensorView& tensor) { return (flat ? tensor.as<float>() : tensor.row<float>(row)) + column; };
    body(at(a), at(b), at(y), count);
  });
}

}  // namespace

Status add_cpu(const AddArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("add", "a", args.a, args.y));
  HEDDLE_TRY(check_pair("add", "b", args.b, args.y));
  over_pieces(context, args.a, args.b, args.y, kCheapGrain, HEDDLE_DISPATCH(add_arrays));
  return Status::success();
}

Status mul_cpu(const MulArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("mul", "a", args.a, args.y));
  HEDDLE_TRY(check_pair("mul", "b", args.b, args.y));
  over_pieces(context, args.a, args.b, args.y, kCheapGrain, HEDDLE_DISPATCH(mul_arrays));
  return Status::success();
}

Status add_bias_cpu(const AddBiasArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("add_bias", "x", args.x, args.y));
  HEDDLE_CHECK(args.bias.rank == 1 && args.bias.dtype == DType::kF32 && args.bias.dims[0] == args.x.columns(), "add_bias",
               "x is " + describe(args.x) + " but bias is " + describe(args.bias) + ": expected f32 [" + std::to_string(args.x.columns()) + "]");
  const auto kernel = HEDDLE_DISPATCH(add_arrays);
  const Rows x = rows_of(args.x), y = rows_of(args.y);
  parallel_rows(context, x.count, x.columns, kCheapGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(args.x.as<float>() + x.offset(row), args.bias.as<float>(), args.y.as<float>() + y.offset(row), x.columns);
  });
  return Status::success();
}

Status scale_cpu(const ScaleArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("scale", "x", args.x, args.y));
  const auto kernel = HEDDLE_DISPATCH(scale_array);
  over_pieces(context, args.x, args.y, kCheapGrain, [&](const float* x, float* y, int64_t count) { kernel(x, args.factor, y, count); });
  return Status::success();
}

Status activate_cpu(const ActivateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("activate", "x", args.x, args.y));
  const auto kernel = HEDDLE_DISPATCH(activate);
  over_pieces(context, args.x, args.y, kFunctionGrain, [&](const float* x, float* y, int64_t count) { kernel(args.function, x, y, count); });
  return Status::success();
}

Status gate_cpu(const GateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("gate", "gate", args.gate, args.y));
  HEDDLE_TRY(check_pair("gate", "up", args.up, args.y));
  const auto kernel = HEDDLE_DISPATCH(gate);
  over_pieces(context, args.gate, args.up, args.y, kFunctionGrain,
              [&](const float* x, const float* up, float* y, int64_t count) { kernel(args.function, x, up, y, count); });
  return Status::success();
}

Status soft_cap_cpu(const SoftCapArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("soft_cap", "x", args.x, args.y));
  HEDDLE_CHECK(args.cap > 0 && args.cap <= FLT_MAX, "soft_cap", "cap is " + std::to_string(args.cap) + ": expected a finite number above 0");
  const auto kernel = HEDDLE_DISPATCH(soft_cap);
  over_pieces(context, args.x, args.y, kFunctionGrain, [&](const float* x, float* y, int64_t count) { kernel(x, args.cap, y, count); });
  return Status::success();
}

Status zeros_like_cpu(const ZerosLikeArgs& args, CpuContext& context) {
  HEDDLE_CHECK(args.y.rank >= 1 && args.y.dtype == DType::kF32 && args.y.dense() && same_dims(args.x, args.y), "zeros_like",
               "x is " + describe(args.x) + " but y is " + describe(args.y) + ": expected f32 of x's shape without gaps");
  float* y = args.y.as<float>();
  parallel_pieces(context, 1, args.y.elements(), kCheapGrain,
                  [&](int64_t, int64_t at, int64_t count) { std::memset(y + at, 0, static_cast<size_t>(count) * sizeof(float)); });
  return Status::success();
}

Status accumulate_cpu(const AccumulateArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_pair("accumulate", "x", args.x, args.sum));
  HEDDLE_CHECK(args.target.data == args.sum.data, "accumulate", "sum does not lie over target");
  over_pieces(context, args.sum, args.x, args.sum, kCheapGrain, HEDDLE_DISPATCH(add_arrays));
  return Status::success();
}

Status copy_cpu(const CopyArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_CHECK(x.rank >= 1 && same_dims(x, y) && x.dtype == y.dtype, "copy",
               "x is " + describe(x) + " but y is " + describe(y) + ": expected equal dtypes and shapes of rank 1 to 4");
  const int64_t bytes = static_cast<int64_t>(dtype_bytes(x.dtype));
  const bool flat = x.dense() && y.dense();
  parallel_pieces(context, flat ? 1 : x.dims[0], (flat ? x.elements() : x.inner_elements()) * bytes, 65536, [&](int64_t row, int64_t column, int64_t count) {
    std::memcpy(y.as<char>() + (flat ? 0 : row * y.leading_stride * bytes) + column, x.as<char>() + (flat ? 0 : row * x.leading_stride * bytes) + column,
                static_cast<size_t>(count));
  });
  return Status::success();
}

}  // namespace heddle
#endif
