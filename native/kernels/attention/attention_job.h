// One call of attention, cut into tiles: what the code of every instruction-set target works from.
#pragma once
#include <cstddef>
#include <cstdint>

#include "generated/attention_ops.h"
#include "kernels/attention/attention_checks.h"

namespace heddle {

inline constexpr int kTileRows = 64;  // query rows that walk the cache together
// Positions between two updates of a row's running maximum: spans are aligned to absolute positions, so that a row's
// arithmetic depends on nothing but its own range.
inline constexpr int kSpan = 64;
inline constexpr int kSpanBlocks = kSpan / kBlockTokens;

// Neighbouring tokens of one request.
struct AttentionTile {
  int32_t first;
  int32_t tokens;
};

struct AttentionJob {
  const AttentionArgs* args;
  CacheLayer layer;
  int64_t heads, key_heads, width;
  int64_t padded;          // width rounded up to whole vectors of any target
  int64_t group;           // query heads per key head
  int64_t tile_heads;      // query heads of a group in one tile
  int64_t head_tiles;      // tiles per group
  const AttentionTile* tiles;
  int64_t tile_count;
  std::byte* workspace;    // per worker
  size_t worker_bytes;

  int64_t items() const { return tile_count * key_heads * head_tiles; }
  int64_t end(int64_t token) const { return int64_t{args->positions.as<const int32_t>()[token]} + 1; }
  int64_t begin(int64_t token) const {
    const int64_t lower = args->window > 0 ? end(token) - args->window : 0;
    return lower > 0 ? lower : 0;
  }
};

// One worker's scratch memory, in floats; every part starts on a cache line.
struct AttentionScratch {
  float* q;        // rows, packed by register tile as [width][rows of the tile], times the scale
  float* sums;     // [rows][16] running sums of the weights, one per lane
  float* output;   // [rows][padded] running weighted sums of the values
  float* scores;   // [rows][kSpan] scores, then weights
  float* keys;     // the span's keys as f32
  float* values;   // the span's values as f32, padded

  static constexpr int64_t aligned(int64_t floats) { return (floats + 15) / 16 * 16; }
  static constexpr int64_t floats(int64_t width, int64_t padded) {
    return aligned(kTileRows * width) + kTileRows * (kBlockTokens + padded + kSpan) + kSpan * (width + padded);
  }
  AttentionScratch(std::byte* memory, int64_t width, int64_t padded) {
    q = reinterpret_cast<float*>(memory);
    sums = q + aligned(kTileRows * width);
    output = sums + kTileRows * kBlockTokens;
    scores = output + kTileRows * padded;
    keys = scores + kTileRows * kSpan;
    values = keys + kSpan * width;
  }
};

}  // namespace heddle
