// The functions of activate and gate, and their derivatives, for CUDA kernels: the formulas of activations.h, one number at a time.
#pragma once
#include <cfloat>
#include <cmath>
#include <cstdint>

#include "cuda/vocabulary.cuh"

namespace heddle {

// In the order of the choices of activate, gate and their gradients.
enum class Activation : int32_t { kRelu, kGelu, kGeluTanh, kSilu, kSigmoid, kTanh };

// A function's value and its derivative. Where x is infinite the derivative is its limit; a NaN stays a NaN.
struct Slope {
  float value, slope;
};

namespace activations {

// Not fmaxf and fminf, which drop a NaN.
__device__ __forceinline__ float at_least(float limit, float x) { return limit > x ? limit : x; }
__device__ __forceinline__ float at_most(float limit, float x) { return limit < x ? limit : x; }
__device__ __forceinline__ float within(float x, float limit) { return at_most(limit, at_least(-limit, x)); }
// Keeps -infinity * 0 out of x * sigmoid(x).
__device__ __forceinline__ float finite_below(float x) { return at_least(-FLT_MAX, x); }

// e / (1 + e)^2 with e = e^-|x| is the derivative, without the cancellation of s (1 - s).
struct Sigmoid {
  static __device__ __forceinline__ float of(float x) {
    const float e = expf(-fabsf(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
  }
  static __device__ __forceinline__ Slope slope(float x) {
    const float e = expf(-fabsf(x));
    const float inverse = 1.0f / (1.0f + e);
    const float low = e * inverse;
    return {x < 0 ? low : inverse, low * inverse};
  }
};

struct Relu {
  static __device__ __forceinline__ float of(float x) { return at_least(0.0f, x); }
  static __device__ __forceinline__ Slope slope(float x) { return {of(x), x > 0 ? 1.0f : 0.0f}; }
};

struct Silu {
  static __device__ __forceinline__ float of(float x) { return finite_below(x) * Sigmoid::of(x); }
  static __device__ __forceinline__ Slope slope(float x) {
    const Slope s = Sigmoid::slope(x);
    return {finite_below(x) * s.value, fmaf(within(x, FLT_MAX), s.slope, s.value)};
  }
};

struct Tanh {
  static __device__ __forceinline__ float of(float x) { return tanhf(x); }
  // 1 - tanh^2 = 4 e / (1 + e)^2 with e = e^(-2 |x|).
  static __device__ __forceinline__ Slope slope(float x) { return {tanhf(x), 4.0f * Sigmoid::slope(x + x).slope}; }
};

// 0.5 x (1 + tanh u) = x sigmoid(2u), without the cancellation for negative u.
struct GeluTanh {
  static constexpr float kLinear = 1.59576912160573f;   // 2 sqrt(2 / pi)
  static constexpr float kCubic = 0.0713548162726f;     // 2 sqrt(2 / pi) 0.044715
  static __device__ __forceinline__ float of(float x) { return finite_below(x) * Sigmoid::of(x * fmaf(x * x, kCubic, kLinear)); }
  static __device__ __forceinline__ Slope slope(float x) {
    const float near = within(x, 30.0f);  // beyond, the derivative has reached its limit
    const float square = near * near;
    const Slope s = Sigmoid::slope(near * fmaf(square, kCubic, kLinear));
    return {finite_below(x) * s.value, fmaf(near * fmaf(square, 3 * kCubic, kLinear), s.slope, s.value)};
  }
};

// The upper tail Q(a) = e^(-a^2 / 2) t P(t) of the normal distribution, t = 1 / (1 + 0.3 a), P fitted to 4e-9 on 0 <= a <= 16.
struct NormalTail {
  float tail, exponential;  // Q(|x|) and e^(-x^2 / 2)

  static __device__ __forceinline__ NormalTail of(float x) {
    const float a = at_most(16.0f, fabsf(x));
    const float t = 1.0f / fmaf(0.3f, a, 1.0f);
    float p = -0.02062996548589421f;
    p = fmaf(p, t, 0.11247210285494419f);
    p = fmaf(p, t, -0.22830256743227736f);
    p = fmaf(p, t, 0.19190787588035135f);
    p = fmaf(p, t, -0.07953041781231511f);
    p = fmaf(p, t, 0.09621681086788961f);
    p = fmaf(p, t, 0.07836793092339629f);
    p = fmaf(p, t, 0.11024030900051482f);
    p = fmaf(p, t, 0.11957119626593535f);
    p = fmaf(p, t, 0.11968672320389634f);
    // The rounding error of a^2 is put back: it would be multiplied by a^2 in the result.
    const float square = a * a;
    const float lost = fmaf(a, a, -square);
    const float e = expf(-0.5f * square);
    const float exact = fmaf(-0.5f * lost, e, e);
    return {exact * (p * t), exact};
  }
};
__device__ __forceinline__ float normal_cdf(float x, const NormalTail& normal) { return x < 0 ? normal.tail : 1.0f - normal.tail; }

// x Phi(x), whose derivative is Phi(x) + x phi(x).
struct Gelu {
  static __device__ __forceinline__ float of(float x) { return finite_below(x) * normal_cdf(x, NormalTail::of(x)); }
  static __device__ __forceinline__ Slope slope(float x) {
    const NormalTail normal = NormalTail::of(x);
    const float cdf = normal_cdf(x, normal);
    return {finite_below(x) * cdf, fmaf(within(x, 16.0f), normal.exponential * 0.398942280401432678f, cdf)};
  }
};

}  // namespace activations

// Calls body(a function) once: work on several numbers inside, so that the choice is made once for all.
template <class Body>
__device__ __forceinline__ void with_activation(Activation function, const Body& body) {
  switch (function) {
    case Activation::kRelu:
      return body(activations::Relu{});
    case Activation::kGelu:
      return body(activations::Gelu{});
    case Activation::kGeluTanh:
      return body(activations::GeluTanh{});
    case Activation::kSilu:
      return body(activations::Silu{});
    case Activation::kSigmoid:
      return body(activations::Sigmoid{});
    case Activation::kTanh:
      return body(activations::Tanh{});
  }
}

__device__ __forceinline__ float activation(Activation function, float x) {
  float value = 0;
  with_activation(function, [&](auto f) { value = f.of(x); });
  return value;
}

__device__ __forceinline__ Slope activation_slope(Activation function, float x) {
  Slope slope{};
  with_activation(function, [&](auto f) { slope = f.slope(x); });
  return slope;
}

}  // namespace heddle
