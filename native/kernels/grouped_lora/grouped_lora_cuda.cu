// Adapters on linear layers: one launch for a whole group of sites, whatever adapters the batch has and however many.
//
// All blocks are resident. Every block lists the work of a slice for itself (lora_work.cuh), does its share of x A^T, then its share of
// the outputs; where a token has one route, a block waits only for the products of the adapter whose outputs it makes, and the adapter's
// rows of B are on their way meanwhile. Where tokens have several routes all blocks meet between the two halves.
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/grouped_lora_checks.h"
#include "kernels/grouped_lora/lora_expand.cuh"
#include "kernels/grouped_lora/lora_shrink.cuh"
#include "kernels/grouped_lora/lora_work.cuh"

namespace heddle {

namespace {

constexpr const char* kOp = "grouped_lora";

// Among the counters.
constexpr int kLeft = 0;      // blocks that wait for nobody any more
constexpr int kArrived = 1;   // at the meetings of all blocks
constexpr int kFinished = 2;  // and on: items of x A^T of a pair that are done

// Everything that this block wrote is seen by who finds the counter raised.
__device__ __forceinline__ void announce(int32_t* counter) {
  __syncthreads();
  if (threadIdx.x == 0) add_release(counter, 1);
}

__device__ __forceinline__ void wait_for(const int32_t* counter, int32_t count) {
  if (threadIdx.x == 0)
    while (load_acquire(counter) < count) wait_a_little();
  __syncthreads();
}

// The last block to leave puts the counters back to zero.
__device__ __forceinline__ void leave(const LoraWork& work, const LoraLists& lists) {
  const int counters = static_cast<LoraSlice>(lists.slice[0]).counters;
  if (counters == 0) return;
  __syncthreads();
  if (threadIdx.x == 0) lists.maxima[0] = add_release(work.counters + kLeft, 1);
  __syncthreads();
  if (lists.maxima[0] != static_cast<int32_t>(gridDim.x) - 1) return;
  for (int i = static_cast<int>(threadIdx.x); i < counters; i += kLoraThreads) work.counters[i] = 0;
}

// Plans what comes after lists.slice; false: nothing.
__device__ __forceinline__ bool next_slice(const LoraWork& work, const LoraLists& lists, bool several) {
  const LoraSlice before = lists.slice[0];
  const int64_t first = before.first_token + before.tokens, left = work.tokens - first;
  if (left == 0) return false;
  const int most = work.list_routes / work.routes;
  LoraSlice slice = plan_slice(work, lists, first, left < most ? static_cast<int>(left) : most);
  if (slice.pairs > work.list_pairs) slice = plan_slice(work, lists, first, work.list_pairs / (work.sites * work.routes));
  // A slice of several may not touch what blocks that are behind still read: they take turns with two halves of the products.
  const int64_t token_products = static_cast<int64_t>(work.routes) * work.sites * work.chunks * slice.rank;
  const bool single = slice.tokens == work.tokens && token_products * slice.tokens <= work.product_count;
  if (!single && token_products * slice.tokens > work.product_count / 2)
    slice = plan_slice(work, lists, first, static_cast<int>(work.product_count / 2 / token_products));
  slice.meetings = before.meetings;
  slice.counters = before.counters;
  if (slice.adapters > 0) {
    if (before.counters == 0 && blockIdx.x == 0 && threadIdx.x == 0) refuse_sites(work);
    slice.products = work.products + before.meetings % 2 * (work.product_count / 2);
    slice.meets = several || !single || slice.pairs > kCounters - kFinished;
    slice.meetings += slice.meets;
    slice.counters = slice.meets ? kFinished : kFinished + slice.pairs;
  }
  if (threadIdx.x == 0) lists.slice[0] = slice;
  __syncthreads();
  return true;
}

__device__ __forceinline__ LoraItem shrink_item(const LoraWork& work, const LoraLists& lists, int pairs, int number) {
  int before = 0;
  LoraItem item = item_of_pair(work, lists, find_pair(lists.shrink_end, pairs, number, &before));
  // Neighbours share their tokens' inputs: the tiles of rows for one chunk.
  const int tiles = count_of(item.entry.rank, kRankTile), chunks = input_chunks(work, item.entry, item.at).count;
  const int local = number - before;
  item.row = local % tiles * kRankTile;
  item.chunk = local / tiles % chunks;
  take_group(work, &item, local / (tiles * chunks));
  return item;
}

__device__ __forceinline__ void shrink_slice(const LoraWork& work, const LoraLists& lists) {
  for (int number = static_cast<int>(blockIdx.x);; number += static_cast<int>(gridDim.x)) {
    const LoraSlice slice = lists.slice[0];
    if (number >= slice.shrink_items) return;
    if (threadIdx.x == 0) lists.item[0] = shrink_item(work, lists, slice.pairs, number);
    __syncthreads();
    shrink(work, lists);
    if (!slice.meets) announce(work.counters + kFinished + static_cast<LoraItem>(lists.item[0]).pair);
    __syncthreads();
  }
}

__device__ __forceinline__ LoraItem expand_item(const LoraWork& work, const LoraLists& lists, int pairs, int number) {
  int before = 0;
  LoraItem item = item_of_pair(work, lists, find_pair(lists.expand_end, pairs, number, &before));
  const int blocks = count_of(item.at.count, kBlockOutputs), local = number - before;
  item.begin = local % blocks * kBlockOutputs;
  take_group(work, &item, local / blocks);
  return item;
}

// One route per token: outputs go adapter by adapter.
__device__ __forceinline__ void expand_slice(const LoraWork& work, const LoraLists& lists) {
  const LoraTile tile = lora_tile(lists.scratch);
  const int blocks = static_cast<int>(gridDim.x);
  // Goes on with the block after the one that had the last item of the first half.
  const int skipped = static_cast<LoraSlice>(lists.slice[0]).shrink_items % blocks;
  for (int number = (static_cast<int>(blockIdx.x) + blocks - skipped) % blocks;; number += blocks) {
    __syncthreads();
    const LoraSlice slice = lists.slice[0];
    if (number >= slice.expand_items) return;
    if (threadIdx.x == 0) lists.item[0] = expand_item(work, lists, slice.pairs, number);
    for (int done = 0;; done += kTileRoutes) {
      __syncthreads();
      const LoraItem item = lists.item[0];
      if (done >= item.routes) break;
      if (threadIdx.x < kTileRoutes) {
        const int i = done + static_cast<int>(threadIdx.x);
        const int route = i < item.routes ? key_route(lists.keys[item.first + i]) : -1;
        const float weight = route < 0 ? 0.0f : work.weight[slice.first_token + route];
        tile.route[threadIdx.x] = route;
        tile.weight[threadIdx.x] = weight;
        tile.replaces[threadIdx.x] = weight == 1.0f;
      }
      __syncthreads();
      expand<false>(work, lists, tile, [&] {
        if (done > 0 || static_cast<LoraSlice>(lists.slice[0]).meets) return;
        const LoraItem waiting = lists.item[0];
        wait_for(work.counters + kFinished + waiting.pair, waiting.parts);
      });
    }
  }
}

// The smallest slot above `before` among the routes of the tile's tokens, or -1.
__device__ __forceinline__ int32_t next_slot(const LoraWork& work, const LoraSlice& slice, int first_token, int tokens, int32_t before) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int32_t* index = work.index + (slice.first_token + first_token) * work.routes;
  int32_t next = INT32_MAX;
  for (int i = lane; i < tokens * work.routes; i += kWarp)
    if (index[i] > before && index[i] < work.pool.slots && index[i] < next) next = index[i];
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const int32_t other = __shfl_xor_sync(kFullWarp, next, distance);
    next = other < next ? other : next;
  }
  return next == INT32_MAX ? -1 : next;
}

// What the routes of a token that go to `slot` are: the first, and the sum of their weights.
struct SlotRoutes {
  int route;
  float weight;
};

__device__ __forceinline__ SlotRoutes slot_routes(const LoraWork& work, const LoraSlice& slice, int token, int32_t slot) {
  SlotRoutes found = {-1, 0.0f};
  for (int j = 0; j < work.routes; j++) {
    const int route = token * work.routes + j;
    const int64_t at = slice.first_token * work.routes + route;
    if (work.index[at] != slot) continue;
    found.weight = found.route < 0 ? work.weight[at] : found.weight + work.weight[at];
    if (found.route < 0) found.route = route;
  }
  return found;
}

__device__ __forceinline__ int active_adapters(const LoraWork& work, const LoraSlice& slice, int token, int s, const SiteColumns& at) {
  int active = 0;
  for (int j = 0; j < work.routes; j++) {
    const int32_t slot = work.index[(slice.first_token + token) * work.routes + j];
    if (slot >= 0 && slot < work.pool.slots) active += site_entry(work, slot, s, at).kind != EntryKind::kNone;
  }
  return active;
}

// Whether what the token's only adapter at the site gives takes the place of the base's outputs.
__device__ __forceinline__ bool only_replaces(const LoraWork& work, const LoraSlice& slice, int token, int s, const SiteColumns& at) {
  for (int j = 0; j < work.routes; j++) {
    const int64_t route = (slice.first_token + token) * work.routes + j;
    const int32_t slot = work.index[route];
    if (slot < 0 || slot >= work.pool.slots) continue;
    const AdapterEntry entry = site_entry(work, slot, s, at);
    const bool own = entry.kind == EntryKind::kDense || (entry.kind == EntryKind::kLowRank && entry.gain >= 0);
    if (own && work.weight[route] == 1.0f) return true;
  }
  return false;
}

// A block's outputs from `begin` on of sixteen tokens, through all their adapters.
__device__ __forceinline__ void expand_tokens(const LoraWork& work, const LoraLists& lists, const LoraTile& tile, int s, int first_token, int begin) {
  const int thread = static_cast<int>(threadIdx.x);
  const LoraSlice slice = lists.slice[0];
  const SiteColumns at = site_columns(work, s);
  const int tokens = slice.tokens - first_token < kTileRoutes ? slice.tokens - first_token : kTileRoutes;
  __syncthreads();
  if (thread < kTileRoutes) tile.active[thread] = thread < tokens ? active_adapters(work, slice, first_token + thread, s, at) : 0;
  for (int i = 0; i < 2 * 16; i++) tile.totals[i * kLoraThreads + thread] = 0.0f;
  for (int32_t slot = next_slot(work, slice, first_token, tokens, -1); slot >= 0; slot = next_slot(work, slice, first_token, tokens, slot)) {
    __syncthreads();
    if (thread == 0) {
      LoraItem item = {};
      item.slot = slot;
      item.s = s;
      item.at = at;
      item.begin = begin;
      item.entry = site_entry(work, slot, s, at);
      lists.item[0] = item;
    }
    if (thread < kTileRoutes) {
      const SlotRoutes found = thread < tokens ? slot_routes(work, slice, first_token + thread, slot) : SlotRoutes{-1, 0.0f};
      tile.route[thread] = found.route;
      tile.weight[thread] = found.weight;
      tile.replaces[thread] = tile.active[thread] == 1 && found.weight == 1.0f;
    }
    __syncthreads();
    if (static_cast<LoraItem>(lists.item[0]).entry.kind != EntryKind::kNone) expand<true>(work, lists, tile, [] {});
  }
  __syncthreads();
  if (thread < kTileRoutes) {
    tile.replaces[thread] = tile.active[thread] == 1 && only_replaces(work, slice, first_token + thread, s, at);
    tile.route[thread] = tile.active[thread] > 0 ? (first_token + thread) * work.routes : -1;
  }
  __syncthreads();
  store_totals(work, lists, at, begin, tile);
}

// Several routes per token: a block makes its outputs of a token through all its adapters in ascending order of slots, because each
// sees the base as it was and all add to the same outputs.
__device__ __forceinline__ void expand_slice_of_several(const LoraWork& work, const LoraLists& lists) {
  const LoraTile tile = lora_tile(lists.scratch);
  const int tiles = (static_cast<LoraSlice>(lists.slice[0]).tokens + kTileRoutes - 1) / kTileRoutes;
  int number = static_cast<int>(blockIdx.x);
  for (int s = 0; s < work.sites; s++) {
    const int items = tiles * count_of(site_columns(work, s).count, kBlockOutputs);
    for (; number < items; number += static_cast<int>(gridDim.x))
      expand_tokens(work, lists, tile, s, number % tiles * kTileRoutes, number / tiles * kBlockOutputs);
    number -= items;
  }
}

// Shared memory, in bytes. What the sums need has fixed places; the lists lie behind the scratch memory, which is larger or smaller.
struct LoraShared {
  static constexpr size_t kSlice = 0, kItem = 64, kSums = kItem + 112, kMaxima = kSums + sizeof(int64_t) * kLoraWarps;
  static constexpr size_t kScratch = kMaxima + sizeof(int32_t) * 32;
  size_t scratch, keys, first, ends;
  size_t bytes() const { return kScratch + scratch + keys + first + 2 * ends; }
};
static_assert(sizeof(LoraSlice) <= LoraShared::kItem && sizeof(LoraItem) <= LoraShared::kSums - LoraShared::kItem, "their places");
static_assert(LoraShared::kScratch % 16 == 0 && kTileBytes % 16 == 0, "vectors are loaded from there");

constexpr size_t rounded16(size_t bytes) { return (bytes + 15) / 16 * 16; }

LoraShared lora_shared(const LoraWork& work) {
  size_t keys = 4;
  while (keys < static_cast<size_t>(work.list_routes)) keys *= 2;
  const size_t pairs = static_cast<size_t>(work.list_pairs);
  const size_t expand = kTileBytes + (work.routes > 1 ? kTotalBytes : 0), shrink = partial_bytes(work.group);
  return {expand > shrink ? expand : shrink, sizeof(uint32_t) * keys, rounded16(sizeof(int32_t) * (pairs + 1)), rounded16(sizeof(int32_t) * pairs)};
}

template <bool kSeveral>
__global__ void __launch_bounds__(kLoraThreads, 2) grouped_lora_kernel(const __grid_constant__ LoraWork work, const __grid_constant__ LoraShared sizes) {
  HEDDLE_DYNAMIC_SHARED(shared);
  const size_t keys = LoraShared::kScratch + sizes.scratch, first = keys + sizes.keys, ends = first + sizes.first;
  const LoraLists lists = {
      shared_at<uint32_t>(shared, keys),
      shared_at<int32_t>(shared, first),
      shared_at<int32_t>(shared, ends),
      shared_at<int32_t>(shared, ends + sizes.ends),
      shared_at<LoraSlice>(shared, LoraShared::kSlice),
      shared_at<LoraItem>(shared, LoraShared::kItem),
      shared_at<int64_t>(shared, LoraShared::kSums),
      shared_at<int32_t>(shared, LoraShared::kMaxima),
      shared_at<std::byte>(shared, LoraShared::kScratch),
  };
  if (threadIdx.x == 0) lists.slice[0] = LoraSlice{};
  __syncthreads();
  while (next_slice(work, lists, kSeveral)) {
    if (static_cast<LoraSlice>(lists.slice[0]).adapters == 0) continue;
    shrink_slice(work, lists);
    if (static_cast<LoraSlice>(lists.slice[0]).meets) {
      announce(work.counters + kArrived);
      wait_for(work.counters + kArrived, static_cast<LoraSlice>(lists.slice[0]).meetings * static_cast<int32_t>(gridDim.x));
    }
    if constexpr (kSeveral) {
      expand_slice_of_several(work, lists);
    } else {
      expand_slice(work, lists);
    }
  }
  leave(work, lists);
}

constexpr int kMostRankOf(int64_t row_count) { return static_cast<int>((row_count < kMostRank ? row_count : kMostRank) + kRankTile - 1) / kRankTile * kRankTile; }

int list_routes_of(const GroupedLoraArgs& args) {
  const int64_t all = args.index.dims[0] * args.index.dims[1];
  return static_cast<int>(all < kListRoutes ? all : kListRoutes);
}

int64_t chunks_of(const GroupedLoraArgs& args) { return args.x.dims[1] == 0 ? 1 : ceil_div(args.x.dims[1], kChunkColumns); }

int64_t products_of(const GroupedLoraArgs& args) {
  const int64_t routes = args.index.dims[1], most = kMostRankOf(args.rows.dims[0]);
  const int64_t typical = 2 * list_routes_of(args) * (most < kTypicalRank ? most : kTypicalRank), least = 2 * routes * most;
  return (typical > least ? typical : least) * (args.columns.dims[0] - 1) * chunks_of(args);
}

}  // namespace

size_t grouped_lora_cuda_workspace(const GroupedLoraArgs& args, const DeviceLimits&) { return static_cast<size_t>(products_of(args)) * sizeof(float); }

Status grouped_lora_cuda(const GroupedLoraArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_grouped_lora(args));
  AdapterPool pool;
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  const int64_t tokens = args.x.dims[0], routes = args.index.dims[1], sites = args.columns.dims[0] - 1;
  HEDDLE_TRY(check_route_shapes(kOp, args.index, args.weight, tokens));
  HEDDLE_CHECK(routes * sites <= kMostPairs, kOp,
               "index is " + describe(args.index) + " and columns " + describe(args.columns) + ": expected at most " + std::to_string(kMostPairs) +
                   " routes times sites");
  HEDDLE_CHECK(pool.slots <= kMostSlots && routes <= kMostRoutes, kOp,
               "entries is " + describe(args.entries) + " and index " + describe(args.index) + ": expected at most " + std::to_string(kMostSlots) +
                   " slots and " + std::to_string(kMostRoutes) + " routes");
  constexpr int64_t kMostColumns = int64_t{1} << 30;
  HEDDLE_CHECK(args.x.dims[1] <= kMostColumns && args.base.dims[1] <= kMostColumns, kOp,
               "x is " + describe(args.x) + " and base " + describe(args.base) + ": expected at most " + std::to_string(kMostColumns) + " columns");
  if (tokens == 0 || routes == 0) return Status::success();
  const int64_t products = products_of(args);
  HEDDLE_CHECK(context.workspace_bytes >= static_cast<size_t>(products) * sizeof(float), kOp, "the workspace is too small");

  const LoraRefusals refusals = {
      HEDDLE_POOL_REFUSALS(context, "grouped_lora", "0 to 4"),
      context.failure("[grouped_lora] columns {0} to {1} do not lie in f32 [{2}, {3}]"),
      context.failure("[grouped_lora] sites {0} to {1} of {2}"),
      HEDDLE_ENTRY_REFUSAL(context, "grouped_lora", "has function {2}: expected 0 to {3}"),
      HEDDLE_ENTRY_REFUSAL(context, "grouped_lora", "is a network in series of size {2}: expected at most {3}, its share of what the adapters of a token may have"),
      HEDDLE_ENTRY_REFUSAL(context, "grouped_lora", "has {2} dense rows: expected {3}"),
      HEDDLE_ENTRY_REFUSAL(context, "grouped_lora", "has rank {2}: expected at most {3} on this device"),
  };
  LoraWork work = {};
  work.x = args.x.as<float>();
  work.x_stride = args.x.leading_stride;
  work.inputs = static_cast<int>(args.x.dims[1]);
  work.y = args.y.as<float>();
  work.y_stride = args.y.leading_stride;
  work.width = args.y.dims[1];
  work.tokens = tokens;
  work.bias = args.base_bias.present() ? args.base_bias.as<float>() : nullptr;
  work.index = args.index.as<int32_t>();
  work.weight = args.weight.as<float>();
  work.routes = static_cast<int>(routes);
  work.columns = args.columns.as<int32_t>();
  work.sites = static_cast<int>(sites);
  work.site = args.site;
  work.pool = pool;
  work.refusals = refusals;
  work.products = reinterpret_cast<float*>(context.workspace);
  work.product_count = products;
  work.chunks = static_cast<int>(chunks_of(args));
  work.list_routes = list_routes_of(args);
  work.list_pairs = static_cast<int>(work.list_routes * sites < kMostPairs ? work.list_routes * sites : kMostPairs);
  work.group = work.list_routes > kManyRoutes ? 64 : 16;
  work.x_vectors = is_aligned16(work.x, work.x_stride);
  work.y_vectors = is_aligned16(work.y, work.y_stride);
  work.counters = context.counters;

  const LoraShared sizes = lora_shared(work);
  HEDDLE_CHECK(sizes.bytes() <= context.limits.shared_per_block, kOp, "needs " + std::to_string(sizes.bytes()) + " bytes of shared memory per block: this device has " +
               std::to_string(context.limits.shared_per_block));
  void (*kernel)(LoraWork, LoraShared) = routes > 1 ? grouped_lora_kernel<true> : grouped_lora_kernel<false>;
  int blocks = 0;
  HEDDLE_TRY(context.resident_blocks(kOp, reinterpret_cast<const void*>(kernel), kLoraThreads, sizes.bytes(), &blocks));
  LaunchShape shape = {dim3(static_cast<unsigned>(blocks)), kLoraThreads, sizes.bytes(), true};
  return context.launch(kOp, kernel, shape, work, sizes);
}

}  // namespace heddle
