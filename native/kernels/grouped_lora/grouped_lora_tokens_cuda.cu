// Sorts routes by adapter: counts the routes of every key, then one block per key of the batch gathers its own in order.
//
// A block reads `index` from the key's first route to its last only, so a batch whose adapters' tokens lie together is read about
// once. Counts, firsts and ends are integers: their atomics give the same in any order.
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_tokens.cuh"

namespace heddle {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kItems = kWarp / kWarps;  // per thread and step, so that one warp scans the counts of all (item, warp)

__device__ int32_t key_at(const Grouping& grouping, int64_t i) {
  const int32_t slot = grouping.index[i], route = static_cast<int32_t>(i);
  if (slot < 0) return -1;
  if (grouping.ids != nullptr && grouping.ids[route / grouping.routes] < 0) return -1;
  return grouping.parts == 1 ? slot : route % grouping.routes * grouping.slots + slot;
}

__device__ bool columns_are_right(const GroupedColumns& columns, const GroupingRefusals& refusals) {
  if (columns.at == nullptr) return true;
  for (int32_t s = 0; s < columns.sites; s++) {
    const int32_t from = columns.at[s], to = columns.at[s + 1];
    if (from >= 0 && from <= to && to <= columns.width) continue;
    refusals.columns.report(from, to, columns.width);
    return false;
  }
  if (columns.first_site >= 0 && columns.first_site <= columns.all_sites - columns.sites) return true;
  refusals.sites.report(columns.first_site, columns.first_site + columns.sites, columns.all_sites);
  return false;
}

__global__ void count_routes(Grouping grouping, GroupedColumns columns, GroupedTokens tokens, GroupingRefusals refusals) {
  if (blockIdx.x == 0 && threadIdx.x == 0 && !columns_are_right(columns, refusals)) atomicExch(&tokens.state->refused, 1);
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  int32_t key = -1;
  if (i < grouping.elements) {
    const int32_t slot = grouping.index[i];
    if (slot < -1 || slot >= grouping.slots) {
      refusals.slot.report(slot, grouping.slots - 1);
      atomicExch(&tokens.state->refused, 1);
    } else {
      key = key_at(grouping, i);
    }
  }
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const unsigned same = __match_any_sync(kFullWarp, key);
  if (key < 0 || __ffs(static_cast<int>(same)) - 1 != lane) return;
  const int32_t at = static_cast<int32_t>(i);
  atomicAdd(&tokens.keys[key].count, __popc(same));
  atomicMax(&tokens.keys[key].first, static_cast<int32_t>(grouping.elements) - at);
  atomicMax(&tokens.keys[key].end, at - lane + kWarp - __clz(static_cast<int>(same)));
}

// What lies before a key: routes, runs, tiles.
struct Before {
  int32_t routes, runs, tiles;
};

__device__ Before count_before(const GroupedTokens& tokens, int64_t key, SharedPointer<int32_t> scratch) {
  Before mine = {0, 0, 0};
  for (int64_t k = threadIdx.x; k < key; k += kThreads) {
    const int32_t count = tokens.keys[k].count;
    mine.routes += count;
    mine.runs += count > 0;
    mine.tiles += (count + kRunTile - 1) / kRunTile;
  }
  return {block_sum(mine.routes, scratch), block_sum(mine.runs, scratch), block_sum(mine.tiles, scratch)};
}

// Blocks 0 to keys: a key each. Those behind: the end of a part.
__global__ void gather_routes(Grouping grouping, GroupedTokens tokens) {
  HEDDLE_SHARED(int32_t, scratch, kWarp);
  if (tokens.state->refused != 0) return;
  const int32_t keys = grouping.parts * grouping.slots, thread = static_cast<int32_t>(threadIdx.x);
  if (static_cast<int32_t>(blockIdx.x) >= keys) {
    const int32_t part = static_cast<int32_t>(blockIdx.x) - keys;
    const Before all = count_before(tokens, static_cast<int64_t>(part + 1) * grouping.slots, scratch);
    if (thread != 0) return;
    tokens.part_tiles[part] = all.tiles;
    if (part + 1 < grouping.parts) return;
    tokens.state->runs = all.runs;
    tokens.state->tiles = all.tiles;
    return;
  }
  const int32_t key = static_cast<int32_t>(blockIdx.x);
  const KeyCount mine = tokens.keys[key];
  if (mine.count == 0) return;
  const Before before = count_before(tokens, key, scratch);
  if (thread == 0) tokens.runs[before.runs] = {key, before.routes, mine.count, before.tiles};
  for (int32_t tile = thread; tile * kRunTile < mine.count; tile += kThreads) {
    const int32_t left = mine.count - tile * kRunTile;
    tokens.tiles[before.tiles + tile] = {before.runs, before.routes + tile * kRunTile, left < kRunTile ? left : kRunTile};
  }

  const int lane = thread % kWarp, warp = thread / kWarp;
  const int32_t end = mine.end;
  int32_t next = before.routes;
  for (int32_t from = static_cast<int32_t>(grouping.elements) - mine.first; from < end; from += kThreads * kItems) {
    unsigned votes[kItems];
#pragma unroll
    for (int item = 0; item < kItems; item++) {
      const int64_t i = static_cast<int64_t>(from) + item * kThreads + thread;
      votes[item] = __ballot_sync(kFullWarp, i < end && key_at(grouping, i) == key);
      if (lane == 0) scratch[item * kWarps + warp] = __popc(votes[item]);
    }
    __syncthreads();
    const int32_t count = scratch[lane];
    int32_t sum = count;
#pragma unroll
    for (int distance = 1; distance < kWarp; distance *= 2) {
      const int32_t lower = __shfl_up_sync(kFullWarp, sum, distance);
      if (lane >= distance) sum += lower;
    }
#pragma unroll
    for (int item = 0; item < kItems; item++) {
      const int32_t at = next + __shfl_sync(kFullWarp, sum - count, item * kWarps + warp);
      if ((votes[item] >> lane & 1u) == 0) continue;
      const int32_t route = from + item * kThreads + thread, position = at + __popc(votes[item] & ((1u << lane) - 1));
      tokens.token[position] = route / grouping.routes;
      tokens.route[position] = route;
      tokens.weight[position] = grouping.weight[route];
    }
    next += __shfl_sync(kFullWarp, sum, kWarp - 1);
    __syncthreads();
  }
}

// Hands out pieces of the workspace; with null memory it measures.
struct Pieces {
  std::byte* memory;
  size_t used = 0;

  template <class T>
  T* take(int64_t count) {
    T* piece = memory == nullptr ? nullptr : reinterpret_cast<T*>(memory + used);
    used += (static_cast<size_t>(count) * sizeof(T) + 15) / 16 * 16;
    return piece;
  }
};

size_t zeroed_bytes(const Grouping& grouping, int64_t zeroed_words) {
  Pieces pieces = {nullptr};
  pieces.take<GroupedState>(1);
  pieces.take<KeyCount>(grouping.keys());
  pieces.take<uint32_t>(zeroed_words);
  return pieces.used;
}

GroupedTokens place(const Grouping& grouping, int64_t zeroed_words, Pieces& pieces) {
  GroupedTokens tokens;
  tokens.state = pieces.take<GroupedState>(1);
  tokens.keys = pieces.take<KeyCount>(grouping.keys());
  tokens.zeroed = pieces.take<uint32_t>(zeroed_words);
  tokens.part_tiles = pieces.take<int32_t>(grouping.parts);
  tokens.runs = pieces.take<AdapterRun>(grouping.most_runs());
  tokens.tiles = pieces.take<RunTile>(grouping.most_tiles());
  tokens.token = pieces.take<int32_t>(grouping.elements);
  tokens.route = pieces.take<int32_t>(grouping.elements);
  tokens.weight = pieces.take<float>(grouping.elements);
  return tokens;
}

}  // namespace

size_t grouped_tokens_bytes(const Grouping& grouping, int64_t zeroed_words) {
  Pieces pieces = {nullptr};
  place(grouping, zeroed_words, pieces);
  return (pieces.used + 255) / 256 * 256;
}

GroupedTokens place_grouped_tokens(const Grouping& grouping, int64_t zeroed_words, std::byte* memory) {
  Pieces pieces = {memory};
  return place(grouping, zeroed_words, pieces);
}

Status group_tokens(const char* op, const Grouping& grouping, const GroupedColumns& columns, int64_t zeroed_words, const GroupingRefusals& refusals,
                    const GroupedTokens& tokens, const CudaContext& context) {
  HEDDLE_CHECK(grouping.elements <= INT32_MAX - kThreads * kItems && grouping.keys() <= INT32_MAX - grouping.parts, op,
               "index has " + std::to_string(grouping.elements) + " elements for " + std::to_string(grouping.keys()) + " adapters: too many");
  HEDDLE_TRY(context.zero(op, tokens.state, zeroed_bytes(grouping, zeroed_words)));
  const int64_t blocks = ceil_div(grouping.elements, kThreads);
  const dim3 counting(static_cast<unsigned>(blocks < 1 ? 1 : blocks)), gathering(static_cast<unsigned>(grouping.keys() + grouping.parts));
  HEDDLE_TRY(context.launch(op, count_routes, {counting, kThreads}, grouping, columns, tokens, refusals));
  return context.launch(op, gather_routes, {gathering, kThreads}, grouping, tokens);
}

}  // namespace heddle
