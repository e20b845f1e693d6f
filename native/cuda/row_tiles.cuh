// How memory-bound kernels share rows among blocks: a tile is a piece of one long row, or several short rows below each other.
//
//   const RowTiles tiles = row_tiles(rows, units, depth);            // host; a unit is what a thread moves at once
//   context.launch(op, kernel, tile_launch(tiles, context.limits), tiles, ...)
//   over_tiles(tiles, [&](int64_t row, int64_t unit, int lanes) {    // kernel
//     for (int d = 0; d < depth; d++) ... unit + d * lanes ...       // may lie beyond the row: the body checks
//   });
#pragma once
#include "cuda/cuda_context.h"
#include "cuda/load.cuh"

namespace heddle {

inline constexpr int kTileThreads = 128;

struct RowTiles {
  int64_t rows, units;
  int64_t across;   // tiles beside each other
  int64_t count;
  int depth;        // units that a thread takes of one row, all under way at once
  int lanes_shift;  // 2 ^ lanes_shift threads lie beside each other
};

inline RowTiles row_tiles(int64_t rows, int64_t units, int depth) {
  int shift = 0;
  while ((static_cast<int64_t>(depth) << shift) < units && (1 << shift) < kTileThreads) shift++;
  const int64_t across = ceil_div(units, static_cast<int64_t>(depth) << shift), down = ceil_div(rows, kTileThreads >> shift);
  return {rows, units, across, across * down, depth, shift};
}

// Twice as many blocks as the device holds at once, so that blocks that end early make room for others.
inline LaunchShape tile_launch(const RowTiles& tiles, const DeviceLimits& limits) {
  const int64_t resident = int64_t{limits.multiprocessors} * (limits.threads_per_multiprocessor / kTileThreads);
  return {strided_grid(tiles.count, 2 * resident), kTileThreads};
}

// body(row, first unit, distance of the thread's units).
template <class Body>
__device__ __forceinline__ void over_tiles(const RowTiles& tiles, const Body& body) {
  const int lanes = 1 << tiles.lanes_shift;
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1), below = static_cast<int>(threadIdx.x) >> tiles.lanes_shift;
  for (int64_t tile = blockIdx.x; tile < tiles.count; tile += gridDim.x) {
    const int64_t band = tiles.across == 1 ? tile : tile / tiles.across;
    const int64_t row = band * (kTileThreads >> tiles.lanes_shift) + below;
    if (row < tiles.rows) body(row, (tile - band * tiles.across) * (static_cast<int64_t>(tiles.depth) << tiles.lanes_shift) + lane, lanes);
  }
}

// Width floats from `column` on, in one access unless the row ends among them; what lies beyond reads as 0 and is not written.
template <int Width>
__device__ __forceinline__ void read_unit(const float* row, int64_t column, int64_t columns, float* to) {
  if (column + Width <= columns) {
    const Pack<float, Width> pack = load_pack<Width>(row + column);
#pragma unroll
    for (int i = 0; i < Width; i++) to[i] = pack.v[i];
  } else {
#pragma unroll
    for (int i = 0; i < Width; i++) to[i] = column + i < columns ? row[column + i] : 0.0f;
  }
}

template <int Width>
__device__ __forceinline__ void write_unit(float* row, int64_t column, int64_t columns, const float* from) {
  if (column + Width <= columns) {
    Pack<float, Width> pack;
#pragma unroll
    for (int i = 0; i < Width; i++) pack.v[i] = from[i];
    store_pack(row + column, pack);
  } else {
#pragma unroll
    for (int i = 0; i < Width; i++)
      if (column + i < columns) row[column + i] = from[i];
  }
}

}  // namespace heddle
