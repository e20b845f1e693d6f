// The weight goes from global memory straight into fragments: it is the 16-row side of the tensor cores' product, and x the 8-column
// side, of which few rows leave some empty. A lane loads 16 bytes, that is 8 elements of k of one output, and uses them as the
// elements of two products: which k an element of a fragment stands for does not matter as long as both sides agree.
#include "kernels/linear/linear_stream.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/linear/linear_split.cuh"

namespace heddle {

namespace {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;
constexpr int kLoads = 8;   // of 16 bytes that a lane has under way
constexpr int kStep = 32;   // k of one load: four lanes of 8
constexpr int kPiece = 64;  // k that a warp takes in turn with the others: two loads
constexpr int kPanel = 16;  // outputs of one fragment

struct Stream {
  const float* x;
  int64_t x_stride, k;
  const uint32_t* terms;  // two elements a word, as the weight
  int64_t padded, term_words;
  const float* unscale;
  const uint32_t* weight;
  int64_t weight_rows, inner;
  const float* bias;
  float* y;
  int64_t y_stride, columns;
  int rows;
  bool vector_x, aligned_weight;
};

using Words = Pack<uint32_t, 4>;  // eight elements

__device__ Words load_words_by_pairs(const uint32_t* from, int64_t valid) {
  Words words;
#pragma unroll
  for (int i = 0; i < 4; i++) words.v[i] = 2 * i < valid ? from[i] : 0;
  return words;
}

template <class T, int Terms, int Eights, int Panels, bool Rounded>
__global__ __launch_bounds__(kThreads, Terms * Eights == 8 ? 1 : 2) void stream_weight(Stream stream) {
  constexpr int kSteps = kLoads / (2 * Panels), kPieces = kSteps / 2;  // loaded together
  constexpr int kOutputs = Panels * kPanel, kRows = Eights * 8;
  constexpr int kPitch = kOutputs + 4;  // lanes that store sums of different rows hit different banks
  HEDDLE_SHARED(float, partial, kWarps * kRows * kPitch);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int group = lane / 4, pair = lane % 4;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kOutputs;
  const int64_t half_words = 8 * stream.inner / 2;
  // A panel beyond the weight's end is read as the one before it, and not stored.
  const int64_t panel_words = first + kPanel < stream.weight_rows ? 2 * half_words : 0;
  const uint32_t* weight = stream.weight + (first + group) * stream.inner / 2;

  const auto k_of = [&](int64_t piece, int step) { return (piece + step / 2 * kWarps) * kPiece + step % 2 * kStep + pair * 8; };
  const auto load = [&](Words (&to)[kSteps][Panels][2], int64_t piece) {
    if (stream.aligned_weight) {
#pragma unroll
      for (int s = 0; s < kSteps; s++) {
        const int64_t k = k_of(piece, s);
#pragma unroll
        for (int p = 0; p < Panels; p++)
#pragma unroll
          for (int h = 0; h < 2; h++)
            to[s][p][h] = k < stream.inner ? load_streaming(weight + p * panel_words + h * half_words + k / 2) : Words{{0, 0, 0, 0}};
      }
    } else {
#pragma unroll
      for (int s = 0; s < kSteps; s++) {
        const int64_t k = k_of(piece, s);
#pragma unroll
        for (int p = 0; p < Panels; p++)
#pragma unroll
          for (int h = 0; h < 2; h++) to[s][p][h] = load_words_by_pairs(weight + p * panel_words + h * half_words + k / 2, stream.inner - k);
      }
    }
  };

  float sums[Panels][Eights][4] = {};
  const auto multiply = [&](const Words (&from)[kSteps][Panels][2], int64_t piece) {
#pragma unroll
    for (int s = 0; s < kSteps; s++) {
      const int64_t k = k_of(piece, s);
#pragma unroll
      for (int j = 0; j < Eights; j++) {
        const int row = j * 8 + group;
        Pack<float, 8> eight;
        if constexpr (!Rounded) eight = load_eight(stream.x + row * stream.x_stride + k, row < stream.rows ? stream.k - k : 0, stream.vector_x);
#pragma unroll
        for (int term = 0; term < Terms; term++) {
          Words x = {{0, 0, 0, 0}};
          if constexpr (!Rounded) {
            x = take_terms<T>(eight);
          } else {
            if (row < stream.rows && k < stream.padded) x = load_pack<4>(stream.terms + term * stream.term_words + (row * stream.padded + k) / 2);
          }
          const uint32_t low_x[2] = {x.v[0], x.v[1]}, high_x[2] = {x.v[2], x.v[3]};
#pragma unroll
          for (int p = 0; p < Panels; p++) {
            const Words &above = from[s][p][0], &below = from[s][p][1];
            const uint32_t low[4] = {above.v[0], below.v[0], above.v[1], below.v[1]};
            const uint32_t high[4] = {above.v[2], below.v[2], above.v[3], below.v[3]};
            mma_m16n8k16<T>(sums[p][j], low, low_x);
            mma_m16n8k16<T>(sums[p][j], high, high_x);
          }
        }
      }
    }
  };

  // The warps take pieces in turn, so that the block reads each output's k in one go.
  constexpr int kStride = kWarps * kPieces;
  const int64_t pieces = ceil_div(stream.inner, kPiece);
  Words now[kSteps][Panels][2], next[kSteps][Panels][2];
  for (int64_t piece = warp - kStride; piece < pieces; piece += kStride) {
    if (piece + kStride < pieces) load(next, piece + kStride);
    if (piece >= 0) multiply(now, piece);
#pragma unroll
    for (int s = 0; s < kSteps; s++)
#pragma unroll
      for (int p = 0; p < Panels; p++)
#pragma unroll
        for (int h = 0; h < 2; h++) now[s][p][h] = next[s][p][h];
  }

#pragma unroll
  for (int p = 0; p < Panels; p++)
#pragma unroll
    for (int j = 0; j < Eights; j++)
#pragma unroll
      for (int i = 0; i < 4; i++) partial[(warp * kRows + j * 8 + pair * 2 + i % 2) * kPitch + p * kPanel + i / 2 * 8 + group] = sums[p][j][i];
  __syncthreads();
  for (int index = static_cast<int>(threadIdx.x); index < stream.rows * kOutputs; index += kThreads) {
    const int row = index / kOutputs, output = index % kOutputs;
    if (first + output >= stream.columns) continue;
    float sum = partial[row * kPitch + output];
#pragma unroll
    for (int w = 1; w < kWarps; w++) sum += partial[(w * kRows + row) * kPitch + output];
    if (stream.unscale != nullptr) sum *= stream.unscale[row];
    if (stream.bias != nullptr) sum += stream.bias[first + output];
    stream.y[row * stream.y_stride + first + output] = sum;
  }
}

// The same for f32 weights without tensor cores: a lane sums 4 elements of k at a time of 4 outputs and all rows.
constexpr int kQuad = 4;                 // outputs of a warp
constexpr int kQuads = 2;                // of a block: its other warps share their k
constexpr int kShares = kWarps / kQuads;
constexpr int kF32Step = kWarp * 4;      // k of one load of a warp

template <int Rows>
__global__ __launch_bounds__(kThreads, Rows == 8 ? 1 : 2) void stream_f32_weight(Stream stream) {
  HEDDLE_SHARED(float, partial, kWarps * kQuad * Rows);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kQuads + warp / kShares) * kQuad;
  const float* weight = reinterpret_cast<const float*>(stream.weight) + first * stream.inner;
  float sums[kQuad][Rows] = {};
  const int64_t end = first < stream.columns ? stream.inner : 0;
  constexpr int kTogether = 2;
  for (int64_t begin = warp % kShares * kF32Step + lane * 4; begin < end; begin += kTogether * kShares * kF32Step) {
    Pack<float, 4> fours[kTogether][kQuad];
#pragma unroll
    for (int t = 0; t < kTogether; t++) {
      const int64_t k = begin + t * kShares * kF32Step;
#pragma unroll
      for (int o = 0; o < kQuad; o++) {
        const float* from = weight + o * stream.inner + k;
        if (stream.aligned_weight) {
          fours[t][o] = k < end ? load_streaming(from) : Pack<float, 4>{{0, 0, 0, 0}};
        } else {
#pragma unroll
          for (int i = 0; i < 4; i++) fours[t][o].v[i] = k + i < end ? from[i] : 0.0f;
        }
      }
    }
#pragma unroll
    for (int t = 0; t < kTogether; t++) {
      const int64_t k = begin + t * kShares * kF32Step;
#pragma unroll
      for (int r = 0; r < Rows; r++) {
        const float* from = stream.x + r * stream.x_stride + k;
        const int64_t valid = r < stream.rows ? stream.k - k : 0;
        Pack<float, 4> x = {{0, 0, 0, 0}};
        if (stream.vector_x && valid >= 4) {
          x = load_pack<4>(from);
        } else {
#pragma unroll
          for (int i = 0; i < 4; i++)
            if (i < valid) x.v[i] = from[i];
        }
#pragma unroll
        for (int o = 0; o < kQuad; o++)
#pragma unroll
          for (int i = 0; i < 4; i++) sums[o][r] = fmaf(fours[t][o].v[i], x.v[i], sums[o][r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < Rows; r++)
#pragma unroll
    for (int o = 0; o < kQuad; o++) {
      const float sum = warp_sum(sums[o][r]);
      if (lane == 0) partial[(warp * Rows + r) * kQuad + o] = sum;
    }
  __syncthreads();
  constexpr int kOutputs = kQuads * kQuad;
  const int row = static_cast<int>(threadIdx.x) / kOutputs, output = static_cast<int>(threadIdx.x) % kOutputs;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kOutputs + output;
  if (row >= stream.rows || column >= stream.columns) return;
  float sum = 0;
#pragma unroll
  for (int share = 0; share < kShares; share++) sum += partial[((output / kQuad * kShares + share) * Rows + row) * kQuad + output % kQuad];
  if (stream.bias != nullptr) sum += stream.bias[column];
  stream.y[row * stream.y_stride + column] = sum;
}

template <class T, int Terms, int Eights, int Panels, bool Rounded>
Status launch_stream(const char* op, const Stream& stream, const CudaContext& context) {
  const unsigned blocks = static_cast<unsigned>(ceil_div(stream.columns, Panels * kPanel));
  return context.launch(op, stream_weight<T, Terms, Eights, Panels, Rounded>, {dim3(blocks), kThreads}, stream);
}

// One panel a block where two would leave multiprocessors without work.
template <class T, int Terms, bool Rounded>
Status launch_eight_rows(const char* op, const Stream& stream, const CudaContext& context) {
  const bool narrow = ceil_div(stream.columns, 2 * kPanel) * 4 < context.limits.multiprocessors * int64_t{3};
  return narrow ? launch_stream<T, Terms, 1, 1, Rounded>(op, stream, context) : launch_stream<T, Terms, 1, 2, Rounded>(op, stream, context);
}

template <class T, int Terms>
Status launch_rounded(const char* op, const Stream& stream, const CudaContext& context) {
  if (stream.rows <= 16) return launch_stream<T, Terms, 2, 2, true>(op, stream, context);
  return launch_stream<T, Terms, 4, 2, true>(op, stream, context);
}

}  // namespace

Status linear_stream(const char* op, const StreamProduct& product, const CudaContext& context) {
  if (product.rows == 0 || product.columns == 0) return Status::success();
  Stream stream = {};
  stream.x = product.x;
  stream.x_stride = product.x_stride;
  stream.k = product.k;
  stream.terms = static_cast<const uint32_t*>(product.left.terms);
  stream.padded = product.left.padded;
  stream.term_words = product.left.rows * product.left.padded / 2;
  stream.unscale = product.left.unscale;
  stream.weight = static_cast<const uint32_t*>(product.weight);
  stream.weight_rows = product.weight_rows;
  stream.inner = product.inner;
  stream.bias = product.bias;
  stream.y = product.y;
  stream.y_stride = product.y_stride;
  stream.columns = product.columns;
  stream.rows = static_cast<int>(product.rows);
  stream.vector_x = is_aligned16(product.x, product.x_stride);
  const bool wide = product.dtype == DType::kF32;
  stream.aligned_weight = reinterpret_cast<uintptr_t>(product.weight) % 16 == 0 && product.inner % (wide ? 4 : 8) == 0;
  if (wide) {
    const LaunchShape shape = {dim3(static_cast<unsigned>(ceil_div(product.columns, kQuads * kQuad))), kThreads};
    return context.launch(op, product.rows == 1 ? stream_f32_weight<1> : product.rows <= 4 ? stream_f32_weight<4> : stream_f32_weight<8>, shape, stream);
  }
  if (product.dtype == DType::kF16)
    return product.rows <= 8 ? launch_eight_rows<F16, 2, true>(op, stream, context) : launch_rounded<F16, 2>(op, stream, context);
  const bool precise = product.left.count == 2;
  if (product.left.terms == nullptr)
    return precise ? launch_eight_rows<BF16, 2, false>(op, stream, context) : launch_eight_rows<BF16, 1, false>(op, stream, context);
  return precise ? launch_rounded<BF16, 2>(op, stream, context) : launch_rounded<BF16, 1>(op, stream, context);
}

}  // namespace heddle
