#include "kernels/matmul/matmul_f32.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/matmul/tile_order.cuh"

namespace heddle {

namespace {

constexpr int kDepth = 16;  // k of a slab

// A warp's lanes stand 4 down and 8 across; each holds blocks of 4 x 4 outputs, FoursDown x FoursAcross of them.
template <int WarpsDown, int WarpsAcross, int FoursDown, int FoursAcross>
struct Tile {
  static constexpr int kWarpsAcross = WarpsAcross, kFoursDown = FoursDown, kFoursAcross = FoursAcross;
  static constexpr int kWarpRows = 16 * FoursDown, kWarpColumns = 32 * FoursAcross;
  static constexpr int kRows = WarpsDown * kWarpRows, kColumns = WarpsAcross * kWarpColumns;
  static constexpr int kThreads = WarpsDown * WarpsAcross * kWarp;
};

// One operand: `lines` (rows of a, columns of b) of k elements.
struct Lines {
  const float* data;
  int64_t stride, batch;
  int64_t lines;
  bool along_k;  // elements of one k after the other lie side by side; otherwise those of one line after the other
  bool vector;   // 16-byte loads are aligned
};

__device__ Pack<float, 4> load_four(const float* from, int64_t valid, bool vector) {
  if (vector && valid >= 4) return load_pack<4>(from);
  Pack<float, 4> four = {{0, 0, 0, 0}};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (i < valid) four.v[i] = from[i];
  return four;
}

// Count lines x kDepth of an operand on their way to shared memory, where they lie [kDepth][kPitch].
template <int Count, int Threads>
struct Slab {
  static constexpr int kPitch = Count + 4;
  static constexpr int kElements = kDepth * kPitch;
  static constexpr int kPieces = Count * kDepth / 4 / Threads;
  static_assert(Count * kDepth % (4 * Threads) == 0, "every thread loads as much");
  Pack<float, 4> pieces[kPieces];

  __device__ static int line_of(int piece, bool along_k) {
    const int index = piece * Threads + static_cast<int>(threadIdx.x);
    return along_k ? index / (kDepth / 4) : index % (Count / 4) * 4;
  }
  __device__ static int depth_of(int piece, bool along_k) {
    const int index = piece * Threads + static_cast<int>(threadIdx.x);
    return along_k ? index % (kDepth / 4) * 4 : index / (Count / 4);
  }

  __device__ void load(const Lines& from, const float* data, int64_t line, int64_t k, int64_t last_k) {
#pragma unroll
    for (int p = 0; p < kPieces; p++) {
      const int64_t l = line + line_of(p, from.along_k), d = k + depth_of(p, from.along_k);
      const bool inside = l < from.lines && d < last_k;
      const float* at = data + (!inside ? 0 : from.along_k ? l * from.stride + d : d * from.stride + l);
      pieces[p] = load_four(at, !inside ? 0 : from.along_k ? last_k - d : from.lines - l, from.vector);
    }
  }
  __device__ void store(SharedPointer<float> to, bool along_k) const {
#pragma unroll
    for (int p = 0; p < kPieces; p++) {
      const int l = line_of(p, along_k), d = depth_of(p, along_k);
      if (along_k) {
#pragma unroll
        for (int i = 0; i < 4; i++) to[(d + i) * kPitch + l] = pieces[p].v[i];
      } else {
        store_pack(to + (d * kPitch + l), pieces[p]);
      }
    }
  }
};

struct Product {
  Lines a, b;
  const float* bias;
  float* y;
  int64_t y_stride, y_batch;
  int64_t k, tiles_down, tiles_across;
  bool vector_y;
};

template <class Tile>
__global__ __launch_bounds__(Tile::kThreads, Tile::kFoursDown == 1 ? 3 : 2) void product_tiles(Product product) {
  using SlabA = Slab<Tile::kRows, Tile::kThreads>;
  using SlabB = Slab<Tile::kColumns, Tile::kThreads>;
  HEDDLE_SHARED(float, shared_a, 2 * SlabA::kElements);
  HEDDLE_SHARED(float, shared_b, 2 * SlabB::kElements);
  constexpr int kDown = Tile::kFoursDown, kAcross = Tile::kFoursAcross;

  const int64_t tiles = product.tiles_down * product.tiles_across;
  const int64_t batch = static_cast<int64_t>(blockIdx.x) / tiles;
  const TilePlace place = tile_place(static_cast<int64_t>(blockIdx.x) % tiles, product.tiles_down, product.tiles_across);
  const int64_t row = place.down * Tile::kRows, column = place.across * Tile::kColumns;
  const float* a = product.a.data + batch * product.a.batch;
  const float* b = product.b.data + batch * product.b.batch;

  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own_row = warp / Tile::kWarpsAcross * Tile::kWarpRows + lane / 8 * 4;
  const int own_column = warp % Tile::kWarpsAcross * Tile::kWarpColumns + lane % 8 * 4;
  float sums[kDown * 4][kAcross * 4] = {};

  SlabA slab_a;
  SlabB slab_b;
  const int64_t steps = ceil_div(product.k, kDepth);
  if (steps > 0) {
    slab_a.load(product.a, a, row, 0, product.k);
    slab_b.load(product.b, b, column, 0, product.k);
    slab_a.store(shared_a, product.a.along_k);
    slab_b.store(shared_b, product.b.along_k);
    __syncthreads();
  }
  for (int64_t step = 0; step < steps; step++) {
    const bool more = step + 1 < steps;
    if (more) {
      slab_a.load(product.a, a, row, (step + 1) * kDepth, product.k);
      slab_b.load(product.b, b, column, (step + 1) * kDepth, product.k);
    }
    const SharedPointer<float> from_a = shared_a + (step & 1) * SlabA::kElements + own_row;
    const SharedPointer<float> from_b = shared_b + (step & 1) * SlabB::kElements + own_column;
#pragma unroll
    for (int d = 0; d < kDepth; d++) {
      Pack<float, 4> left[kDown], right[kAcross];
#pragma unroll
      for (int i = 0; i < kDown; i++) left[i] = load_pack<4>(from_a + (d * SlabA::kPitch + i * 16));
#pragma unroll
      for (int i = 0; i < kAcross; i++) right[i] = load_pack<4>(from_b + (d * SlabB::kPitch + i * 32));
#pragma unroll
      for (int r = 0; r < kDown * 4; r++)
#pragma unroll
        for (int c = 0; c < kAcross * 4; c++) sums[r][c] = fmaf(left[r / 4].v[r % 4], right[c / 4].v[c % 4], sums[r][c]);
    }
    if (more) {
      slab_a.store(shared_a + ((step + 1) & 1) * SlabA::kElements, product.a.along_k);
      slab_b.store(shared_b + ((step + 1) & 1) * SlabB::kElements, product.b.along_k);
    }
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < kAcross; i++) {
    const int64_t first = column + own_column + i * 32;
    const int64_t valid = product.b.lines - first;
    if (valid <= 0) continue;
    Pack<float, 4> bias = {{0, 0, 0, 0}};
    if (product.bias != nullptr) bias = load_four(product.bias + first, valid, false);
#pragma unroll
    for (int r = 0; r < kDown * 4; r++) {
      const int64_t at = row + own_row + r / 4 * 16 + r % 4;
      if (at >= product.a.lines) continue;
      float* to = product.y + batch * product.y_batch + at * product.y_stride + first;
      Pack<float, 4> four;
#pragma unroll
      for (int c = 0; c < 4; c++) four.v[c] = product.bias != nullptr ? sums[r][i * 4 + c] + bias.v[c] : sums[r][i * 4 + c];
      if (product.vector_y && valid >= 4) {
        store_pack(to, four);
      } else {
#pragma unroll
        for (int c = 0; c < 4; c++)
          if (c < valid) to[c] = four.v[c];
      }
    }
  }
}

using Large = Tile<4, 2, 2, 2>;   // 128 x 128
using Middle = Tile<4, 2, 1, 1>;  // 64 x 64
using Small = Tile<2, 1, 1, 1>;   // 32 x 32

template <class Tile>
int64_t tile_count(const MatmulProblem& problem) {
  return problem.batch * ceil_div(problem.rows, Tile::kRows) * ceil_div(problem.columns, Tile::kColumns);
}

template <class Tile>
Status launch_tiles(const char* op, const MatmulProblem& problem, Product product, const CudaContext& context) {
  product.tiles_down = ceil_div(problem.rows, Tile::kRows);
  product.tiles_across = ceil_div(problem.columns, Tile::kColumns);
  const int64_t blocks = tile_count<Tile>(problem);
  HEDDLE_CHECK(blocks < int64_t{1} << 31, op, "the product takes " + std::to_string(blocks) + " tiles: expected less than 2147483648");
  return context.launch(op, product_tiles<Tile>, {dim3(static_cast<unsigned>(blocks)), static_cast<unsigned>(Tile::kThreads)}, product);
}

Lines lines_of(const float* data, int64_t stride, int64_t batch_stride, int64_t batch, int64_t lines, bool along_k) {
  return {data, stride, batch_stride, lines, along_k, is_aligned16(data, stride) && (batch == 1 || batch_stride % 4 == 0)};
}

}  // namespace

Status matmul_f32(const char* op, const MatmulProblem& problem, const float* bias, const CudaContext& context) {
  if (problem.batch == 0 || problem.rows == 0 || problem.columns == 0) return Status::success();
  Product product = {};
  product.a = lines_of(problem.a, problem.a_stride, problem.a_batch, problem.batch, problem.rows, !problem.transpose_a);
  product.b = lines_of(problem.b, problem.b_stride, problem.b_batch, problem.batch, problem.columns, problem.transpose_b);
  product.bias = bias;
  product.y = problem.y;
  product.y_stride = problem.y_stride;
  product.y_batch = problem.y_batch;
  product.k = problem.k;
  product.vector_y = lines_of(problem.y, problem.y_stride, problem.y_batch, problem.batch, problem.rows, true).vector;
  // The largest tiles that still give every multiprocessor some: these read the operands least often.
  const int64_t wanted = context.limits.multiprocessors;
  if (tile_count<Large>(problem) >= wanted) return launch_tiles<Large>(op, problem, product, context);
  if (tile_count<Middle>(problem) >= wanted) return launch_tiles<Middle>(op, problem, product, context);
  return launch_tiles<Small>(op, problem, product, context);
}

}  // namespace heddle
