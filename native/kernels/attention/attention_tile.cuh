// The general kernel of attention: a block walks the keys of up to 64 query rows, the query heads of one key head for neighbouring
// tokens of one request. Spans of 64 positions begin at absolute multiples of 64, so a row's bits do not depend on the rows beside it.
#pragma once
#include "kernels/attention/attention_device.cuh"
#include "kernels/attention/row_tiles.cuh"

namespace heddle {

// Tokens that share a tile with `token`: itself and its followers in its run up to the next multiple of the tile's size; 0 when an
// earlier token leads them. Called by a whole warp.
__device__ inline int led_tokens(const AttentionShape& shape, int64_t token) {
  const int64_t stop = min(shape.tokens, (token / shape.tile_tokens + 1) * shape.tile_tokens);
  if (token % shape.tile_tokens != 0 && shape.same_run(token - 1, token)) return 0;
  int count = 1;
  for (;;) {
    const int64_t other = token + count + static_cast<int>(threadIdx.x) % kWarp;
    const unsigned breaks = __ballot_sync(kFullWarp, other >= stop || !shape.same_run(token, other));
    if (breaks != 0) return count + __ffs(static_cast<int>(breaks)) - 1;
    count += kWarp;
  }
}

// Of a span of 64 positions, those that some row of the tile sees.
struct Span {
  int begin, end;
};

// Keys of channels [first, first + 64) as [channel][position], zeros where nobody looks.
template <class Stored>
__device__ __forceinline__ void load_keys(const AttentionShape& shape, SharedPointer<float> tile, const SharedPointer<const Stored*>& pages,
                                          int key_head, int first) {
  constexpr int kPack = kPackWidth<Stored>;
  __syncthreads();
  const int channels = min(kSlice, shape.width - first);
  if (shape.cache_vectors) {
#pragma unroll 2
    for (int i = static_cast<int>(threadIdx.x); i < kSlice * kTile / kPack; i += kAttentionThreads) {
      // Neighbouring threads: one block's packs of one channel, then the next channel.
      constexpr int kPerBlock = static_cast<int>(kBlockTokens) / kPack;
      const int block = i / (kSlice * kPerBlock), channel = i / kPerBlock % kSlice, slot = i % kPerBlock * kPack;
      const Stored* page = pages[block];
      Pack<Stored, kPack> part = {};
      if (page != nullptr && channel < channels) part = load_pack<kPack>(page + key_offset(shape.width, key_head, first + channel, slot));
#pragma unroll
      for (int half = 0; half < kPack / 4; half++) {
        Pack<float, 4> values;
#pragma unroll
        for (int e = 0; e < 4; e++) values.v[e] = to_f32(part.v[half * 4 + e]);
        store_pack(tile + channel * kTileStride + block * static_cast<int>(kBlockTokens) + slot + half * 4, values);
      }
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < kSlice * kTile; i += kAttentionThreads) {
      const int channel = i / kTile, position = i % kTile;
      const Stored* page = pages[position / static_cast<int>(kBlockTokens)];
      tile[channel * kTileStride + position] =
          page != nullptr && channel < channels ? to_f32(page[key_offset(shape.width, key_head, first + channel, position % kBlockTokens)]) : 0.0f;
    }
  }
  __syncthreads();
}

// Values of channels [first, first + 64) as [position][channel], zeros where nobody looks. Whether any is not finite.
template <class Stored>
__device__ __forceinline__ bool load_values(const AttentionShape& shape, SharedPointer<float> tile, const SharedPointer<const Stored*>& pages,
                                            int key_head, int first, Span span) {
  constexpr int kPack = kPackWidth<Stored>;
  __syncthreads();
  bool finite = true;
  const int channels = min(kSlice, shape.width - first);
  if (shape.cache_vectors) {
#pragma unroll 2
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kSlice / kPack; i += kAttentionThreads) {
      const int position = i / (kSlice / kPack), channel = i % (kSlice / kPack) * kPack;
      const Stored* page = nullptr;
      if (position >= span.begin && position < span.end) page = pages[position / static_cast<int>(kBlockTokens)];
      Pack<Stored, kPack> part = {};
      if (page != nullptr && channel < channels)
        part = load_pack<kPack>(page + value_offset(shape.key_heads, shape.width, key_head, position % kBlockTokens, first + channel));
#pragma unroll
      for (int half = 0; half < kPack / 4; half++) {
        Pack<float, 4> values;
#pragma unroll
        for (int e = 0; e < 4; e++) {
          values.v[e] = to_f32(part.v[half * 4 + e]);
          finite = finite && is_finite(values.v[e]);
        }
        store_pack(tile + position * kTileStride + channel + half * 4, values);
      }
    }
  } else {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kSlice; i += kAttentionThreads) {
      const int position = i / kSlice, channel = i % kSlice;
      const Stored* page = nullptr;
      if (position >= span.begin && position < span.end) page = pages[position / static_cast<int>(kBlockTokens)];
      const float value = page != nullptr && channel < channels
                              ? to_f32(page[value_offset(shape.key_heads, shape.width, key_head, position % kBlockTokens, first + channel)])
                              : 0.0f;
      finite = finite && is_finite(value);
      tile[position * kTileStride + channel] = value;
    }
  }
  return __syncthreads_or(finite ? 0 : 1) != 0;
}

// sums[i][j] += rows[row + 16 i] . key 4 column + j of keys that lie as [channel][key].
__device__ __forceinline__ void add_cached_products(float (&sums)[4][4], SharedPointer<float> rows, SharedPointer<float> keys, int channels,
                                                    PlaceInTile place) {
#pragma unroll 1
  for (int channel = 0; channel < channels; channel += 4) {
    Pack<float, 4> a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      a[i] = load_pack<4>(rows + (place.row + 16 * i) * kTileStride + channel);
      b[i] = load_pack<4>(keys + (channel + i) * kTileStride + 4 * place.column);
    }
#pragma unroll
    for (int e = 0; e < 4; e++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = fmaf(a[i].v[e], b[e].v[j], sums[i][j]);
  }
}

// One output row of a token alone from its chunks' results.
__device__ inline void merge_chunks(const AttentionShape& shape, int64_t token, int head, int channel, int chunks) {
  const int64_t at = (token * shape.heads + head) * shape.chunks;
  float maximum = kNothing, total = 0, sum = 0;
  for (int chunk = 0; chunk < chunks; chunk++) {
    const Merge merge(maximum, shape.partial_sums[(at + chunk) * 2]);
    total = merge(total, shape.partial_sums[(at + chunk) * 2 + 1]);
    sum = merge(sum, shape.partial[(at + chunk) * shape.width + channel]);
    maximum = merge.maximum;
  }
  shape.output(token, head)[channel] = sum / total;
}

// Shared memory: the query rows, the keys or values at hand, weights. Blocks whose token leads no tile leave at once; those of a
// token alone merge what its own kernel left.
template <class Stored, int Outputs>
__global__ void __launch_bounds__(kAttentionThreads, 2) attend_tile(const AttentionShape shape) {
  HEDDLE_DYNAMIC_SHARED(memory);
  HEDDLE_SHARED(int, begins, kTile);
  HEDDLE_SHARED(int, ends, kTile);
  HEDDLE_SHARED(const Stored*, pages, kTile / kBlockTokens);
  const PlaceInTile place;
  // Tiles of one token follow each other; the last tokens, which see the most, come first.
  int64_t item = blockIdx.x;
  const int output = static_cast<int>(item % shape.output_groups) * Outputs;
  item /= shape.output_groups;
  const int head_tile = static_cast<int>(item % shape.head_tiles);
  item /= shape.head_tiles;
  const int key_head = static_cast<int>(item % shape.key_heads);
  const int64_t token = shape.tokens - 1 - item / shape.key_heads;
  const int first_head = key_head * shape.group + head_tile * shape.tile_heads;
  const int heads = min(shape.tile_heads, shape.group - head_tile * shape.tile_heads);
  const int thread = static_cast<int>(threadIdx.x);
  if (shape.alone_apart && shape.positions[token] >= 0 && shape.is_alone(token)) {
    if (shape.splits == 1 || output != 0) return;
    const SeenPositions seen = seen_positions(shape, token);
    const int chunks = ChunkPlan(seen).chunks;
    if (chunks == 0) return;  // refused: zeros are there already
    for (int i = thread; i < heads * shape.width; i += kAttentionThreads)
      merge_chunks(shape, token, first_head + i / shape.width, i % shape.width, chunks);
    return;
  }
  const int tokens = led_tokens(shape, token);
  if (tokens == 0) return;
  const int count = tokens * heads;
  if (thread < kTile) {
    const SeenPositions seen = thread < count ? seen_positions(shape, token + thread / heads) : SeenPositions{0, 0};
    begins[thread] = seen.begin;
    ends[thread] = seen.end;
  }
  const int resident = shape.slices <= 2 ? shape.slices : 1;
  const auto queries = shared_at<float>(memory, 0);
  const auto other = queries + resident * kAttentionTileFloats;
  const auto weights = other + kAttentionTileFloats;
  const auto query_row = [&](int row) { return shape.query(token + row / heads, first_head + row % heads); };
  if (shape.slices == resident)
    for (int s = 0; s < resident; s++) load_tile(queries + s * kAttentionTileFloats, query_row, count, shape.width, s * kSlice, shape.row_vectors, shape.scale);
  else
    __syncthreads();
  int begin = INT32_MAX, end = 0;
  for (int row = thread % kWarp; row < kTile; row += kWarp)
    if (begins[row] < ends[row]) {
      begin = min(begin, static_cast<int>(begins[row]));
      end = max(end, static_cast<int>(ends[row]));
    }
  begin = -warp_max(-begin);
  end = warp_max(end);

  OnlineRows<Outputs> online;
  for (int64_t start = begin / kTile * kTile; start < end; start += kTile) {
    const Span span = {max(begin - static_cast<int>(start), 0), static_cast<int>(min(int64_t{end} - start, static_cast<int64_t>(kTile)))};
    __syncthreads();
    if (thread < kTile / kBlockTokens) {
      const int from = thread * static_cast<int>(kBlockTokens);
      const bool needed = from < span.end && from + kBlockTokens > span.begin;
      pages[thread] = needed ? find_page<const Stored>(shape.layer, shape.failures, shape.request[token], start / kBlockTokens + thread) : nullptr;
    }
    float scores[4][4] = {};
    for (int s = 0; s < shape.slices; s++) {
      if (shape.slices != resident) load_tile(queries, query_row, count, shape.width, s * kSlice, shape.row_vectors, shape.scale);
      load_keys<Stored>(shape, other, pages, key_head, s * kSlice);
      add_cached_products(scores, queries + (shape.slices == resident ? s : 0) * kAttentionTileFloats, other, slice_channels(shape.width, s), place);
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++) scores[i][j] = cap_score(scores[i][j], 1.0f, shape.soft_cap);
    const bool present = pages[place.column / 4] != nullptr;
    online.weigh(scores, [&](int i, int j) {
      const int64_t position = start + 4 * place.column + j;
      const int row = place.row + 16 * i;
      return present && position >= begins[row] && position < ends[row];
    });
#pragma unroll
    for (int i = 0; i < 4; i++) {
      Pack<float, 4> weight;
#pragma unroll
      for (int j = 0; j < 4; j++) weight.v[j] = scores[i][j];
      store_pack(weights + (place.row + 16 * i) * kTileStride + 4 * place.column, weight);
    }
#pragma unroll
    for (int s = 0; s < Outputs; s++) {
      const bool careful = load_values<Stored>(shape, other, pages, key_head, (output + s) * kSlice, span);
      add_weighted(online.sums[s], weights, other, span.end, place, careful);
    }
  }

  online.finish();
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = place.row + 16 * i;
    if (row >= count) continue;
    float* to = shape.output(token + row / heads, first_head + row % heads);
    const bool seeing = begins[row] < ends[row];
#pragma unroll
    for (int s = 0; s < Outputs; s++)
      store_channels(to, (output + s) * kSlice + 4 * place.column, shape.width, shape.row_vectors, online.sums[s][i], seeing ? online.total[i] : 1.0f);
  }
}

}  // namespace heddle
