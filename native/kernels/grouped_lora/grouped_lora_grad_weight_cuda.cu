// Gradient of adapters on linear layers to the weights of their routes: dy . (scale B (A x)) = scale (B^T dy) . (A x).
//
// One cooperative launch. Every kPassRanks ranks: A x and B^T dy of each routed token by tiles of an adapter's tokens, then their
// product, a warp per route. A shift is a last row of B^T whose other side is 1. A route's order is its own: passes, sites, ranks.
#include <algorithm>

#include "generated/grouped_lora_ops.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_tokens.cuh"
#include "kernels/grouped_lora/gradient_sites.cuh"
#include "kernels/grouped_lora/operand_checks.h"
#include "kernels/grouped_lora/tile_products.cuh"

namespace heddle {

namespace {

#define HEDDLE_OP "grouped_lora_grad_weight"
constexpr const char* kOp = HEDDLE_OP;

struct GradWeightWork {
  AdapterPool pool;
  TokenRows x;
  TokenRows dy;  // all columns
  float* dweight;
  GroupedColumns columns;
  GroupedTokens tokens;
  int64_t elements;
  float* products;  // [sites][2: scale A x, B^T dy][position][kPassRanks]

  __device__ float* products_of(int64_t s, int side, int64_t position) const { return products + ((s * 2 + side) * elements + position) * kPassRanks; }
  __device__ TokenRows dy_of(int64_t s) const {
    const int32_t from = columns.at[s];
    return {dy.at + from, dy.stride, columns.at[s + 1] - from};
  }
  __device__ AdapterEntry entry_of(int32_t run, int64_t s) const { return load_entry(pool, tokens.runs[run].key, columns.first_site + s); }
  // Rows done .. of the pass: of B^T and the shift.
  __device__ FactorRows rows_of(const AdapterEntry& entry, int32_t done) const {
    if (entry.kind == EntryKind::kNone) return {0, 0, 0, -1};
    const int32_t left = entry.rank - done, count = left < 0 ? 0 : left < kPassRanks ? left : kPassRanks;
    return {static_cast<int64_t>(entry.first_b) + done, count, entry.dtype, left >= 0 && left < kPassRanks ? entry.shift : -1};
  }
};

__device__ void multiply_tiles(const GradWeightWork& work, int32_t done, SharedPointer<float> buffer) {
  const GroupedTokens& tokens = work.tokens;
  const int32_t tiles = tokens.state->tiles, items = tiles * work.columns.sites * 2;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < items; item += static_cast<int32_t>(gridDim.x)) {
    const RunTile tile = tokens.tiles[item % tiles];
    const int32_t s = item / tiles % work.columns.sites;
    const int side = item / tiles / work.columns.sites, thread = static_cast<int>(threadIdx.x);
    const AdapterEntry entry = work.entry_of(tile.run, s);
    FactorRows rows = work.rows_of(entry, done);
    float* products = work.products_of(s, side, tile.first);
    float scale = 1;
    if (side == 0) {
      if (rows.extra >= 0 && thread < tile.count) products[thread * kPassRanks + rows.count] = 1;
      rows = {static_cast<int64_t>(entry.first_a) + done, rows.count, rows.dtype, -1};
      scale = entry.scale;
    }
    if (rows.total() == 0) continue;
    multiply_tile(work.pool, rows, side == 0 ? work.x : work.dy_of(s), tokens.token + tile.first, tile.count, buffer,
                  [&](int t, int r, float product) { products[t * kPassRanks + r] = product * scale; });
  }
}

__device__ void join_routes(const GradWeightWork& work, int32_t done) {
  const GroupedTokens& tokens = work.tokens;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  constexpr int kWarps = kProductThreads / kWarp;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < tokens.state->tiles; item += static_cast<int32_t>(gridDim.x)) {
    const RunTile tile = tokens.tiles[item];
    for (int t = warp; t < tile.count; t += kWarps) {
      float sum = 0;
      for (int64_t s = 0; s < work.columns.sites; s++) {
        const int total = work.rows_of(work.entry_of(tile.run, s), done).total();
        const float *left = work.products_of(s, 0, tile.first + t), *right = work.products_of(s, 1, tile.first + t);
        for (int r = lane; r < total; r += kWarp) sum = fmaf(left[r], right[r], sum);
      }
      sum = warp_sum(sum);
      if (lane == 0) work.dweight[tokens.route[tile.first + t]] += sum;
    }
  }
}

__global__ void __launch_bounds__(kProductThreads, 3) grad_weight(GradWeightWork work, GradientRefusals refusals) {
  HEDDLE_SHARED(float, buffer, kTileFloats);
  GroupedState* state = work.tokens.state;
  if (state->refused != 0) return;
  check_sites(work.tokens, work.pool, work.columns, kProductThreads / kWarp,
              [&](const AdapterEntry& entry, int64_t slot, int64_t s) -> int32_t {
                const bool sound = sound_gradient_site(work.pool, refusals, entry, slot, work.columns.first_site + s, work.x.width, work.dy_of(s).width);
                return sound ? entry.rank + (entry.shift >= 0 ? 1 : 0) : -1;
              });
  grid_barrier(&state->arrived);
  if (state->unsound != 0) return;
  const int32_t ranks = state->largest_rank;
  for (int32_t done = 0; done < ranks; done += kPassRanks) {
    multiply_tiles(work, done, buffer);
    grid_barrier(&state->arrived);
    join_routes(work, done);
    if (done + kPassRanks < ranks) grid_barrier(&state->arrived);
  }
}

Grouping grouping_of(const GroupedLoraGradWeightArgs& args) {
  return {args.index.as<int32_t>(), args.base.as<float>(), nullptr, args.index.elements(), static_cast<int32_t>(args.index.dims[1]),
          static_cast<int32_t>(args.entries.dims[0]), 1};
}

}  // namespace

size_t grouped_lora_grad_weight_cuda_workspace(const GroupedLoraGradWeightArgs& args, const DeviceLimits&) {
  const size_t products = static_cast<size_t>(2 * (args.columns.dims[0] - 1) * args.index.elements()) * kPassRanks * sizeof(float);
  return grouped_tokens_bytes(grouping_of(args), 0) + products;
}

Status grouped_lora_grad_weight_cuda(const GroupedLoraGradWeightArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_grad_weight_cuda_workspace(args, context.limits), kOp, "the workspace is too small");
  const Grouping grouping = grouping_of(args);
  const int64_t sites = args.columns.dims[0] - 1;
  const GroupedColumns columns = {args.columns.as<int32_t>(), static_cast<int32_t>(sites), args.dy.dims[1], args.site, pool.sites};
  const GroupedTokens tokens = place_grouped_tokens(grouping, 0, context.workspace);
  HEDDLE_TRY(group_tokens(kOp, grouping, columns, 0, HEDDLE_GROUPING_REFUSALS(context, HEDDLE_OP), tokens, context));

  const GradWeightWork work = {pool,
                               {args.x.as<float>(), args.x.leading_stride, args.x.dims[1]},
                               {args.dy.as<float>(), args.dy.leading_stride, args.dy.dims[1]},
                               args.dweight.as<float>(),
                               columns,
                               tokens,
                               grouping.elements,
                               reinterpret_cast<float*>(context.workspace + grouped_tokens_bytes(grouping, 0))};
  return launch_resident(kOp, grad_weight, kProductThreads, 2 * sites * grouping.most_tiles(), context, work,
                         HEDDLE_GRADIENT_REFUSALS(context, HEDDLE_OP));
}

}  // namespace heddle
