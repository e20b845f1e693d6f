// How blocks of self_attention and its gradient find their rows: tiles of 64 query rows of one key head, tiles of 64 keys.
#pragma once
#include "kernels/attention/row_tiles.cuh"
#include "kernels/self_attention/key_ranges.cuh"
#include "kernels/self_attention/self_attention_checks.h"

namespace heddle {

// f32 [rows, heads, width] with rows `stride` elements apart.
struct HeadRows {
  float* data;
  int64_t stride;
  int width;

  __host__ static HeadRows of(const TensorView& tensor) {
    return {tensor.as<float>(), tensor.leading_stride, static_cast<int>(tensor.dims[2])};
  }
  __host__ bool aligned() const { return width % 4 == 0 && is_aligned16(data, stride); }
  __device__ __forceinline__ float* at(int64_t row, int64_t head) const { return data + row * stride + head * width; }
};

struct SelfAttentionShape {
  TokenRanges ranges;
  int64_t tokens, keys, tiles, key_tiles;
  int heads, key_heads, width, group;
  int tile_heads, head_tiles, tile_tokens;
  int slices;          // of 64 channels
  int resident;        // slices of a block's own side that stay in shared memory: all, or 1 that is read again for every tile that it meets
  int output_groups;   // blocks that share a tile, each with its own slices of the output
  float scale, soft_cap;
  bool vectors;
};

inline SelfAttentionShape self_attention_shape(const SelfAttentionJob& job, Failure failure) {
  SelfAttentionShape shape = {};
  shape.ranges = {job.ranges.as<const int32_t>(), job.ranges.leading_stride, job.keys, failure};
  shape.tokens = job.tokens;
  shape.keys = job.keys;
  shape.tiles = job.group == 0 ? 0 : job.tiles();
  shape.key_tiles = job.key_blocks();
  shape.heads = static_cast<int>(job.heads);
  shape.key_heads = static_cast<int>(job.key_heads);
  shape.width = static_cast<int>(job.width);
  shape.group = static_cast<int>(job.group);
  shape.tile_heads = static_cast<int>(job.tile_heads);
  shape.head_tiles = static_cast<int>(job.head_tiles);
  shape.tile_tokens = static_cast<int>(job.tile_tokens);
  shape.slices = static_cast<int>(ceil_div(job.width, kSlice));
  shape.resident = shape.slices <= 2 ? shape.slices : 1;
  shape.output_groups = static_cast<int>(ceil_div(shape.slices, 2));
  shape.scale = job.scale;
  shape.soft_cap = job.soft_cap;
  return shape;
}

// The query rows [0, count) of a tile: heads [first_head, first_head + heads) of neighbouring tokens, token by token.
struct QueryTile {
  int64_t first_token;
  int key_head, first_head, heads, count;

  __device__ QueryTile(const SelfAttentionShape& shape, int64_t tile, int key_head, int head_tile) : key_head(key_head) {
    first_token = tile * shape.tile_tokens;
    first_head = key_head * shape.group + head_tile * shape.tile_heads;
    heads = min(shape.tile_heads, shape.group - head_tile * shape.tile_heads);
    count = static_cast<int>(min(static_cast<int64_t>(shape.tile_tokens), shape.tokens - first_token)) * heads;
  }
  __device__ int64_t token(int row) const { return first_token + row / heads; }
  __device__ int head(int row) const { return first_head + row % heads; }
};

// The rows of a block that goes by query tiles; shape.output_groups blocks in a row share them. Tiles of one key head follow each other,
// as they read the same keys, in falling order: the last tokens see the most.
__device__ __forceinline__ QueryTile query_tile_of_block(const SelfAttentionShape& shape) {
  int64_t item = blockIdx.x / shape.output_groups;
  const int head_tile = static_cast<int>(item % shape.head_tiles);
  item /= shape.head_tiles;
  return QueryTile(shape, shape.tiles - 1 - item % shape.tiles, static_cast<int>(item / shape.tiles), head_tile);
}

// Both ranges of a row, part by part; a row beyond the tile sees nothing.
__device__ __forceinline__ void read_row_ranges(const SelfAttentionShape& shape, const QueryTile& rows, int row, SharedPointer<int> begins,
                                                SharedPointer<int> ends) {
  const KeyRanges ranges = row < rows.count ? read_ranges(shape.ranges, rows.token(row)) : KeyRanges{{0, 0}, {0, 0}};
  for (int part = 0; part < 2; part++) {
    begins[part * kTile + row] = ranges.begin[part];
    ends[part * kTile + row] = ranges.end[part];
  }
}

// The keys that some of 64 entries see; empty: begin >= end. Called by a whole warp.
struct Extent {
  int begin, end;
};
__device__ inline Extent extent_of(SharedPointer<int> begins, SharedPointer<int> ends) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  int begin = INT32_MAX, end = 0;
#pragma unroll
  for (int i = lane; i < kTile; i += kWarp) {
    const int from = begins[i], to = ends[i];
    if (from >= to) continue;
    begin = min(begin, from);
    end = max(end, to);
  }
  return {-warp_max(-begin), warp_max(end)};
}

}  // namespace heddle
