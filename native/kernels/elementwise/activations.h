// The functions of activate and gate, and their derivatives. No include guard: one copy per target, like cpu/simd.h.
// Include inside the HEDDLE_TARGET section, outside any namespace.
#include <cfloat>

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
// The upper tail Q(a) = e^(-a^2 / 2) t P(t) of the normal distribution, t = 1 / (1 + 0.3 a), P fitted to 4e-9 on 0 <= a <= 16.
struct NormalTail {
  Vector tail, exponential;  // Q(|x|) and e^(-x^2 / 2)

  static HEDDLE_INLINE NormalTail of(Vector x) {
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
    const Vector exact = fma(mul(lost, broadcast(-0.5f)), e, e);
    return {mul(exact, mul(p, t)), exact};
  }
};
HEDDLE_INLINE Vector normal_cdf(Vector x, NormalTail normal) { return select_less(x, zero(), normal.tail, sub(broadcast(1.0f), normal.tail)); }

// x Phi(x).
struct Gelu {
  static HEDDLE_INLINE Vector of(Vector x) { return mul(finite_below(x), normal_cdf(x, NormalTail::of(x))); }
};

// A function's value and its derivative. Where x is infinite the derivative is its limit; a NaN stays a NaN.
struct Slope {
  Vector value, slope;
};

// x within +-limit, beyond which the derivative has reached its limit; a NaN passes.
HEDDLE_INLINE Vector within(Vector x, float limit) { return min(broadcast(limit), max(broadcast(-limit), x)); }

struct ReluSlope {
  static HEDDLE_INLINE Slope of(Vector x) { return {max(zero(), x), select_less(zero(), x, broadcast(1.0f), zero())}; }
};
// e / (1 + e)^2 with e = e^-|x|, without the cancellation of s (1 - s).
struct SigmoidSlope {
  static HEDDLE_INLINE Slope of(Vector x) {
    const Vector one = broadcast(1.0f);
    const Vector e = exp(sub(zero(), abs(x)));
    const Vector inverse = div(one, add(one, e));
    const Vector low = mul(e, inverse);
    return {select_less(x, zero(), low, inverse), mul(low, inverse)};
  }
};
struct SiluSlope {
  static HEDDLE_INLINE Slope of(Vector x) {
    const Slope s = SigmoidSlope::of(x);
    return {mul(finite_below(x), s.value), fma(within(x, FLT_MAX), s.slope, s.value)};
  }
};
// 1 - tanh^2 = 4 e / (1 + e)^2 with e = e^(-2 |x|).
struct TanhSlope {
  static HEDDLE_INLINE Slope of(Vector x) { return {tanh(x), mul(broadcast(4.0f), SigmoidSlope::of(add(x, x)).slope)}; }
};
struct GeluTanhSlope {
  static HEDDLE_INLINE Slope of(Vector x) {
    const Vector near = within(x, 30.0f);
    const Vector square = mul(near, near);
    const Vector inner = fma(square, broadcast(0.0713548162726f), broadcast(1.59576912160573f));
    const Vector inner_slope = fma(square, broadcast(3 * 0.0713548162726f), broadcast(1.59576912160573f));
    const Slope s = SigmoidSlope::of(mul(near, inner));
    return {GeluTanh::of(x), fma(mul(near, inner_slope), s.slope, s.value)};
  }
};
// Phi(x) + x phi(x).
struct GeluSlope {
  static HEDDLE_INLINE Slope of(Vector x) {
    const NormalTail normal = NormalTail::of(x);
    const Vector cdf = normal_cdf(x, normal);
    const Vector density = mul(normal.exponential, broadcast(0.398942280401432678f));
    return {mul(finite_below(x), cdf), fma(within(x, 16.0f), density, cdf)};
  }
};

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif
