#include "kernels/linear/linear_mma.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/matmul/tile_order.cuh"

namespace heddle {

namespace {

constexpr int kDepth = static_cast<int>(kRoundedDepth);  // k of a stage

template <int WarpsDown, int WarpsAcross, int SixteensDown, int EightsAcross, int Stages, int Blocks>
struct Tile {
  static constexpr int kWarpsAcross = WarpsAcross, kSixteens = SixteensDown, kEights = EightsAcross, kStages = Stages;
  static constexpr int kBlocks = Blocks;  // that a multiprocessor shall hold
  static constexpr int kThreads = WarpsDown * WarpsAcross * kWarp;
  static constexpr int kWarpRows = 16 * SixteensDown, kWarpColumns = 8 * EightsAcross;
  static constexpr int kRows = WarpsDown * kWarpRows, kColumns = WarpsAcross * kWarpColumns;
  static constexpr int kStageElements = (kRows + kColumns) * kDepth;
  static constexpr size_t kSharedBytes = static_cast<size_t>(Stages) * kStageElements * 2;
  static_assert(EightsAcross % 2 == 0, "the weight's fragments are loaded two at a time");
};

struct Product {
  RoundedRows left;
  const void* weight;
  int64_t weight_rows, inner;
  const float* bias;
  float* y;
  int64_t y_stride, columns;
  int64_t tiles_down, tiles_across;
  bool aligned_weight;  // rows begin at multiples of 16 bytes; otherwise of 4
  bool aligned_y;
};

// Rows of a stage are cut into pieces of 8 elements (16 bytes); which place a piece takes depends on its row, so that the 8 rows of
// a matrix that ldmatrix reads lie in different banks.
__device__ int piece_place(int row, int piece, int row_elements) { return row * row_elements + ((piece ^ (row & 7)) * 8); }

// Eight elements of which the first `valid` exist (an even number), from an address that is a multiple of 4 bytes only.
template <class T>
__device__ Pack<T, 8> load_by_pairs(const T* from, int64_t valid) {
  Pack<uint32_t, 4> words;
#pragma unroll
  for (int i = 0; i < 4; i++) words.v[i] = 2 * i < valid ? reinterpret_cast<const uint32_t*>(from)[i] : 0;
  Pack<T, 8> elements;
  memcpy(&elements, &words, 16);
  return elements;
}

// A thread's share of the Rows x Columns blocks of a row-major matrix that go into one stage after the other; zeros where the
// matrix has ended.
template <class T, int Rows, int Columns, int Threads>
struct Fetch {
  static constexpr int kPieces = Columns / 8;
  static constexpr int kRowsApart = Threads / kPieces;  // between a thread's pieces: a multiple of 8, so that all take the same place
  static_assert(kRowsApart % 8 == 0 && Rows % kRowsApart == 0, "every thread fetches as much");
  const T* from;       // the thread's first piece
  int64_t columns;     // of the matrix
  int64_t rows_left, columns_left;
  int place;

  __device__ Fetch(const T* matrix, int64_t rows, int64_t columns, int64_t row, int64_t column)
      : columns(columns) {
    const int r = static_cast<int>(threadIdx.x) / kPieces, piece = static_cast<int>(threadIdx.x) % kPieces;
    from = matrix + (row + r) * columns + column + piece * 8;
    rows_left = rows - row - r;
    columns_left = columns - column - piece * 8;
    place = piece_place(r, piece, Columns);
  }
  __device__ void start(SharedPointer<T> stage, const T* base, int64_t offset, bool aligned) const {
    constexpr int kCount = Rows / kRowsApart;
    if (aligned) {
#pragma unroll
      for (int i = 0; i < kCount; i++) {
        const bool inside = columns_left > 0 && i * kRowsApart < rows_left;
        copy_async16(stage + (place + i * kRowsApart * Columns), inside ? from + offset + i * kRowsApart * columns : base, inside);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < kCount; i++) {
        const int64_t valid = i * kRowsApart < rows_left ? columns_left : 0;
        store_pack(stage + (place + i * kRowsApart * Columns), load_by_pairs(valid > 0 ? from + offset + i * kRowsApart * columns : base, valid));
      }
    }
  }
  __device__ void go_right(int64_t count) { from += count, columns_left -= count; }
  __device__ void go_down(int64_t count) { from += count * columns, rows_left -= count; }
};

template <class T, class Tile, bool Turned>
__global__ __launch_bounds__(Tile::kThreads, Tile::kBlocks) void product_tiles(Product product) {
  constexpr int kSixteens = Tile::kSixteens, kEights = Tile::kEights, kStages = Tile::kStages;
  HEDDLE_DYNAMIC_SHARED(memory);
  const SharedPointer<T> stages = shared_at<T>(memory, 0);
  const TilePlace place = tile_place(static_cast<int64_t>(blockIdx.x), product.tiles_down, product.tiles_across);
  const int64_t row = place.down * Tile::kRows, column = place.across * Tile::kColumns;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int own_row = warp / Tile::kWarpsAcross * Tile::kWarpRows, own_column = warp % Tile::kWarpsAcross * Tile::kWarpColumns;

  const T* left = static_cast<const T*>(product.left.terms);
  const T* weight = static_cast<const T*>(product.weight);
  const int terms = product.left.count;
  const int64_t term_elements = product.left.rows * product.left.padded;
  const int steps = static_cast<int>(product.left.padded / kDepth) * terms;
  Fetch<T, Tile::kRows, kDepth, Tile::kThreads> fetch_left(left, product.left.rows, product.left.padded, row, 0);
  Fetch<T, Turned ? kDepth : Tile::kColumns, Turned ? Tile::kColumns : kDepth, Tile::kThreads> fetch_weight(
      weight, product.weight_rows, product.inner, Turned ? 0 : column, Turned ? column : 0);

  float sums[kSixteens][kEights][4] = {};
  int term = 0, filled = 0, used = 0;  // which term comes next, which stage is filled and used next
  for (int step = 1 - kStages; step < steps; step++) {
    if (step >= 0) {
      copy_async_wait<kStages - 2>();
      __syncthreads();
    }
    // Into the stage that all have just left.
    if (step + kStages - 1 < steps) {
      const SharedPointer<T> stage = stages + filled * Tile::kStageElements;
      fetch_left.start(stage, left, term * term_elements, true);
      fetch_weight.start(stage + Tile::kRows * kDepth, weight, 0, product.aligned_weight);
      filled = filled + 1 == kStages ? 0 : filled + 1;
      // All terms of a piece of k follow each other: the weight's piece is still near.
      if (++term == terms) {
        term = 0;
        fetch_left.go_right(kDepth);
        if constexpr (Turned) {
          fetch_weight.go_down(kDepth);
        } else {
          fetch_weight.go_right(kDepth);
        }
      }
    }
    copy_async_commit();
    if (step < 0) continue;
    const SharedPointer<T> from_left = stages + used * Tile::kStageElements;
    used = used + 1 == kStages ? 0 : used + 1;
    const SharedPointer<T> from_weight = from_left + Tile::kRows * kDepth;
#pragma unroll
    for (int part = 0; part < kDepth / 16; part++) {
      uint32_t a[kSixteens][4];
#pragma unroll
      for (int i = 0; i < kSixteens; i++)
        load_matrix_x4(a[i], from_left + piece_place(own_row + i * 16 + lane % 16, part * 2 + lane / 16, kDepth));
#pragma unroll
      for (int j = 0; j < kEights; j += 2) {
        uint32_t b[4];  // of two blocks of 8 columns
        if constexpr (Turned) {
          load_matrix_x4_transposed(b, from_weight + piece_place(part * 16 + lane % 16, (own_column + j * 8) / 8 + lane / 16, Tile::kColumns));
        } else {
          load_matrix_x4(b, from_weight + piece_place(own_column + j * 8 + lane / 16 * 8 + lane % 8, part * 2 + lane / 8 % 2, kDepth));
        }
        const uint32_t first[2] = {b[0], b[1]}, second[2] = {b[2], b[3]};
#pragma unroll
        for (int i = 0; i < kSixteens; i++) {
          mma_m16n8k16<T>(sums[i][j], a[i], first);
          mma_m16n8k16<T>(sums[i][j + 1], a[i], second);
        }
      }
    }
  }

  // Through shared memory, so that rows of y are stored by 16 bytes.
  copy_async_wait<0>();
  __syncthreads();
  constexpr int kPitch = Tile::kColumns + 8;  // rows of a fragment in different banks
  static_assert(Tile::kRows * kPitch * sizeof(float) <= Tile::kSharedBytes, "the stages' memory holds the sums");
  const SharedPointer<float> results = shared_at<float>(memory, 0);
  const int group = lane / 4, pair = lane % 4;
#pragma unroll
  for (int i = 0; i < kSixteens; i++)
#pragma unroll
    for (int j = 0; j < kEights; j++)
#pragma unroll
      for (int half = 0; half < 2; half++)
        store_pack(results + ((own_row + i * 16 + half * 8 + group) * kPitch + own_column + j * 8 + pair * 2),
                   Pack<float, 2>{{sums[i][j][half * 2], sums[i][j][half * 2 + 1]}});
  __syncthreads();
#pragma unroll 1
  for (int index = static_cast<int>(threadIdx.x); index < Tile::kRows * Tile::kColumns / 4; index += Tile::kThreads) {
    const int r = index / (Tile::kColumns / 4), c = index % (Tile::kColumns / 4) * 4;
    const int64_t valid = product.columns - (column + c);
    if (row + r >= product.left.rows || valid <= 0) continue;
    const float unscale = product.left.unscale != nullptr ? product.left.unscale[row + r] : 1.0f;
    Pack<float, 4> four = load_pack<4>(results + (r * kPitch + c));
#pragma unroll
    for (int i = 0; i < 4; i++) {
      four.v[i] *= unscale;
      if (product.bias != nullptr && i < valid) four.v[i] += product.bias[column + c + i];
    }
    float* y = product.y + (row + r) * product.y_stride + column + c;
    if (product.aligned_y && valid >= 4) {
      store_pack(y, four);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++)
        if (i < valid) y[i] = four.v[i];
    }
  }
}

using Huge = Tile<2, 4, 4, 8, 3, 1>;   // 128 x 256
using Large = Tile<2, 2, 4, 8, 3, 2>;  // 128 x 128
using Small = Tile<2, 2, 2, 4, 5, 2>;  // 64 x 64

template <class Tile>
int64_t tile_count(const MmaProduct& product) {
  return ceil_div(product.left.rows, Tile::kRows) * ceil_div(product.columns, Tile::kColumns);
}

template <class T, class Tile>
Status launch_tiles(const char* op, const MmaProduct& given, const CudaContext& context) {
  Product product = {given.left, given.weight, given.weight_rows, given.inner, given.bias, given.y, given.y_stride, given.columns, 0, 0, false, false};
  product.tiles_down = ceil_div(given.left.rows, Tile::kRows);
  product.tiles_across = ceil_div(given.columns, Tile::kColumns);
  product.aligned_weight = is_aligned16(static_cast<const uint16_t*>(given.weight), given.inner);
  product.aligned_y = is_aligned16(given.y, given.y_stride);
  const LaunchShape shape = {dim3(static_cast<unsigned>(tile_count<Tile>(given))), static_cast<unsigned>(Tile::kThreads), Tile::kSharedBytes};
  if (given.turned) return context.launch(op, product_tiles<T, Tile, true>, shape, product);
  return context.launch(op, product_tiles<T, Tile, false>, shape, product);
}

// Larger tiles read the operands less often from the second level cache, but must leave hardly a multiprocessor without work.
template <class Tile>
bool worth_it(const MmaProduct& product, const CudaContext& context) {
  return tile_count<Tile>(product) * 4 >= context.limits.multiprocessors * int64_t{3} && context.limits.shared_per_block >= Tile::kSharedBytes;
}

template <class T>
Status launch_best(const char* op, const MmaProduct& product, const CudaContext& context) {
  const bool tall = product.left.rows > Small::kRows;
  if (tall && worth_it<Huge>(product, context)) return launch_tiles<T, Huge>(op, product, context);
  if (tall && worth_it<Large>(product, context)) return launch_tiles<T, Large>(op, product, context);
  return launch_tiles<T, Small>(op, product, context);
}

}  // namespace

Status linear_mma(const char* op, const MmaProduct& product, const CudaContext& context) {
  if (product.left.rows == 0 || product.columns == 0) return Status::success();
  return product.dtype == DType::kF16 ? launch_best<F16>(op, product, context) : launch_best<BF16>(op, product, context);
}

}  // namespace heddle
