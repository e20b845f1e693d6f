// How one call of self_attention or its gradient is cut: tiles of query rows, blocks of keys, and a worker's memory.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/tensor_view.h"

namespace heddle {

// Query rows of a tile, and keys of a block: what stays in the first two caches.
inline constexpr int kAttentionTile = 64;
// Keys of which a tile keeps the scores between finding their maximum and weighing them. More are computed twice.
inline constexpr int64_t kKeptKeys = 1024;

struct SelfAttentionJob {
  TensorView q, k, v, ranges;
  float scale, soft_cap;
  int64_t tokens, heads, keys, key_heads, width;
  int64_t padded;       // width rounded up to whole vectors of any target
  int64_t group;        // query heads per key head
  int64_t tile_heads;   // query heads of a group in one tile
  int64_t head_tiles;   // tiles per group
  int64_t tile_tokens;  // tokens in one tile
  std::byte* workspace;  // per worker
  size_t worker_bytes;

  int64_t tiles() const { return (tokens + tile_tokens - 1) / tile_tokens; }
  int64_t query_items() const { return tiles() * key_heads * head_tiles; }
  int64_t key_blocks() const { return (keys + kAttentionTile - 1) / kAttentionTile; }
  int64_t key_items() const { return key_blocks() * key_heads; }
  const int32_t* range(int64_t token) const { return ranges.row<const int32_t>(token); }
  const float* query(int64_t token, int64_t head) const { return q.row<const float>(token) + head * width; }
  const float* key(int64_t key, int64_t head) const { return k.row<const float>(key) + head * width; }
  const float* value(int64_t key, int64_t head) const { return v.row<const float>(key) + head * width; }
};

// The query rows of one item: the heads [first_head, first_head + heads) of its tokens, token by token.
struct QueryRows {
  int64_t first_token, first_head, key_head;
  int heads, count;
  int32_t begin[2][kAttentionTile], end[2][kAttentionTile];  // the keys of each row, first and second range

  int64_t token(int row) const { return first_token + row / heads; }
  int64_t head(int row) const { return first_head + row % heads; }

  static QueryRows of(const SelfAttentionJob& job, int64_t item) {
    QueryRows rows;
    // Tiles of one key head follow each other, as they read the same keys, in falling order: the last tokens see the most.
    const int64_t per_head = job.tiles() * job.head_tiles;
    const int64_t part = item % job.head_tiles;
    rows.key_head = item / per_head;
    rows.first_token = (job.tiles() - 1 - item % per_head / job.head_tiles) * job.tile_tokens;
    rows.first_head = rows.key_head * job.group + part * job.tile_heads;
    rows.heads = static_cast<int>(std::min(job.tile_heads, job.group - part * job.tile_heads));
    rows.count = static_cast<int>(std::min(job.tile_tokens, job.tokens - rows.first_token)) * rows.heads;
    for (int row = 0; row < rows.count; row++) {
      const int32_t* range = job.range(rows.token(row));
      for (int part = 0; part < 2; part++) {
        rows.begin[part][row] = range[2 * part];
        rows.end[part][row] = range[2 * part + 1];
      }
    }
    return rows;
  }

  // The keys that some row sees in one of the two ranges.
  struct Extent {
    int64_t begin, end;
  };
  Extent extent(int part) const {
    Extent extent{INT64_MAX, 0};
    for (int row = 0; row < count; row++) {
      if (begin[part][row] == end[part][row]) continue;
      extent.begin = std::min<int64_t>(extent.begin, begin[part][row]);
      extent.end = std::max<int64_t>(extent.end, end[part][row]);
    }
    return extent.begin < extent.end ? extent : Extent{0, 0};
  }
};

// The part of a block of keys (or of query rows) that one row sees; empty: begin == end.
struct LaneSpan {
  int begin, end;

  static LaneSpan of(int64_t begin, int64_t end, int64_t start, int64_t count) {
    const int64_t from = std::max(begin - start, int64_t{0}), to = std::min(end - start, count);
    return from < to ? LaneSpan{static_cast<int>(from), static_cast<int>(to)} : LaneSpan{0, 0};
  }
  bool empty() const { return begin == end; }
};

constexpr int64_t attention_padded(int64_t width) { return (width + 15) / 16 * 16; }

// One worker's memory, in floats; every part starts on a cache line.
struct SelfAttentionScratch {
  float* packed[2];  // rows side by side, as the tiles of scores read them: see pack_rows
  float* rows[2];    // [kAttentionTile][padded]: the rows that these meet, one after the other
  float* sums[2];    // [kAttentionTile][padded]
  float* scores[2];  // [keys or rows of a block][kAttentionTile]

  static constexpr size_t bytes(int64_t width, int64_t score_rows) {
    return sizeof(float) * static_cast<size_t>(kAttentionTile) * static_cast<size_t>(2 * width + 4 * attention_padded(width) + score_rows);
  }
  SelfAttentionScratch(std::byte* memory, int64_t width) {
    float* next = reinterpret_cast<float*>(memory);
    for (float*& part : packed) {
      part = next;
      next += width * kAttentionTile;
    }
    for (float** parts : {rows, sums})
      for (int i = 0; i < 2; i++) {
        parts[i] = next;
        next += attention_padded(width) * kAttentionTile;
      }
    scores[0] = next;
    scores[1] = next + kAttentionTile * kAttentionTile;
  }
};

}  // namespace heddle
