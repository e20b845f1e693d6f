// What grouped_lora computes from, and the work lists that every block makes for itself from the index.
//
// The batch goes slice by slice, a decode step in one. Of a slice every block sorts the routes by slot into shared memory, looks at the
// entries, and so knows all items of the slice and which are its own, without a word from the host: a captured launch is right for
// any index. A route is one (token, j) of index; a pair is an adapter of the slice at one of the sites.
#pragma once
#include "kernels/grouped_lora/adapter_pool.cuh"

namespace heddle {

inline constexpr int kLoraThreads = 256;
inline constexpr int kLoraWarps = kLoraThreads / kWarp;
inline constexpr int kListRoutes = 2048;       // most routes of a slice
inline constexpr int kWarpColumns = 128;       // of the input, per warp and step
inline constexpr int kChunkColumns = kLoraWarps * kWarpColumns;
inline constexpr int kRankTile = 16;           // rows of A, or of B, that tensor cores take at once
inline constexpr int kTileRoutes = 16;         // tokens whose outputs are made at once
inline constexpr int kWarpOutputs = 64;
inline constexpr int kBlockOutputs = kLoraWarps * kWarpOutputs;
inline constexpr int kManyRoutes = 256;        // slices of more routes share the reading of rows among more tokens
inline constexpr int kMostPairs = 1024;        // of a slice: their lists leave room for two blocks on a multiprocessor
inline constexpr int kTypicalRank = 128;       // scratch memory for so many ranks of every route
inline constexpr int64_t kMostRank = 65536;
inline constexpr int64_t kMostSlots = 1 << 20;
inline constexpr int64_t kMostRoutes = 256;    // of a token
inline constexpr uint32_t kNoRoute = 0xffffffffu;

struct LoraRefusals {
  PoolRefusals pool;
  Failure columns;   // from, to, tokens, columns of base
  Failure sites;     // from, to, sites
  Failure function;  // slot, site, function, the last
  Failure series;    // slot, site, size, the most
  Failure dense;     // slot, site, rows, outputs
  Failure large;     // slot, site, rank, the most
};

struct LoraWork {
  const float* x;
  int64_t x_stride;
  int inputs;
  float* y;
  int64_t y_stride;
  int64_t width;  // of y
  int64_t tokens;
  const float* bias;  // or null
  const int32_t* index;
  const float* weight;
  int routes;  // per token
  const int32_t* columns;
  int sites;
  int site;
  AdapterPool pool;
  LoraRefusals refusals;
  float* products;         // x A^T in parts: [route of the slice][site][chunk][rank]
  int64_t product_count;
  int chunks;              // of the input, per row of A
  int group;               // routes of an adapter that share the reading of its rows: 16 or 64
  int list_routes;         // most of a slice
  int list_pairs;
  bool x_vectors, y_vectors;  // rows begin at multiples of 16 bytes
  int32_t* counters;
};

struct LoraSlice {
  int64_t first_token;
  int tokens;
  int adapters;
  int pairs;
  int shrink_items;
  int expand_items;  // with one route per token
  int rank;          // the largest, a multiple of kRankTile
  float* products;
  int meetings;  // of all blocks, up to and with this slice
  int counters;  // that blocks have used
  bool meets;    // all blocks, between x A^T and the outputs
};

// The columns of y that belong to site `s`; not valid: refused, nothing happens there.
struct SiteColumns {
  int from;
  int count;
  bool valid;
};

// What a block does next.
struct LoraItem {
  AdapterEntry entry;
  SiteColumns at;
  int32_t slot;
  int s;
  int pair;
  int first;   // key of the first of the routes
  int routes;
  int row;     // the first of A
  int chunk;   // of its columns
  int begin;   // the first output
  int parts;   // items of x A^T that the pair has
};

// In shared memory.
struct LoraLists {
  SharedPointer<uint32_t> keys;        // slot * kListRoutes + route, ascending
  SharedPointer<int32_t> first;        // where each adapter's routes begin among the keys; one more at the end
  SharedPointer<int32_t> shrink_end;   // per pair: items up to and with it
  SharedPointer<int32_t> expand_end;
  SharedPointer<LoraSlice> slice;      // this slice and the item at hand: one each, read again where they are needed, because
  SharedPointer<LoraItem> item;        // registers are for sums
  SharedPointer<int64_t> sums;         // [kLoraWarps]
  SharedPointer<int32_t> maxima;       // [32]
  SharedPointer<std::byte> scratch;
};

__device__ __forceinline__ int key_route(uint32_t key) { return static_cast<int>(key % kListRoutes); }
__device__ __forceinline__ int32_t key_slot(uint32_t key) { return static_cast<int32_t>(key / kListRoutes); }

__device__ __forceinline__ SiteColumns site_columns(const LoraWork& work, int s) {
  const int from = work.columns[s], to = work.columns[s + 1];
  const bool valid = from >= 0 && from <= to && to <= work.width && work.site >= 0 && work.site + work.sites <= work.pool.sites;
  return {from, valid ? to - from : 0, valid};
}

__device__ inline void refuse_sites(const LoraWork& work) {
  for (int s = 0; s < work.sites; s++) {
    const int from = work.columns[s], to = work.columns[s + 1];
    if (from < 0 || from > to || to > work.width) work.refusals.columns.report(from, to, work.tokens, work.width);
  }
  if (work.site < 0 || work.site + work.sites > work.pool.sites) work.refusals.sites.report(work.site, work.site + work.sites, work.pool.sites);
}

// The entry of an adapter at site `s`, of kind kNone also where it was refused.
__device__ inline AdapterEntry site_entry(const LoraWork& work, int32_t slot, int s, const SiteColumns& at) {
  AdapterEntry none = {};
  if (!at.valid) return none;
  const AdapterPool& pool = work.pool;
  const LoraRefusals& refusals = work.refusals;
  const int64_t site = work.site + s;
  const AdapterEntry entry = load_entry(pool, slot, site);
  if (entry.kind == EntryKind::kNone) return entry;
  if (is_bottleneck(entry)) {
    constexpr int kFunctions = 6;
    const bool series = entry.kind == EntryKind::kSeries;
    const Failure* wrong = nullptr;
    int64_t found = 0, expected = 0;
    if (!is_row_dtype(entry.dtype)) {
      wrong = &refusals.pool.dtype, found = entry.dtype;
    } else if (entry.rank < 0) {
      wrong = &refusals.pool.rank, found = entry.rank;
    } else if (entry.gain < 0 || entry.gain >= kFunctions) {
      wrong = &refusals.function, found = entry.gain, expected = kFunctions - 1;
    } else if (series && entry.rank > kSeriesSize / work.routes) {
      wrong = &refusals.series, found = entry.rank, expected = kSeriesSize / work.routes;
    }
    if (wrong != nullptr) {
      wrong->report(slot, site, found, expected);
      return none;
    }
  } else {
    if (!sound_entry(pool, refusals.pool, entry, slot, site, at.count)) return none;
    if (entry.kind == EntryKind::kDense && rows_exist(pool, entry.first_a, entry.rank) && entry.rank != at.count) {
      refusals.dense.report(slot, site, entry.rank, at.count);
      return none;
    }
  }
  for (int32_t first : {entry.first_a, entry.kind == EntryKind::kDense ? entry.first_a : entry.first_b}) {
    if (rows_exist(pool, first, entry.rank)) continue;
    refusals.pool.rows.report(slot, site, first, static_cast<int64_t>(first) + entry.rank);
    return none;
  }
  if (entry.kind != EntryKind::kDense && entry.rank > kMostRank) {
    refusals.large.report(slot, site, entry.rank, kMostRank);
    return none;
  }
  return entry;
}

// Parts of `size` that `all` is cut into.
__device__ __forceinline__ int count_of(int all, int size) { return all / size + (all % size != 0); }

// How the input of an entry's rows of A is cut: x, or for a network in series the base's outputs.
struct InputChunks {
  int width;
  int columns;  // of a chunk
  int count;
};

__device__ __forceinline__ InputChunks input_chunks(const LoraWork& work, const AdapterEntry& entry, const SiteColumns& at) {
  const int width = entry.kind == EntryKind::kSeries ? at.count : work.inputs;
  const int columns = count_of(count_of(width, work.chunks), kChunkColumns) * kChunkColumns;
  return {width, columns, width == 0 ? 1 : count_of(width, columns)};
}

__device__ __forceinline__ float* product_of(const LoraWork& work, const LoraSlice& slice, int route, int s, int chunk) {
  return slice.products + ((static_cast<int64_t>(route) * work.sites + s) * work.chunks + chunk) * slice.rank;
}

// The sum of `value` over the threads before this one.
__device__ inline int64_t sum_before(int64_t value, SharedPointer<int64_t> scratch, int64_t* total) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  int64_t sum = value;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int64_t other = __shfl_up_sync(kFullWarp, sum, distance);
    if (lane >= distance) sum += other;
  }
  if (lane == kWarp - 1) scratch[warp] = sum;
  __syncthreads();
  int64_t before = 0, all = 0;
  for (int i = 0; i < kLoraWarps; i++) {
    const int64_t other = scratch[i];
    if (i < warp) before += other;
    all += other;
  }
  __syncthreads();
  *total = all;
  return before + sum - value;
}

// Sorts the keys of `routes` routes from `first_token` on; the number of those that have an adapter. They come first.
__device__ inline int sort_routes(const LoraWork& work, const LoraLists& lists, int64_t first_token, int routes) {
  const int thread = static_cast<int>(threadIdx.x);
  const auto keys = lists.keys;
  int padded = (routes + 3) / 4 * 4;
  if (routes > kLoraThreads)
    for (padded = 2 * kLoraThreads; padded < routes;) padded *= 2;
  __syncthreads();  // the lists of the slice before are not needed any more
  for (int i = thread; i < padded; i += kLoraThreads) {
    const int32_t slot = i < routes ? route_slot(work.pool, work.refusals.pool, work.index[first_token * work.routes + i]) : -1;
    keys[i] = slot < 0 ? kNoRoute : static_cast<uint32_t>(slot) * kListRoutes + static_cast<uint32_t>(i);
  }
  __syncthreads();
  if (routes <= kLoraThreads) {
    // Few: everybody counts who comes before.
    const uint32_t mine = thread < padded ? static_cast<uint32_t>(keys[thread]) : kNoRoute;
    int before = 0;
    if (mine != kNoRoute)
      for (int i = 0; i < padded; i += 4) {
        const Pack<uint32_t, 4> four = load_pack<4>(keys + i);
        for (uint32_t other : four.v) before += other < mine;
      }
    const int used = __syncthreads_count(mine != kNoRoute);
    if (mine != kNoRoute) keys[before] = mine;
    __syncthreads();
    return used;
  }
  for (int size = 2; size <= padded; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int i = thread; i < padded / 2; i += kLoraThreads) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const uint32_t a = keys[low], b = keys[high];
        if ((a > b) == ((low & size) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
  int used = 0;
  for (int step = padded; step > 0; step /= 2)
    if (used + step <= padded && keys[used + step - 1] != kNoRoute) used += step;
  return used;
}

// Where each adapter's routes begin among the first `used` keys; the number of adapters. Nothing is listed where there are more than `most`.
__device__ inline int find_adapters(const LoraLists& lists, int used, int most) {
  const int share = (used + kLoraThreads - 1) / kLoraThreads;
  const int begin = static_cast<int>(threadIdx.x) * share, end = begin + share < used ? begin + share : used;
  const auto is_first = [&](int i) { return i == 0 || key_slot(lists.keys[i]) != key_slot(lists.keys[i - 1]); };
  int count = 0;
  for (int i = begin; i < end; i++) count += is_first(i);
  int64_t total = 0;
  int at = static_cast<int>(sum_before(count, lists.sums, &total));
  if (total > most) return static_cast<int>(total);
  for (int i = begin; i < end; i++)
    if (is_first(i)) lists.first[at++] = i;
  if (threadIdx.x == 0) lists.first[total] = used;
  __syncthreads();
  return static_cast<int>(total);
}

// The pair whose items hold `item`, and the first of them.
__device__ inline int find_pair(SharedPointer<int32_t> ends, int pairs, int item, int* first) {
  int low = 0, high = pairs - 1;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (ends[middle] > item) high = middle;
    else low = middle + 1;
  }
  *first = low == 0 ? 0 : static_cast<int32_t>(ends[low - 1]);
  return low;
}

__device__ __forceinline__ int group_count(const LoraWork& work, int routes) { return (routes + work.group - 1) / work.group; }

__device__ __forceinline__ int shrink_items(const LoraWork& work, const AdapterEntry& entry, const SiteColumns& at, int routes) {
  if (entry.kind == EntryKind::kNone || entry.kind == EntryKind::kDense || at.count == 0) return 0;
  return group_count(work, routes) * count_of(entry.rank, kRankTile) * input_chunks(work, entry, at).count;
}

// Lists the work of the slice of `tokens` tokens from `first_token` on; of more pairs than list_pairs only their number.
__device__ inline LoraSlice plan_slice(const LoraWork& work, const LoraLists& lists, int64_t first_token, int tokens) {
  LoraSlice slice = {first_token, tokens, 0, 0, 0, 0, 0, nullptr, 0, 0, false};
  const int used = sort_routes(work, lists, first_token, tokens * work.routes);
  if (used == 0) return slice;
  slice.adapters = find_adapters(lists, used, work.list_pairs / work.sites);
  slice.pairs = slice.adapters * work.sites;
  if (slice.pairs > work.list_pairs) return slice;
  const int share = (slice.pairs + kLoraThreads - 1) / kLoraThreads;
  const int begin = static_cast<int>(threadIdx.x) * share, end = begin + share < slice.pairs ? begin + share : slice.pairs;
  int64_t shrink = 0, expand = 0;
  int rank = 0;
  for (int pair = begin; pair < end; pair++) {
    const int adapter = pair / work.sites, s = pair % work.sites;
    const int first = lists.first[adapter], routes = lists.first[adapter + 1] - first;
    const SiteColumns at = site_columns(work, s);
    const AdapterEntry entry = site_entry(work, key_slot(lists.keys[first]), s, at);
    const int blocks = count_of(at.count, kBlockOutputs);
    shrink += shrink_items(work, entry, at, routes);
    expand += entry.kind == EntryKind::kNone ? 0 : group_count(work, routes) * blocks;
    if (entry.kind != EntryKind::kDense && entry.rank > rank) rank = entry.rank;
    lists.shrink_end[pair] = static_cast<int32_t>(shrink);
    lists.expand_end[pair] = static_cast<int32_t>(expand);
  }
  int64_t total = 0;
  const int64_t before = sum_before(shrink << 32 | expand, lists.sums, &total);
  for (int pair = begin; pair < end; pair++) {
    lists.shrink_end[pair] += static_cast<int32_t>(before >> 32);
    lists.expand_end[pair] += static_cast<int32_t>(before & 0xffffffff);
  }
  slice.shrink_items = static_cast<int>(total >> 32);
  slice.expand_items = static_cast<int>(total & 0xffffffff);
  slice.rank = (block_max(rank, lists.maxima) + kRankTile - 1) / kRankTile * kRankTile;  // its barriers also show the lists to all
  return slice;
}

// Pair `pair` as an item whose routes and place are still to be said.
__device__ inline LoraItem item_of_pair(const LoraWork& work, const LoraLists& lists, int pair) {
  LoraItem item = {};
  item.pair = pair;
  item.s = pair % work.sites;
  item.first = lists.first[pair / work.sites];
  item.routes = lists.first[pair / work.sites + 1] - item.first;
  item.slot = key_slot(lists.keys[item.first]);
  item.at = site_columns(work, item.s);
  item.entry = site_entry(work, item.slot, item.s, item.at);
  item.parts = shrink_items(work, item.entry, item.at, item.routes);
  return item;
}

// The item's routes become those of the adapter's group number `group`.
__device__ __forceinline__ void take_group(const LoraWork& work, LoraItem* item, int group) {
  const int begin = group * work.group, left = item->routes - begin;
  item->first += begin;
  item->routes = left < work.group ? left : work.group;
}

__device__ __forceinline__ void refuse_rows(const LoraWork& work, const LoraItem& item, int32_t first) {
  work.refusals.pool.rows.report(item.slot, work.site + item.s, first, static_cast<int64_t>(first) + item.entry.rank);
}

// The token that a route of the slice belongs to.
__device__ __forceinline__ int64_t route_token(const LoraWork& work, const LoraSlice& slice, int route) { return slice.first_token + route / work.routes; }

}  // namespace heddle
