#include "kernels/linear/linear_rounded.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/linear/linear_split.cuh"

namespace heddle {

namespace {

// A scaled row is one block's, which must have seen all of it: many threads, to be through in few steps.
constexpr int threads_of(bool scaled) { return scaled ? 1024 : 256; }
// Elements of a row that a block takes at a time.
constexpr int piece_of(bool scaled) { return 8 * threads_of(scaled); }

struct Rounding {
  const float* x;
  int64_t x_stride, k, padded, term_elements;
  uint32_t* terms;  // two elements a word
  float* unscale;
  int pieces;  // blocks of one row
  bool vector;
};

// The power of two that brings a row's largest finite magnitude to [2^14, 2^15), as far as f32 has both it and its inverse.
__device__ int scale_exponent(int largest_bits) {
  if (largest_bits == 0) return 0;
  const int exponent = 14 - ((largest_bits >> 23) - 127);
  return exponent > 126 ? 126 : exponent;
}
__device__ float power_of_two(int exponent) { return __uint_as_float(static_cast<uint32_t>(exponent + 127) << 23); }

template <class T, int Terms, bool Scaled>
__global__ __launch_bounds__(threads_of(Scaled)) void round_rows(Rounding rounding) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) / rounding.pieces;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) % rounding.pieces * threads_of(Scaled) + static_cast<int64_t>(threadIdx.x)) * 8;
  const int64_t step = static_cast<int64_t>(rounding.pieces) * piece_of(Scaled);
  const float* x = rounding.x + row * rounding.x_stride;
  float scale = 1;
  if constexpr (Scaled) {
    HEDDLE_SHARED(int, scratch, 32);
    int largest = 0;
    for (int64_t at = first; at < rounding.k; at += step) {
      const Pack<float, 8> eight = load_eight(x + at, rounding.k - at, rounding.vector);
#pragma unroll
      for (int i = 0; i < 8; i++)
        if (is_finite(eight.v[i])) largest = max(largest, static_cast<int>(__float_as_uint(eight.v[i]) & 0x7fffffffu));
    }
    const int exponent = scale_exponent(block_max(largest, scratch));
    scale = power_of_two(exponent);
    if (threadIdx.x == 0) rounding.unscale[row] = power_of_two(-exponent);
  }
  for (int64_t at = first; at < rounding.padded; at += step) {
    Pack<float, 8> eight = load_eight(x + at, rounding.k - at, rounding.vector);
    if constexpr (Scaled) {
#pragma unroll
      for (int i = 0; i < 8; i++) eight.v[i] *= scale;
    }
#pragma unroll
    for (int term = 0; term < Terms; term++)
      store_pack(rounding.terms + (term * rounding.term_elements + row * rounding.padded + at) / 2, take_terms<T>(eight));
  }
}

}  // namespace

Status linear_round_rows(const char* op, DType dtype, const float* x, int64_t x_stride, int64_t rows, int64_t k, int terms, const RoundedBlock& block,
                         const CudaContext& context, RoundedRows* rounded) {
  const bool scaled = dtype == DType::kF16;
  Rounding rounding = {};
  rounding.x = x;
  rounding.x_stride = x_stride;
  rounding.k = k;
  rounding.padded = rounded_padded(k);
  rounding.term_elements = rows * rounding.padded;
  rounding.unscale = reinterpret_cast<float*>(context.workspace);
  rounding.terms = reinterpret_cast<uint32_t*>(context.workspace + block.unscale_bytes);
  rounding.pieces = scaled ? 1 : static_cast<int>(std::max<int64_t>(1, ceil_div(rounding.padded, piece_of(false))));
  rounding.vector = is_aligned16(x, x_stride);
  *rounded = {rounding.terms, scaled ? rounding.unscale : nullptr, rows, rounding.padded, terms};
  const LaunchShape shape = {dim3(static_cast<unsigned>(rows * rounding.pieces)), static_cast<unsigned>(threads_of(scaled))};
  if (scaled) return context.launch(op, terms == 1 ? round_rows<F16, 1, true> : round_rows<F16, 2, true>, shape, rounding);
  return context.launch(op, terms == 1 ? round_rows<BF16, 1, false> : round_rows<BF16, 2, false>, shape, rounding);
}

}  // namespace heddle
