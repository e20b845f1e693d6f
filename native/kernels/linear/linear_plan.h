// How one call of linear is cut: into row blocks that fit the workspace, tiles of rows, and chunks for the pool.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/dtype.h"
#include "kernels/linear/linear_pack.h"

namespace heddle {

struct LinearProblem {
  const float* x;
  int64_t x_stride;
  const std::byte* weight;  // the first panel; of compact panels its header
  const float* bias;        // may be null
  float* y;
  int64_t y_stride;
  int64_t rows, outputs, k;
  DType dtype;  // of the weight's elements
  int64_t panel_step;  // bytes from one panel to the next
  bool compact;
  bool precise;
  std::byte* packed;  // the workspace: x as the tiles read it
};

// x is packed for at most so many rows at a time; the weight is read once per row block.
inline constexpr int64_t kLinearRowBlock = 768;
// x is packed in groups of so many k, zero filled: a group of one row is one or two cache lines.
inline constexpr int64_t kLinearGroup = 32;

// Packing x is split into so many groups per chunk, unless x is so small that handing it out costs more.
inline constexpr int64_t kLinearPackGroups = 32;
inline constexpr int64_t kLinearInlineInput = 8192;

// k of a panel that are used by all tiles of a chunk before the next ones: two panels lie in the second level cache
// beside x, and a tile's x in the first.
inline constexpr int64_t kLinearBlock = 1024;

inline constexpr int64_t kBf16PairBytes = 2 * kLinearPanel * 2;

// Pairs of k between what a tile multiplies and what it fetches from memory.
inline constexpr int64_t kLinearAhead = 64;

constexpr int64_t linear_padded_k(int64_t k) { return (k + kLinearGroup - 1) / kLinearGroup * kLinearGroup; }

// Four bytes for an element of x: an f32, or two bf16 parts, or (half used) one bf16.
constexpr size_t linear_packed_input_bytes(int64_t rows, int64_t k) {
  return static_cast<size_t>(std::min(rows, kLinearRowBlock)) * static_cast<size_t>(linear_padded_k(k)) * 4;
}

// `rows` rows in `tiles` tiles whose heights differ by one at most (a short last tile would run at a fraction of the speed).
struct LinearTiles {
  int64_t rows, tiles;

  static LinearTiles of(int64_t rows, int64_t highest) { return {rows, (rows + highest - 1) / highest}; }
  int64_t begin(int64_t tile) const { return tile * (rows / tiles) + std::min(tile, rows % tiles); }
  int64_t height(int64_t tile) const { return rows / tiles + (tile < rows % tiles ? 1 : 0); }
};

// Chunks of panels x tiles: long enough to pay for being claimed, short enough that a thread that loses its core holds
// up the others for some tens of microseconds only.
struct LinearChunks {
  int64_t panels, tiles;              // of the whole block
  int64_t chunk_panels, chunk_tiles;  // of a chunk

  int64_t across() const { return (panels + chunk_panels - 1) / chunk_panels; }
  int64_t down() const { return (tiles + chunk_tiles - 1) / chunk_tiles; }
  int64_t count() const { return across() * down(); }

  static LinearChunks of(const LinearProblem& problem, const LinearTiles& tiles, int64_t widest, double weight_bytes, int threads) {
    const int64_t panels = linear_panels(problem.outputs);
    LinearChunks chunks{panels, tiles.tiles, panels, tiles.tiles};
    // Nanoseconds for one panel and all rows, from the bytes of the weight or the operations, whichever takes longer.
    const double k = static_cast<double>(problem.k);
    const double bytes = k * static_cast<double>(kLinearPanel) * weight_bytes;
    const double operations = 2.0 * k * static_cast<double>(kLinearPanel) * static_cast<double>(problem.rows);
    const double panel_cost = std::max(bytes / kBytesPerNanosecond, operations / kOperationsPerNanosecond) + 1.0;
    const double wanted = std::min(kChunkNanoseconds, std::max(kShortestChunk, panel_cost * static_cast<double>(panels) / (kChunksPerThread * threads)));
    const int64_t groups = (panels + widest - 1) / widest;
    const int64_t chunk_groups = std::clamp<int64_t>(static_cast<int64_t>(wanted / (panel_cost * static_cast<double>(widest))), 1, groups);
    chunks.chunk_panels = chunk_groups * widest;
    const double group_cost = panel_cost * static_cast<double>(widest);
    if (group_cost > 1.5 * wanted) {
      const int64_t pieces = std::min(tiles.tiles, static_cast<int64_t>(group_cost / wanted + 0.5));
      chunks.chunk_tiles = (tiles.tiles + pieces - 1) / pieces;
    }
    return chunks;
  }

 private:
  static constexpr double kBytesPerNanosecond = 25, kOperationsPerNanosecond = 200;  // of one current core
  static constexpr double kChunkNanoseconds = 50'000, kShortestChunk = 3'000, kChunksPerThread = 6;
};

}  // namespace heddle
