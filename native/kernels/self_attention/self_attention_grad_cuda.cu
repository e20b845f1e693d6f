// self_attention_grad: probabilities are computed again from the scores and lse. One kernel walks the keys of each tile of query
// rows for dq, one walks the query rows of each tile of keys for dk and dv, token by token: every element is one chain in a fixed
// order, nothing is added by two blocks.
#include "generated/self_attention_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/self_attention/self_attention_rows.cuh"

namespace heddle {
namespace {

constexpr const char* kOp = "self_attention_grad";
constexpr int kTokenWords = kAttentionThreads / kWarp;

// What the tokens of a tile see in each of their two ranges.
struct alignas(16) TileExtents {
  Extent part[2];
};

struct GradientJob {
  SelfAttentionShape shape;
  HeadRows q, k, v, y, dy, dq, dk, dv;
  const float *lse, *dlse;
  float* delta;  // [tokens, heads]: dy . y - dlse
  TileExtents* extents;
};

// delta of a tile's tokens, a warp per head, and what they see together.
__global__ void __launch_bounds__(kAttentionThreads) prepare_tile(const GradientJob job) {
  const SelfAttentionShape& shape = job.shape;
  const int64_t first = int64_t{blockIdx.x} * shape.tile_tokens;
  const int tokens = static_cast<int>(min(static_cast<int64_t>(shape.tile_tokens), shape.tokens - first));
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t row = warp; row < int64_t{tokens} * shape.heads; row += kTokenWords) {
    const int64_t token = first + row / shape.heads, head = row % shape.heads;
    const float *y = job.y.at(token, head), *dy = job.dy.at(token, head);
    float sum = 0;
    for (int channel = lane; channel < shape.width; channel += kWarp) sum = fmaf(y[channel], dy[channel], sum);
    sum = warp_sum(sum);
    const int64_t at = token * shape.heads + head;
    if (lane == 0) job.delta[at] = sum - (job.dlse != nullptr ? job.dlse[at] : 0.0f);
  }
  if (warp != 0) return;
  TileExtents extents;
#pragma unroll
  for (int part = 0; part < 2; part++) {
    int begin = INT32_MAX, end = 0;
    for (int i = lane; i < tokens; i += kWarp) {
      const KeyRanges ranges = read_ranges(shape.ranges, first + i);
      if (ranges.begin[part] >= ranges.end[part]) continue;
      begin = min(begin, ranges.begin[part]);
      end = max(end, ranges.end[part]);
    }
    extents.part[part] = {-warp_max(-begin), warp_max(end)};
  }
  if (lane == 0) job.extents[blockIdx.x] = extents;
}

// The weight of a score, and what the loss changes with q . k.
struct ScoreGradient {
  float weight, product;
};
__device__ __forceinline__ ScoreGradient score_gradient(const SelfAttentionShape& shape, float product, float value_product, float lse, float delta) {
  const float score = cap_score(product, shape.scale, shape.soft_cap);
  const float weight = expf(score - lse);
  float gradient = weight * (value_product - delta) * shape.scale;
  if (shape.soft_cap > 0) {
    const float part = score * (1.0f / shape.soft_cap);
    gradient *= 1.0f - part * part;
  }
  return {weight, gradient + 0.0f};  // not the zero that means unseen
}

// dq of a tile of query rows. Shared memory: their q and dy, the keys or values at hand, the gradients of the scores.
template <int Outputs>
__global__ void __launch_bounds__(kAttentionThreads, 2) query_gradient(const GradientJob job) {
  HEDDLE_DYNAMIC_SHARED(memory);
  HEDDLE_SHARED(int, begins, 2 * kTile);
  HEDDLE_SHARED(int, ends, 2 * kTile);
  HEDDLE_SHARED(float, lse, kTile);
  HEDDLE_SHARED(float, delta, kTile);
  const SelfAttentionShape& shape = job.shape;
  const PlaceInTile place;
  const int resident = shape.resident;
  const bool kept = shape.slices == resident;
  const auto queries = shared_at<float>(memory, 0);
  const auto gradients = queries + resident * kAttentionTileFloats;
  const auto other = gradients + resident * kAttentionTileFloats;
  const auto weights = other + kAttentionTileFloats;

  const int output = static_cast<int>(blockIdx.x % shape.output_groups) * Outputs;
  const QueryTile rows = query_tile_of_block(shape);
  const int key_head = rows.key_head;
  if (threadIdx.x < kTile) {
    const int row = static_cast<int>(threadIdx.x);
    read_row_ranges(shape, rows, row, begins, ends);
    const int64_t at = row < rows.count ? rows.token(row) * shape.heads + rows.head(row) : -1;
    lse[row] = at < 0 ? 0.0f : job.lse[at];
    delta[row] = at < 0 ? 0.0f : job.delta[at];
  }
  const auto query_row = [&](int row) { return job.q.at(rows.token(row), rows.head(row)); };
  const auto gradient_row = [&](int row) { return job.dy.at(rows.token(row), rows.head(row)); };
  const auto load_rows = [&](int slot, int slice) {
    load_tile(queries + slot * kAttentionTileFloats, query_row, rows.count, shape.width, slice * kSlice, shape.vectors);
    load_tile(gradients + slot * kAttentionTileFloats, gradient_row, rows.count, shape.width, slice * kSlice, shape.vectors);
  };
  if (kept)
    for (int s = 0; s < resident; s++) load_rows(s, s);
  else
    __syncthreads();
  float sums[Outputs][4][4] = {};

  for (int part = 0; part < 2; part++) {
    const Extent extent = extent_of(begins + part * kTile, ends + part * kTile);
    for (unsigned start = static_cast<unsigned>(extent.begin); start < static_cast<unsigned>(extent.end); start += kTile) {
      const int keys = static_cast<int>(min(static_cast<unsigned>(kTile), extent.end - start));
      const auto key_row = [&](int key) { return job.k.at(int64_t{start} + key, key_head); };
      const auto value_row = [&](int key) { return job.v.at(int64_t{start} + key, key_head); };
      float products[4][4] = {}, value_products[4][4] = {};
      for (int s = 0; s < shape.slices; s++) {
        const int slot = kept ? s : 0, channels = slice_channels(shape.width, s);
        if (!kept) load_rows(0, s);
        load_tile(other, value_row, keys, shape.width, s * kSlice, shape.vectors);
        add_products(value_products, gradients + slot * kAttentionTileFloats, other, channels, place);
        load_tile(other, key_row, keys, shape.width, s * kSlice, shape.vectors);
        add_products(products, queries + slot * kAttentionTileFloats, other, channels, place);
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int row = place.row + 16 * i;
        const int begin = begins[part * kTile + row], end = ends[part * kTile + row];
        const float row_lse = lse[row], row_delta = delta[row];
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const unsigned key = start + static_cast<unsigned>(place.column + 16 * j);
          const float gradient = score_gradient(shape, products[i][j], value_products[i][j], row_lse, row_delta).product;
          weights[row * kTileStride + place.column + 16 * j] = key - begin < static_cast<unsigned>(end - begin) ? gradient : kUnseen;
        }
      }
#pragma unroll
      for (int s = 0; s < Outputs; s++) {
        const bool careful = load_tile(other, key_row, keys, shape.width, (output + s) * kSlice, shape.vectors);
        add_weighted(sums[s], weights, other, keys, place, careful);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = place.row + 16 * i;
    if (row >= rows.count) continue;
    float* to = job.dq.at(rows.token(row), rows.head(row));
#pragma unroll
    for (int s = 0; s < Outputs; s++) store_channels(to, (output + s) * kSlice + 4 * place.column, shape.width, shape.vectors, sums[s][i], 1.0f);
  }
}

// dk and dv of a tile of keys. Shared memory: their k and v, the query rows' q or dy at hand, weights or gradients of the scores.
template <int Outputs>
__global__ void __launch_bounds__(kAttentionThreads, Outputs == 1 ? 2 : 1) key_gradient(const GradientJob job) {
  HEDDLE_DYNAMIC_SHARED(memory);
  HEDDLE_SHARED(unsigned, seeing, 2 * kTokenWords);
  HEDDLE_SHARED(int, begins, kTile);
  HEDDLE_SHARED(int, ends, kTile);
  HEDDLE_SHARED(float, lse, kTile);
  HEDDLE_SHARED(float, delta, kTile);
  const SelfAttentionShape& shape = job.shape;
  const PlaceInTile place;
  const int resident = shape.resident;
  const bool kept = shape.slices == resident;
  const auto own_keys = shared_at<float>(memory, 0);
  const auto own_values = own_keys + resident * kAttentionTileFloats;
  const auto other = own_values + resident * kAttentionTileFloats;
  const auto weights = other + kAttentionTileFloats;

  int64_t item = blockIdx.x;
  const int output = static_cast<int>(item % shape.output_groups) * Outputs;
  item /= shape.output_groups;
  const int key_head = static_cast<int>(item % shape.key_heads);
  const int64_t start = item / shape.key_heads * kTile;  // the first keys are seen by the most tokens
  const int keys = static_cast<int>(min(static_cast<int64_t>(kTile), shape.keys - start));
  const auto key_row = [&](int key) { return job.k.at(start + key, key_head); };
  const auto value_row = [&](int key) { return job.v.at(start + key, key_head); };
  const auto load_own = [&](int slot, int slice) {
    load_tile(own_keys + slot * kAttentionTileFloats, key_row, keys, shape.width, slice * kSlice, shape.vectors);
    load_tile(own_values + slot * kAttentionTileFloats, value_row, keys, shape.width, slice * kSlice, shape.vectors);
  };
  if (kept)
    for (int s = 0; s < resident; s++) load_own(s, s);
  float key_sums[Outputs][4][4] = {}, value_sums[Outputs][4][4] = {};

  const auto sees_tile = [&](Extent extent) { return extent.begin < start + keys && extent.end > start; };
  for (int64_t tile = 0; tile < shape.tiles; tile++) {
    // The block looks at as many tiles as it has threads: a bit for each that sees some of these keys.
    if (tile % kAttentionThreads == 0) {
      __syncthreads();
      const int64_t mine = tile + threadIdx.x;
#pragma unroll
      for (int part = 0; part < 2; part++) {
        const unsigned bits = __ballot_sync(kFullWarp, mine < shape.tiles && sees_tile(job.extents[mine].part[part]));
        if (threadIdx.x % kWarp == 0) seeing[part * kTokenWords + threadIdx.x / kWarp] = bits;
      }
      __syncthreads();
    }
    const int word = static_cast<int>(tile % kAttentionThreads) / kWarp, bit = static_cast<int>(tile % kWarp);
    for (int part = 0; part < 2; part++) {
      if ((seeing[part * kTokenWords + word] >> bit & 1u) == 0) continue;
      for (int head_tile = 0; head_tile < shape.head_tiles; head_tile++) {
        const QueryTile rows(shape, tile, key_head, head_tile);
        const auto query_row = [&](int row) { return job.q.at(rows.token(row), rows.head(row)); };
        const auto gradient_row = [&](int row) { return job.dy.at(rows.token(row), rows.head(row)); };
        if (threadIdx.x < kTile) {
          const int row = static_cast<int>(threadIdx.x);
          const bool present = row < rows.count;
          const int64_t token = present ? rows.token(row) : 0, at = present ? token * shape.heads + rows.head(row) : 0;
          const KeyRanges ranges = present ? read_ranges(shape.ranges, token) : KeyRanges{{0, 0}, {0, 0}};
          begins[row] = part == 0 ? ranges.begin[0] : ranges.begin[1];
          ends[row] = part == 0 ? ranges.end[0] : ranges.end[1];
          lse[row] = present ? job.lse[at] : 0.0f;
          delta[row] = present ? job.delta[at] : 0.0f;
        }
        float products[4][4] = {}, value_products[4][4] = {};
        for (int s = 0; s < shape.slices; s++) {
          const int slot = kept ? s : 0, channels = slice_channels(shape.width, s);
          if (!kept) load_own(0, s);
          load_tile(other, query_row, rows.count, shape.width, s * kSlice, shape.vectors);
          add_products(products, own_keys + slot * kAttentionTileFloats, other, channels, place);
          load_tile(other, gradient_row, rows.count, shape.width, s * kSlice, shape.vectors);
          add_products(value_products, own_values + slot * kAttentionTileFloats, other, channels, place);
        }
        // products[i][j] is of key row + 16 i and query row column + 16 j.
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int row = place.column + 16 * j;
          const int begin = begins[row], end = ends[row];
          const float row_lse = lse[row], row_delta = delta[row];
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const int64_t key = start + place.row + 16 * i;
            const ScoreGradient gradient = score_gradient(shape, products[i][j], value_products[i][j], row_lse, row_delta);
            const bool seen = key >= begin && key < end;
            products[i][j] = seen ? gradient.product : kUnseen;
            value_products[i][j] = seen ? gradient.weight : kUnseen;
          }
        }
        const auto store_weights = [&](const float(&from)[4][4]) {
#pragma unroll
          for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) weights[(place.row + 16 * i) * kTileStride + place.column + 16 * j] = from[i][j];
        };
        store_weights(value_products);
#pragma unroll
        for (int s = 0; s < Outputs; s++) {
          const bool careful = load_tile(other, gradient_row, rows.count, shape.width, (output + s) * kSlice, shape.vectors);
          add_weighted(value_sums[s], weights, other, rows.count, place, careful);
        }
        __syncthreads();
        store_weights(products);
#pragma unroll
        for (int s = 0; s < Outputs; s++) {
          const bool careful = load_tile(other, query_row, rows.count, shape.width, (output + s) * kSlice, shape.vectors);
          add_weighted(key_sums[s], weights, other, rows.count, place, careful);
        }
        __syncthreads();
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = place.row + 16 * i;
    if (row >= keys) continue;
#pragma unroll
    for (int s = 0; s < Outputs; s++) {
      const int channel = (output + s) * kSlice + 4 * place.column;
      store_channels(job.dk.at(start + row, key_head), channel, shape.width, shape.vectors, key_sums[s][i], 1.0f);
      store_channels(job.dv.at(start + row, key_head), channel, shape.width, shape.vectors, value_sums[s][i], 1.0f);
    }
  }
}

// Two resident slices of both sides take more than the 99 KiB that compute capabilities 8.6, 8.9 and 12.0 have.
size_t shared_bytes(const SelfAttentionShape& shape) { return sizeof(float) * kAttentionTileFloats * static_cast<size_t>(2 * shape.resident + 2); }

size_t delta_bytes(const SelfAttentionGradArgs& args) {
  return (sizeof(float) * static_cast<size_t>(args.q.dims[0] * args.q.dims[1]) + 255) / 256 * 256;
}

}  // namespace

// Tiles have at least one token.
size_t self_attention_grad_cuda_workspace(const SelfAttentionGradArgs& args, const DeviceLimits&) {
  return delta_bytes(args) + sizeof(TileExtents) * static_cast<size_t>(args.q.dims[0]);
}

Status self_attention_grad_cuda(const SelfAttentionGradArgs& args, CudaContext& context) {
  SelfAttentionJob job;
  HEDDLE_TRY(check_self_attention_grad(args, &job));
  const size_t needed = self_attention_grad_cuda_workspace(args, context.limits);
  HEDDLE_CHECK(context.workspace_bytes >= needed, kOp,
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  GradientJob gradient = {};
  gradient.shape = self_attention_shape(job, HEDDLE_RANGE_FAILURE(context, "self_attention_grad"));
  gradient.lse = args.lse.as<const float>();
  gradient.dlse = args.dlse.present() ? args.dlse.as<const float>() : nullptr;
  gradient.delta = reinterpret_cast<float*>(context.workspace);
  gradient.extents = reinterpret_cast<TileExtents*>(context.workspace + delta_bytes(args));
  SelfAttentionShape& shape = gradient.shape;
  shape.vectors = true;
  const auto rows_of = [&](const TensorView& tensor) {
    const HeadRows rows = HeadRows::of(tensor);
    shape.vectors = shape.vectors && rows.aligned();
    return rows;
  };
  gradient.q = rows_of(args.q);
  gradient.k = rows_of(args.k);
  gradient.v = rows_of(args.v);
  gradient.y = rows_of(args.y);
  gradient.dy = rows_of(args.dy);
  gradient.dq = rows_of(args.dq);
  gradient.dk = rows_of(args.dk);
  gradient.dv = rows_of(args.dv);

  HEDDLE_TRY(context.launch(kOp, prepare_tile, LaunchShape{dim3(static_cast<unsigned>(shape.tiles)), kAttentionThreads}, gradient));
  if (shared_bytes(shape) > context.limits.shared_per_block) shape.resident = 1;
  const int64_t queries = shape.tiles * shape.key_heads * shape.head_tiles * shape.output_groups;
  HEDDLE_TRY(context.launch(kOp, shape.slices == 1 ? query_gradient<1> : query_gradient<2>,
                            LaunchShape{dim3(static_cast<unsigned>(queries)), kAttentionThreads, shared_bytes(shape)}, gradient));
  const int64_t keys = shape.key_tiles * shape.key_heads * shape.output_groups;
  return context.launch(kOp, shape.slices == 1 ? key_gradient<1> : key_gradient<2>,
                        LaunchShape{dim3(static_cast<unsigned>(keys)), kAttentionThreads, shared_bytes(shape)}, gradient);
}

}  // namespace heddle
