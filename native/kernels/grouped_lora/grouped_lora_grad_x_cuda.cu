// Gradient of adapters on linear layers to their input: the forward product with the factors in each other's place.
//
// One cooperative launch. Every kPassRanks ranks: B^T dy of each routed token by tiles of an adapter's tokens, then those times A,
// added to tiles of dx. A column of `index` has runs of its own, so a token lies in one tile of it at most; columns follow each other.
// A token's order is its own: passes, routes, sites, ranks.
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

#define HEDDLE_OP "grouped_lora_grad_x"
constexpr const char* kOp = HEDDLE_OP;

constexpr int kExpandColumns = 64;
constexpr int kTokenStride = kRunTile + 4;
static_assert(kPassRanks * (kTokenStride + kExpandColumns) <= kTileFloats, "shared memory of multiply_tile is used again");

struct GradXWork {
  AdapterPool pool;
  TokenRows dy;  // all columns
  float* dx;
  int64_t dx_stride;
  int64_t inputs;
  GroupedColumns columns;
  GroupedTokens tokens;
  int32_t slots;
  int32_t routes;
  int64_t elements;
  float* products;  // [sites][position][kPassRanks], times weight and scale

  __device__ float* products_of(int64_t s, int64_t position) const { return products + (s * elements + position) * kPassRanks; }
  __device__ TokenRows dy_of(int64_t s) const {
    const int32_t from = columns.at[s];
    return {dy.at + from, dy.stride, columns.at[s + 1] - from};
  }
  __device__ AdapterEntry entry_of(int32_t run, int64_t s) const { return load_entry(pool, tokens.runs[run].key % slots, columns.first_site + s); }
};

__device__ int ranks_in_pass(const AdapterEntry& entry, int32_t done) {
  const int32_t left = entry.kind == EntryKind::kNone ? 0 : entry.rank - done;
  return left < 0 ? 0 : left < kPassRanks ? left : kPassRanks;
}

__device__ void multiply_tiles(const GradXWork& work, int32_t done, SharedPointer<float> buffer) {
  const GroupedTokens& tokens = work.tokens;
  const int32_t tiles = tokens.state->tiles, items = tiles * work.columns.sites;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < items; item += static_cast<int32_t>(gridDim.x)) {
    const RunTile tile = tokens.tiles[item % tiles];
    const int32_t s = item / tiles;
    const AdapterEntry entry = work.entry_of(tile.run, s);
    const FactorRows rows = {static_cast<int64_t>(entry.first_b) + done, ranks_in_pass(entry, done), entry.dtype, -1};
    if (rows.count == 0) continue;
    const float* weight = tokens.weight + tile.first;
    float* products = work.products_of(s, tile.first);
    const float scale = entry.scale;
    multiply_tile(work.pool, rows, work.dy_of(s), tokens.token + tile.first, tile.count, buffer,
                  [&](int t, int r, float product) { products[t * kPassRanks + r] = product * (weight[t] * scale); });
  }
}

// Columns from .. from + kExpandColumns of dx of one tile. A thread has four columns of four tokens.
__device__ void expand_tile(const GradXWork& work, const RunTile& tile, int32_t done, int64_t from, SharedPointer<float> buffer) {
  const SharedPointer<float> products = buffer, factors = buffer + kPassRanks * kTokenStride;  // [rank][token], [rank][column]
  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % 16 * 4, first = thread / 16 * 4;
  const int64_t n = from + column;
  const bool whole = is_aligned16(work.dx, work.dx_stride);
  float* dx[4];
  float sum[4][4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    dx[i] = first + i < tile.count ? work.dx + work.tokens.token[tile.first + first + i] * work.dx_stride : nullptr;
    const Pack<float, 4> before = load_four_at(dx[i], n, work.inputs, whole);
#pragma unroll
    for (int e = 0; e < 4; e++) sum[i][e] = before.v[e];
  }
  bool changed = false;
  for (int64_t s = 0; s < work.columns.sites; s++) {
    const AdapterEntry entry = work.entry_of(tile.run, s);
    const int count = ranks_in_pass(entry, done);
    if (count == 0 || work.columns.at[s + 1] == work.columns.at[s]) continue;
    changed = true;
    const float* from_products = work.products_of(s, tile.first);
    for (int i = thread; i < kRunTile * (kPassRanks / 4); i += kProductThreads) {
      const int t = i / (kPassRanks / 4), r = i % (kPassRanks / 4) * 4;
      if (r >= count) continue;
      Pack<float, 4> pack = {};
      if (t < tile.count) pack = load_pack<4>(from_products + t * kPassRanks + r);
#pragma unroll
      for (int e = 0; e < 4; e++) products[(r + e) * kTokenStride + t] = pack.v[e];
    }
    for (int r = thread / 16; r < count; r += kProductThreads / 16) {
      const std::byte* row = work.pool.bytes + static_cast<int64_t>(work.pool.rows[entry.first_a + done + r]) * kRowUnit;
      store_pack(factors + r * kExpandColumns + column, load_four_of(entry.dtype, row, n, work.inputs));
    }
    __syncthreads();
#pragma unroll 4
    for (int r = 0; r < count; r++) {
      const Pack<float, 4> v = load_pack<4>(products + r * kTokenStride + first), a = load_pack<4>(factors + r * kExpandColumns + column);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int e = 0; e < 4; e++) sum[i][e] = fmaf(v.v[i], a.v[e], sum[i][e]);
    }
    __syncthreads();
  }
  if (!changed) return;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (dx[i] != nullptr) store_four_at(dx[i], n, work.inputs, whole, {{sum[i][0], sum[i][1], sum[i][2], sum[i][3]}});
  }
}

__device__ void expand_tiles(const GradXWork& work, int32_t done, int32_t route, SharedPointer<float> buffer) {
  const int32_t begin = route == 0 ? 0 : work.tokens.part_tiles[route - 1], tiles = work.tokens.part_tiles[route] - begin;
  const int32_t blocks = static_cast<int32_t>((work.inputs + kExpandColumns - 1) / kExpandColumns), items = tiles * blocks;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < items; item += static_cast<int32_t>(gridDim.x))
    expand_tile(work, work.tokens.tiles[begin + item / blocks], done, item % blocks * kExpandColumns, buffer);
}

__global__ void __launch_bounds__(kProductThreads, 3) grad_x(GradXWork work, GradientRefusals refusals) {
  HEDDLE_SHARED(float, buffer, kTileFloats);
  GroupedState* state = work.tokens.state;
  if (state->refused != 0) return;
  check_sites(work.tokens, work.pool, work.columns, kProductThreads / kWarp,
              [&](const AdapterEntry& entry, int64_t slot, int64_t s) -> int32_t {
                const int64_t outputs = work.dy_of(s).width;
                if (!sound_gradient_site(work.pool, refusals, entry, slot, work.columns.first_site + s, work.inputs, outputs)) return -1;
                return outputs > 0 ? entry.rank : 0;
              });
  grid_barrier(&state->arrived);
  if (state->unsound != 0) return;
  const int32_t ranks = state->largest_rank;
  for (int32_t done = 0; done < ranks; done += kPassRanks) {
    multiply_tiles(work, done, buffer);
    for (int32_t route = 0; route < work.routes; route++) {
      grid_barrier(&state->arrived);
      expand_tiles(work, done, route, buffer);
    }
    if (done + kPassRanks < ranks) grid_barrier(&state->arrived);
  }
}

Grouping grouping_of(const GroupedLoraGradXArgs& args) {
  const int32_t routes = static_cast<int32_t>(args.index.dims[1]);
  return {args.index.as<int32_t>(), args.weight.as<float>(), nullptr, args.index.elements(), routes, static_cast<int32_t>(args.entries.dims[0]),
          routes};
}

}  // namespace

size_t grouped_lora_grad_x_cuda_workspace(const GroupedLoraGradXArgs& args, const DeviceLimits&) {
  const size_t products = static_cast<size_t>((args.columns.dims[0] - 1) * args.index.elements()) * kPassRanks * sizeof(float);
  return grouped_tokens_bytes(grouping_of(args), 0) + products;
}

Status grouped_lora_grad_x_cuda(const GroupedLoraGradXArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_grad_x_cuda_workspace(args, context.limits), kOp, "the workspace is too small");
  const Grouping grouping = grouping_of(args);
  const int64_t sites = args.columns.dims[0] - 1, inputs = args.dx.dims[1];
  const GroupedColumns columns = {args.columns.as<int32_t>(), static_cast<int32_t>(sites), args.dy.dims[1], args.site, pool.sites};
  const GroupedTokens tokens = place_grouped_tokens(grouping, 0, context.workspace);
  HEDDLE_TRY(group_tokens(kOp, grouping, columns, 0, HEDDLE_GROUPING_REFUSALS(context, HEDDLE_OP), tokens, context));

  const GradXWork work = {pool,
                          {args.dy.as<float>(), args.dy.leading_stride, args.dy.dims[1]},
                          args.dx.as<float>(),
                          args.dx.leading_stride,
                          inputs,
                          columns,
                          tokens,
                          grouping.slots,
                          grouping.routes,
                          grouping.elements,
                          reinterpret_cast<float*>(context.workspace + grouped_tokens_bytes(grouping, 0))};
  const int64_t items = grouping.most_tiles() * std::max(sites, ceil_div(inputs, kExpandColumns));
  return launch_resident(kOp, grad_x, kProductThreads, items, context, work, HEDDLE_GRADIENT_REFUSALS(context, HEDDLE_OP));
}

}  // namespace heddle
