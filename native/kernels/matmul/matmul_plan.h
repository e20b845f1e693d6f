// How one product is cut: chunks of rows x columns for the pool, blocks of k within a chunk, tiles of rows within a block.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace heddle {

struct MatmulProblem {
  const float* a;
  const float* b;
  float* y;
  int64_t a_stride, b_stride, y_stride;  // elements between rows as they lie in memory
  int64_t a_batch, b_batch, y_batch;     // elements between products
  int64_t batch, rows, columns, k;
  bool transpose_a, transpose_b;
};

inline constexpr int64_t kMatmulPanel = 16;
// A block of b lies in the second level cache beside a tile of a in the first.
inline constexpr int64_t kMatmulDepth = 256;
inline constexpr int64_t kMatmulPanels = 12;  // of a block: a multiple of every tile's width
// a is packed in groups of so many k, so that the rows of a tile follow each other whatever their stride.
inline constexpr int64_t kMatmulGroup = 32;
inline constexpr int64_t kMatmulTallest = 12;

// A worker's scratch memory, in elements: a block of b, then a tile of a.
inline constexpr int64_t kMatmulBlockElements = kMatmulDepth * kMatmulPanels * kMatmulPanel;
inline constexpr int64_t kMatmulTileElements = kMatmulDepth * kMatmulTallest;
inline constexpr int64_t kMatmulWorkerElements = kMatmulBlockElements + kMatmulTileElements;

struct MatmulChunks {
  int64_t chunk_rows, chunk_panels;
  int64_t down, across;  // chunks of one product

  static MatmulChunks of(const MatmulProblem& problem, int64_t tile_rows, int threads) {
    const int64_t panels = (problem.columns + kMatmulPanel - 1) / kMatmulPanel;
    MatmulChunks chunks{};
    chunks.chunk_panels = std::min(panels, kMatmulPanels);
    chunks.across = (panels + chunks.chunk_panels - 1) / chunks.chunk_panels;
    // Each chunk packs its block of b anew: enough rows for that to be little, few enough that every thread has several.
    const double operations = static_cast<double>(problem.rows) * static_cast<double>(problem.k) * static_cast<double>(problem.columns);
    const int64_t others = chunks.across * problem.batch;
    const double wanted_chunks = threads == 1 ? 1.0 : std::min(kChunksPerThread * threads, operations * static_cast<double>(problem.batch) / kOperations + 1.0);
    const int64_t tiles = (problem.rows + tile_rows - 1) / tile_rows;
    const int64_t pieces = std::max<int64_t>(1, std::min(static_cast<int64_t>(wanted_chunks) / std::max<int64_t>(1, others), tiles / kFewestTiles));
    chunks.chunk_rows = (tiles + pieces - 1) / pieces * tile_rows;
    chunks.down = (problem.rows + chunks.chunk_rows - 1) / chunks.chunk_rows;
    return chunks;
  }
  int64_t count(int64_t batch) const { return down * across * batch; }

 private:
  static constexpr double kChunksPerThread = 4, kOperations = 1 << 19;
  static constexpr int64_t kFewestTiles = 4;
};

}  // namespace heddle
