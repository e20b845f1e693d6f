// concat_columns and swap_axes.
#include "generated/layout_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/move_rows.cuh"
#include "cuda/vocabulary.cuh"
#include "kernels/layout/layout_checks.h"

namespace heddle {
namespace {

// ---- concat_columns ----

// Columns from begin[n] on come from part n; a part that is not there begins where the row ends. In units.
struct Parts {
  ByteRows part[4];
  int64_t begin[4];
};

template <int Width>
__global__ void __launch_bounds__(kTileThreads) join_columns(RowTiles tiles, Parts parts, ByteRows y) {
  constexpr int kDepth = move_depth(Width * sizeof(float));
  over_tiles(tiles, [&](int64_t row, int64_t first, int lanes) {
    Pack<float, Width> held[kDepth];
#pragma unroll
    for (int d = 0; d < kDepth; d++) {
      const int64_t unit = first + d * lanes;
      if (unit >= tiles.units) continue;
      ByteRows from = parts.part[0];
      int64_t begin = 0;
#pragma unroll
      for (int n = 1; n < 4; n++)
        if (unit >= parts.begin[n]) {
          from = parts.part[n];
          begin = parts.begin[n];
        }
      held[d] = load_pack<Width>(reinterpret_cast<const float*>(from.at(row)) + (unit - begin) * Width);
    }
    float* to = reinterpret_cast<float*>(y.at(row));
#pragma unroll
    for (int d = 0; d < kDepth; d++)
      if (first + d * lanes < tiles.units) store_pack(to + (first + d * lanes) * Width, held[d]);
  });
}

template <int Width>
Status launch_join(const CudaContext& context, const ConcatColumnsArgs& args) {
  Parts parts{};
  int64_t columns = 0;
  int n = 0;
  for (const TensorView* part : {&args.a, &args.b, &args.c, &args.d}) {
    parts.begin[n] = columns / Width;
    if (part->present()) {
      parts.part[n] = byte_rows(*part);
      columns += part->dims[1];
    }
    n++;
  }
  const RowTiles tiles = row_tiles(args.y.dims[0], columns / Width, move_depth(Width * sizeof(float)));
  return context.launch("concat_columns", join_columns<Width>, tile_launch(tiles, context.limits), tiles, parts, byte_rows(args.y));
}

// ---- swap_axes ----

constexpr int kSide = 32, kPitch = kSide + 1, kQuads = kSide / 4;
constexpr unsigned kSwapThreads = kSide * kQuads;

struct Matrix {
  float* data;
  int64_t rows, columns, stride;
  bool aligned;
};

// Squares of 32 x 32 through shared memory: both sides are read and written along their rows, four columns a thread. No two lanes of
// a warp meet in a bank: their 32-bit words lie 33 a + b apart with 4 neighbouring rows and 8 quads.
__global__ void __launch_bounds__(kSwapThreads) swap_squares(Matrix x, Matrix y, int64_t across, int64_t squares) {
  HEDDLE_SHARED(float, square, kSide * kPitch);
  const int line = static_cast<int>(threadIdx.x) / kQuads, quad = static_cast<int>(threadIdx.x) % kQuads * 4;
  for (int64_t at = blockIdx.x; at < squares; at += gridDim.x) {
    const int64_t top = at / across * kSide, left = at % across * kSide;
    if (top + line < x.rows) {
      const float* from = x.data + (top + line) * x.stride + left + quad;
      const int64_t count = x.columns - left - quad;
      if (x.aligned && count >= 4) {
        const Pack<float, 4> pack = load_pack<4>(from);
#pragma unroll
        for (int i = 0; i < 4; i++) square[line * kPitch + quad + i] = pack.v[i];
      } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
          if (i < count) square[line * kPitch + quad + i] = from[i];
      }
    }
    __syncthreads();
    if (left + line < y.rows) {
      float* to = y.data + (left + line) * y.stride + top + quad;
      const int64_t count = y.columns - top - quad;
      if (y.aligned && count >= 4) {
        Pack<float, 4> pack;
#pragma unroll
        for (int i = 0; i < 4; i++) pack.v[i] = square[(quad + i) * kPitch + line];
        store_pack(to, pack);
      } else {
#pragma unroll
        for (int i = 0; i < 4; i++)
          if (i < count) to[i] = square[(quad + i) * kPitch + line];
      }
    }
    __syncthreads();
  }
}

// Row [b, a] of y is row [a, b] of x.
struct SwappedRows {
  ByteRows x, y;
  int64_t columns, bytes;  // of x.dims[0], and behind each pair of indexes
  uint64_t alignment() const { return x.alignment() | y.alignment() | static_cast<uint64_t>(bytes); }
  __device__ Move operator()(int64_t row) const {
    const int64_t b = row / columns, a = row - b * columns;
    return {x.at(a) + b * bytes, y.at(b) + a * bytes};
  }
};

}  // namespace

Status concat_columns_cuda(const ConcatColumnsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_concat_columns(args));
  uint64_t alignment = byte_rows(args.y).alignment();
  for (const TensorView* part : {&args.a, &args.b, &args.c, &args.d})
    if (part->present()) alignment |= byte_rows(*part).alignment() | static_cast<uint64_t>(row_bytes(*part));
  return alignment % 16 == 0 ? launch_join<4>(context, args) : launch_join<1>(context, args);
}

Status swap_axes_cuda(const SwapAxesArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_swap_axes(args));
  const TensorView &x = args.x, &y = args.y;
  const int64_t width = x.rank == 3 ? x.dims[2] : 1;
  if (y.elements() == 0) return Status::success();
  if (width > 1 || x.dims[0] == 1 || x.dims[1] == 1) {
    const int64_t bytes = width * static_cast<int64_t>(sizeof(float));
    return move_rows<sizeof(float)>("swap_axes", context, y.dims[0] * y.dims[1], bytes, SwappedRows{byte_rows(x), byte_rows(y), x.dims[0], bytes});
  }
  const auto matrix = [](const TensorView& t) {
    return Matrix{t.as<float>(), t.dims[0], t.dims[1], t.leading_stride, is_aligned16(t.as<float>(), t.leading_stride)};
  };
  const int64_t across = ceil_div(x.dims[1], kSide), squares = across * ceil_div(x.dims[0], kSide);
  const int64_t resident = int64_t{context.limits.multiprocessors} * (context.limits.threads_per_multiprocessor / static_cast<int>(kSwapThreads));
  return context.launch("swap_axes", swap_squares, {strided_grid(squares, 2 * resident), kSwapThreads}, matrix(x), matrix(y), across, squares);
}

}  // namespace heddle
