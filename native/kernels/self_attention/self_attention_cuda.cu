// self_attention: a block walks the keys that its 64 query rows see, 64 at a time, with an online softmax. The running maximum moves
// where the tile's first range begins a new 64, so a row's last bits depend on which tokens share its tile.
#include "generated/self_attention_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/self_attention/self_attention_rows.cuh"

namespace heddle {
namespace {

constexpr const char* kOp = "self_attention";

struct ForwardJob {
  SelfAttentionShape shape;
  HeadRows q, k, v, y;
  float* lse;
};

// Shared memory: the query rows, the keys or values at hand, weights; then the rows' ranges.
size_t shared_bytes(const SelfAttentionShape& shape) { return sizeof(float) * kAttentionTileFloats * static_cast<size_t>(shape.resident + 2); }

template <int Outputs>
__global__ void __launch_bounds__(kAttentionThreads, 2) attend_tile(const ForwardJob job) {
  HEDDLE_DYNAMIC_SHARED(memory);
  HEDDLE_SHARED(int, begins, 2 * kTile);
  HEDDLE_SHARED(int, ends, 2 * kTile);
  const SelfAttentionShape& shape = job.shape;
  const PlaceInTile place;
  const int resident = shape.resident;
  const auto queries = shared_at<float>(memory, 0);
  const auto other = shared_at<float>(memory, sizeof(float) * kAttentionTileFloats * static_cast<size_t>(resident));
  const auto weights = other + kAttentionTileFloats;

  const int output = static_cast<int>(blockIdx.x % shape.output_groups) * Outputs;
  const QueryTile rows = query_tile_of_block(shape);
  const int key_head = rows.key_head;
  if (threadIdx.x < kTile) {
    const int row = static_cast<int>(threadIdx.x);
    read_row_ranges(shape, rows, row, begins, ends);
  }
  const auto query_row = [&](int row) { return job.q.at(rows.token(row), rows.head(row)); };
  if (shape.slices == resident)
    for (int s = 0; s < resident; s++) load_tile(queries + s * kAttentionTileFloats, query_row, rows.count, shape.width, s * kSlice, shape.vectors);
  else
    __syncthreads();

  OnlineRows<Outputs> online;
  for (int part = 0; part < 2; part++) {
    const Extent extent = extent_of(begins + part * kTile, ends + part * kTile);
    for (unsigned start = static_cast<unsigned>(extent.begin); start < static_cast<unsigned>(extent.end); start += kTile) {
      const int keys = static_cast<int>(min(static_cast<unsigned>(kTile), extent.end - start));
      float scores[4][4] = {};
      for (int s = 0; s < shape.slices; s++) {
        if (shape.slices != resident) load_tile(queries, query_row, rows.count, shape.width, s * kSlice, shape.vectors);
        load_tile(other, [&](int key) { return job.k.at(int64_t{start} + key, key_head); }, keys, shape.width, s * kSlice, shape.vectors);
        add_products(scores, queries + (shape.slices == resident ? s : 0) * kAttentionTileFloats, other, slice_channels(shape.width, s), place);
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) scores[i][j] = cap_score(scores[i][j], shape.scale, shape.soft_cap);
      online.weigh(scores, [&](int i, int j) {
        const unsigned key = start + static_cast<unsigned>(place.column + 16 * j);
        const int row = part * kTile + place.row + 16 * i, begin = begins[row];
        return key - begin < static_cast<unsigned>(ends[row] - begin);
      });
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) weights[(place.row + 16 * i) * kTileStride + place.column + 16 * j] = scores[i][j];
#pragma unroll
      for (int s = 0; s < Outputs; s++) {
        const bool careful =
            load_tile(other, [&](int key) { return job.v.at(int64_t{start} + key, key_head); }, keys, shape.width, (output + s) * kSlice, shape.vectors);
        add_weighted(online.sums[s], weights, other, keys, place, careful);
      }
    }
  }

  online.finish();
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int row = place.row + 16 * i;
    if (row >= rows.count) continue;
    const int64_t token = rows.token(row);
    const bool seeing = begins[row] < ends[row] || begins[kTile + row] < ends[kTile + row];
    float* to = job.y.at(token, rows.head(row));
#pragma unroll
    for (int s = 0; s < Outputs; s++)
      store_channels(to, (output + s) * kSlice + 4 * place.column, shape.width, shape.vectors, online.sums[s][i], seeing ? online.total[i] : 1.0f);
    if (place.column == 0 && output == 0)
      job.lse[token * shape.heads + rows.head(row)] = seeing ? online.maximum[i] + logf(online.total[i]) : kNothing;
  }
}

}  // namespace

Status self_attention_cuda(const SelfAttentionArgs& args, CudaContext& context) {
  SelfAttentionJob job;
  HEDDLE_TRY(check_self_attention(kOp, args.q, args.k, args.v, args.ranges, args.scale, args.soft_cap, &job));
  HEDDLE_TRY(check_attention_rows(kOp, "y", args.y, job.tokens, job.heads, job.width));
  HEDDLE_TRY(check_attention_log_sums(kOp, "lse", args.lse, job));
  ForwardJob forward = {self_attention_shape(job, HEDDLE_RANGE_FAILURE(context, "self_attention")), HeadRows::of(args.q), HeadRows::of(args.k),
                        HeadRows::of(args.v), HeadRows::of(args.y), args.lse.as<float>()};
  SelfAttentionShape& shape = forward.shape;
  shape.vectors = forward.q.aligned() && forward.k.aligned() && forward.v.aligned() && forward.y.aligned();
  const int64_t blocks = shape.tiles * shape.key_heads * shape.head_tiles * shape.output_groups;
  const LaunchShape launch = {dim3(static_cast<unsigned>(blocks)), kAttentionThreads, shared_bytes(shape)};
  return context.launch(kOp, shape.slices == 1 ? attend_tile<1> : attend_tile<2>, launch, forward);
}

}  // namespace heddle
