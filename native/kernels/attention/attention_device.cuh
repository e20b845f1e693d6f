// What the kernels of attention know of a call, and how they find runs of tokens and chunks of keys.
#pragma once
#include "kernels/attention/cache_place.cuh"

namespace heddle {

// A token that stands alone in the batch (no neighbour of the same request) walks its keys in chunks, each with a softmax of its
// own; the chunks' results are merged in order. Where chunks begin follows from the token's own range, so its bits do not depend
// on how many blocks share the work, nor on the batch. A token with neighbours has other last bits than one alone.
inline constexpr int kMostChunks = 32;
inline constexpr int kLeastChunkBlocks = 8;  // of 16 positions

struct AttentionShape {
  const float* q;
  float* y;
  int64_t q_stride, y_stride, tokens;
  const int32_t *positions, *request;
  CacheLayer layer;
  PlaceFailures failures;
  int heads, key_heads, width, group, window;
  int tile_heads, head_tiles, tile_tokens;  // of the tiles of 64 rows
  int slices, output_groups;                // of 64 channels
  float scale, soft_cap;
  bool cache_vectors, row_vectors;  // 16-byte accesses to the cache, to q and y
  // Tokens alone:
  bool alone_apart;  // have a kernel of their own
  int splits;        // blocks per token and key head; 1: that kernel writes y
  int chunks;        // room for a token's chunks in what follows
  float* partial;    // [tokens][heads][chunks][width]
  float* partial_sums;  // [tokens][heads][chunks][2]: maximum, sum

  __device__ const float* query(int64_t token, int head) const { return q + token * q_stride + int64_t{head} * width; }
  __device__ float* output(int64_t token, int head) const { return y + token * y_stride + int64_t{head} * width; }
  // Neighbours in one request walk the cache together.
  __device__ bool same_run(int64_t a, int64_t b) const { return positions[a] >= 0 && positions[b] >= 0 && request[a] == request[b]; }
  __device__ bool is_alone(int64_t token) const {
    return !(token > 0 && same_run(token - 1, token)) && !(token + 1 < tokens && same_run(token, token + 1));
  }
};

// The positions that a token sees.
struct SeenPositions {
  int begin, end;
};
// Empty, and reported, when the token's place does not exist.
__device__ inline SeenPositions seen_positions(const AttentionShape& shape, int64_t token) {
  const int position = shape.positions[token];
  if (position < 0 || !has_place(shape.layer, shape.failures, token, shape.request[token], position)) return {0, 0};
  const int64_t lower = shape.window > 0 ? int64_t{position} + 1 - shape.window : 0;
  return {static_cast<int>(lower > 0 ? lower : 0), position + 1};
}

// Chunks of a token's blocks of 16 positions.
struct ChunkPlan {
  int first_block, blocks, per_chunk, chunks;

  __host__ __device__ static int blocks_per_chunk(int blocks) {
    const int even = (blocks + kMostChunks - 1) / kMostChunks;
    return even > kLeastChunkBlocks ? even : kLeastChunkBlocks;
  }
  __device__ explicit ChunkPlan(SeenPositions seen) {
    first_block = seen.begin / static_cast<int>(kBlockTokens);
    blocks = seen.end > seen.begin ? (seen.end - 1) / static_cast<int>(kBlockTokens) + 1 - first_block : 0;
    per_chunk = blocks_per_chunk(blocks);
    chunks = (blocks + per_chunk - 1) / per_chunk;
  }
};

// A chunk's result joins those before it.
struct Merge {
  float maximum, kept, added;  // factors of what is there and of the chunk
  __device__ Merge(float before, float chunk) {
    maximum = fmaxf(before, chunk);
    const float base = maximum == -HUGE_VALF ? 0.0f : maximum;
    kept = expf(before - base);
    added = expf(chunk - base);
  }
  __device__ float operator()(float before, float chunk) const { return fmaf(before, kept, chunk * added); }
};

}  // namespace heddle
