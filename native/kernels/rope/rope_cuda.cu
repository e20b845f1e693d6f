// rope_table: angles in f64, once per step. rope: each channel read and written once, a pair by one thread.
#include "generated/rope_ops.h"

#include "cuda/angles.cuh"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/rope/rope_checks.h"
#include "kernels/rope/rotation.cuh"

namespace heddle {
namespace {

constexpr int kThreads = 128;

// ---- rope_table ----

struct Angles {
  const int32_t* positions;
  const int32_t* lengths;  // nullptr: none
  const float* frequencies;
  const float* long_frequencies;  // nullptr: none
  float* table;
  int64_t tokens, half, table_stride;
  float scale, long_scale, dynamic_factor, base;
  int32_t original_length;
};

__global__ void __launch_bounds__(kThreads) fill_table(Angles angles) {
  for (int64_t at = int64_t{blockIdx.x} * kThreads + threadIdx.x; at < angles.tokens * angles.half; at += int64_t{gridDim.x} * kThreads) {
    const int64_t token = at / angles.half, i = at - token * angles.half;
    const int64_t position = angles.positions[token] > 0 ? angles.positions[token] : 0;
    int64_t length = position + 1;
    if (angles.lengths != nullptr && angles.lengths[token] > length) length = angles.lengths[token];
    const bool beyond = length > angles.original_length;
    const bool dynamic = beyond && angles.dynamic_factor > 0, long_table = beyond && !dynamic && angles.long_frequencies != nullptr;
    const double scale = long_table ? angles.long_scale : angles.scale;
    double frequency = (long_table ? angles.long_frequencies : angles.frequencies)[i];
    if (dynamic) {
      const double factor = angles.dynamic_factor, rotary = static_cast<double>(2 * angles.half);
      const double stretch = factor * static_cast<double>(length) / angles.original_length - factor + 1;
      frequency = pow(angles.base * pow(stretch, rotary / (rotary - 2)), -2.0 * static_cast<double>(i) / rotary);
    }
    double sine, cosine;
    sine_cosine(static_cast<double>(position) * frequency, &sine, &cosine);
    float* row = angles.table + token * angles.table_stride;
    row[i] = static_cast<float>(scale * cosine);
    row[angles.half + i] = static_cast<float>(scale * sine);
  }
}

// ---- rope ----

constexpr int kHeads = 2;  // of a thread: it reads the table once for both

struct Rotation {
  const float* x;
  float* y;
  const float* table;
  int64_t tokens, heads, width, half;
  int64_t x_stride, y_stride, table_stride;
  int64_t head_tiles;  // of a token
  int lanes_shift;     // 2 ^ lanes_shift threads lie beside each other on a head
  bool inverse, in_place;
};

// Pairs of one head from pair `first` on: as (x_i, x_{i + half}), or side by side.
template <int Pairs, bool kInterleaved>
struct PairsOfHead {
  float left[Pairs], right[Pairs];

  __device__ __forceinline__ void read(const float* head, int64_t first, int64_t half) {
    if constexpr (kInterleaved && Pairs == 1) {
      left[0] = head[2 * first], right[0] = head[2 * first + 1];
    } else if constexpr (kInterleaved) {
      const Pack<float, 2 * Pairs> both = load_pack<2 * Pairs>(head + 2 * first);
#pragma unroll
      for (int i = 0; i < Pairs; i++) left[i] = both.v[2 * i], right[i] = both.v[2 * i + 1];
    } else {
      const Pack<float, Pairs> a = load_pack<Pairs>(head + first), b = load_pack<Pairs>(head + half + first);
#pragma unroll
      for (int i = 0; i < Pairs; i++) left[i] = a.v[i], right[i] = b.v[i];
    }
  }
  __device__ __forceinline__ void write(float* head, int64_t first, int64_t half) const {
    if constexpr (kInterleaved && Pairs == 1) {
      head[2 * first] = left[0], head[2 * first + 1] = right[0];
    } else if constexpr (kInterleaved) {
      Pack<float, 2 * Pairs> both;
#pragma unroll
      for (int i = 0; i < Pairs; i++) both.v[2 * i] = left[i], both.v[2 * i + 1] = right[i];
      store_pack(head + 2 * first, both);
    } else {
      Pack<float, Pairs> a, b;
#pragma unroll
      for (int i = 0; i < Pairs; i++) a.v[i] = left[i], b.v[i] = right[i];
      store_pack(head + first, a);
      store_pack(head + half + first, b);
    }
  }
  __device__ __forceinline__ void rotate(const Pack<float, Pairs>& cosines, const Pack<float, Pairs>& sines, float sign) {
#pragma unroll
    for (int i = 0; i < Pairs; i++) {
      const float c = cosines.v[i], s = sign * sines.v[i], a = left[i], b = right[i];
      left[i] = rotated_left(a, b, c, s);
      right[i] = rotated_right(a, b, c, s);
    }
  }
};

template <int Pairs, bool kInterleaved>
__global__ void __launch_bounds__(kThreads) rotate_heads(Rotation r) {
  constexpr int kRest = Pairs == 1 ? 1 : 4;  // channels that are copied at once
  const int lanes = 1 << r.lanes_shift, rows = kThreads >> r.lanes_shift;
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1), below = static_cast<int>(threadIdx.x) >> r.lanes_shift;
  const float sign = r.inverse ? -1.0f : 1.0f;
  for (int64_t tile = blockIdx.x; tile < r.tokens * r.head_tiles; tile += gridDim.x) {
    const int64_t token = tile / r.head_tiles, head = (tile - token * r.head_tiles) * rows * kHeads + below;
    const float* x = r.x + token * r.x_stride + head * r.width;
    float* y = r.y + token * r.y_stride + head * r.width;
    const float* table = r.table + token * r.table_stride;
    const int64_t apart = rows * r.width;
    const int held = static_cast<int>(r.heads - head < kHeads * rows ? (r.heads - head + rows - 1) / rows : kHeads);
#pragma unroll 1
    for (int64_t pair = lane * Pairs; pair < r.half; pair += lanes * Pairs) {
      const Pack<float, Pairs> cosines = load_pack<Pairs>(table + pair), sines = load_pack<Pairs>(table + r.half + pair);
      PairsOfHead<Pairs, kInterleaved> pairs[kHeads];
#pragma unroll
      for (int h = 0; h < kHeads; h++)
        if (h < held) pairs[h].read(x + h * apart, pair, r.half);
#pragma unroll
      for (int h = 0; h < kHeads; h++)
        if (h < held) {
          pairs[h].rotate(cosines, sines, sign);
          pairs[h].write(y + h * apart, pair, r.half);
        }
    }
    if (r.in_place) continue;
#pragma unroll 1
    for (int64_t channel = 2 * r.half + lane * kRest; channel < r.width; channel += lanes * kRest)
      for (int h = 0; h < held; h++) store_pack(y + h * apart + channel, load_pack<kRest>(x + h * apart + channel));
  }
}

template <int Pairs, bool kInterleaved>
Status launch_rotation(const CudaContext& context, Rotation rotation) {
  const int64_t across = ceil_div(rotation.half > 0 ? rotation.half : rotation.width, Pairs);
  while ((int64_t{1} << rotation.lanes_shift) < across && (1 << rotation.lanes_shift) < kThreads) rotation.lanes_shift++;
  rotation.head_tiles = ceil_div(rotation.heads, int64_t{kHeads} * (kThreads >> rotation.lanes_shift));
  const int64_t resident = int64_t{context.limits.multiprocessors} * (context.limits.threads_per_multiprocessor / kThreads);
  return context.launch("rope", rotate_heads<Pairs, kInterleaved>, {strided_grid(rotation.tokens * rotation.head_tiles, 2 * resident), kThreads}, rotation);
}

}  // namespace

Status rope_table_cuda(const RopeTableArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_rope_table(args));
  Angles angles{};
  angles.positions = args.positions.as<int32_t>();
  angles.lengths = args.lengths.present() ? args.lengths.as<int32_t>() : nullptr;
  angles.frequencies = args.frequencies.as<float>();
  angles.long_frequencies = args.long_frequencies.present() ? args.long_frequencies.as<float>() : nullptr;
  angles.table = args.table.as<float>();
  angles.tokens = args.table.dims[0];
  angles.half = args.table.dims[1] / 2;
  angles.table_stride = args.table.leading_stride;
  angles.scale = args.scale;
  angles.long_scale = args.long_scale;
  angles.dynamic_factor = args.dynamic_factor;
  angles.base = args.base;
  angles.original_length = args.original_length;
  return context.launch("rope_table", fill_table, {strided_grid(ceil_div(angles.tokens * angles.half, kThreads), 16 * context.limits.multiprocessors), kThreads}, angles);
}

Status rope_cuda(const RopeArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_rope(args));
  const TensorView &x = args.x, &y = args.y, &table = args.table;
  Rotation rotation{};
  rotation.x = x.as<float>();
  rotation.y = y.as<float>();
  rotation.table = table.as<float>();
  rotation.tokens = x.dims[0];
  rotation.heads = x.dims[1];
  rotation.width = x.dims[2];
  rotation.half = table.dims[1] / 2;
  rotation.x_stride = x.leading_stride;
  rotation.y_stride = y.leading_stride;
  rotation.table_stride = table.leading_stride;
  rotation.inverse = args.inverse;
  rotation.in_place = x.data == y.data;
  const bool aligned = is_aligned16(rotation.x, rotation.x_stride) && is_aligned16(rotation.y, rotation.y_stride) &&
                       is_aligned16(rotation.table, rotation.table_stride) && rotation.width % 4 == 0;
  if (args.interleaved)
    return aligned && rotation.half % 2 == 0 ? launch_rotation<2, true>(context, rotation) : launch_rotation<1, true>(context, rotation);
  return aligned && rotation.half % 4 == 0 ? launch_rotation<4, false>(context, rotation) : launch_rotation<1, false>(context, rotation);
}

}  // namespace heddle
