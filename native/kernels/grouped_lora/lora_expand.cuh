// What adapters add to the outputs of up to sixteen tokens: products with rows of B (or of a whole weight), joined with y.
//
// Tokens are the rows of the mma. A lane loads 16 bytes of four rows of B at the same eight outputs, and pairs them in registers; the
// i-th of eight mma takes the i-th output of every lane. So a lane ends with sixteen neighbouring outputs of two tokens, and y
// is read and written in vectors.
#pragma once
#include "kernels/elementwise/activations.cuh"
#include "kernels/grouped_lora/lora_shrink.cuh"
#include "kernels/grouped_lora/lora_work.cuh"
#include "kernels/grouped_lora/split_terms.cuh"

namespace heddle {

inline constexpr int kRankBlockRows = 128;                 // products in shared memory at once
inline constexpr int kRingStages = 4;                    // of sixteen rows, on their way into shared memory
inline constexpr int kProductStride = kRankBlockRows + 8;  // keeps the lanes of a load in different banks

// Sixteen tokens that go through one adapter, in shared memory.
struct LoraTile {
  SharedPointer<float> products;      // [kTileRoutes][kProductStride]
  SharedPointer<int32_t> units;       // [kRankBlockRows] addresses of rows of B in the pool, -1: none
  SharedPointer<int32_t> route;       // [kTileRoutes], -1: no token
  SharedPointer<float> weight;        // [kTileRoutes]
  SharedPointer<int32_t> replaces;    // [kTileRoutes]: the adapter's own value takes the base's place
  SharedPointer<int32_t> active;      // [kTileRoutes]: adapters of the token at this site
  SharedPointer<std::byte> ring;      // [kRingStages][4][kLoraThreads] times 16 bytes
  SharedPointer<float> totals;        // [2 * 16][kLoraThreads], where tokens have several routes
};

inline constexpr size_t kTileNumbers = kTileRoutes * kProductStride + kRankBlockRows + 4 * kTileRoutes;
inline constexpr size_t kRingBytes = size_t{16} * 4 * kRingStages * kLoraThreads;
inline constexpr size_t kTileBytes = sizeof(float) * kTileNumbers + kRingBytes;
inline constexpr size_t kTotalBytes = sizeof(float) * 2 * 16 * kLoraThreads;

__device__ __forceinline__ LoraTile lora_tile(SharedPointer<std::byte> scratch) {
  LoraTile tile;
  size_t at = 0;
  const auto next = [&](size_t count) {
    const size_t begin = at;
    at += 4 * count;
    return begin;
  };
  tile.products = shared_at<float>(scratch, next(kTileRoutes * kProductStride));
  tile.units = shared_at<int32_t>(scratch, next(kRankBlockRows));
  tile.route = shared_at<int32_t>(scratch, next(kTileRoutes));
  tile.weight = shared_at<float>(scratch, next(kTileRoutes));
  tile.replaces = shared_at<int32_t>(scratch, next(kTileRoutes));
  tile.active = shared_at<int32_t>(scratch, next(kTileRoutes));
  tile.ring = shared_at<std::byte>(scratch, at);
  tile.totals = shared_at<float>(scratch, kTileBytes);
  return tile;
}

// sums[i][c % 2 + 2 * half]: output 16 pair + 8 (c % 2) + i of the warp's, token group + 8 half.
using OutputSums = float[8][4];

struct WarpPlace {
  int warp, lane, group, pair;
};
__device__ __forceinline__ WarpPlace warp_place() {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  return {warp, lane, lane / 4, lane % 4};
}

// Addresses of up to kRankBlockRows rows of B from `first` on.
template <class Row>
__device__ __forceinline__ void find_rows(const LoraWork& work, const LoraLists& lists, const LoraTile& tile, int first) {
  const LoraItem item = lists.item[0];
  for (int i = static_cast<int>(threadIdx.x); i < kRankBlockRows && first + i < (item.entry.rank + kRankTile - 1) / kRankTile * kRankTile; i += kLoraThreads) {
    int32_t unit = -1;
    if (first + i < item.entry.rank) {
      const int64_t row = static_cast<int64_t>(item.entry.first_b) + first + i;
      if (pool_row<Row>(work.pool, row, item.at.count) != nullptr) unit = work.pool.rows[row];
      else refuse_rows(work, item, item.entry.first_b);
    }
    tile.units[i] = unit;
  }
}

// Four of the lane's eight outputs in rows 2 pair, 2 pair + 1, 2 pair + 8 and 2 pair + 9 of sixteen.
template <class Row>
struct ExpandRows {
  Pack<Row, 4> v[4];
};

template <class Row>
__device__ __forceinline__ SharedPointer<Row> ring_place(const LoraTile& tile, int stage, int i) {
  return shared_at<Row>(tile.ring, 16u * static_cast<unsigned>((stage % kRingStages * 4 + i) * kLoraThreads + static_cast<int>(threadIdx.x)));
}

// Sets a stage of the ring under way: the lane's part of sixteen rows from `row` on, at outputs from `output` on. Every thread reads
// back only what it copied itself, so no barrier is needed.
template <class Row>
__device__ __forceinline__ void fetch_rows(const LoraWork& work, const LoraTile& tile, int stage, int row, int output, int end) {
  const int pair = static_cast<int>(threadIdx.x) % 4;
  const bool whole = output + kPackWidth<Row> <= end;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int32_t unit = tile.units[row + 2 * pair + i % 2 + i / 2 * 8];
    const Row* from = reinterpret_cast<const Row*>(work.pool.bytes + (unit < 0 ? 0 : unit * kRowUnit)) + output;
    const auto to = ring_place<Row>(tile, stage, i);
    copy_async16(to, whole ? from : reinterpret_cast<const Row*>(work.pool.bytes), unit >= 0 && whole);
  }
  copy_async_commit();
}

// Four outputs of what fetch_rows brought, from `begin` of its kPackWidth<Row> on. The row's last, where a copy of 16 bytes would reach
// behind it, are read here.
template <class Row>
__device__ __forceinline__ ExpandRows<Row> fetched_rows(const LoraWork& work, const LoraTile& tile, int stage, int begin, int row, int output, int end) {
  ExpandRows<Row> rows;
#pragma unroll
  for (int i = 0; i < 4; i++) rows.v[i] = load_pack<4>(ring_place<Row>(tile, stage, i) + begin);
  if (output < end && output + kPackWidth<Row> > end) {
    const int pair = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int32_t unit = tile.units[row + 2 * pair + i % 2 + i / 2 * 8];
      if (unit < 0) continue;
      const Row* from = reinterpret_cast<const Row*>(work.pool.bytes + unit * kRowUnit) + output + begin;
#pragma unroll
      for (int e = 0; e < 4; e++)
        if (output + begin + e < end) rows.v[i].v[e] = from[e];
    }
  }
  return rows;
}

// The tile's products with `count` rows of A from `first` on, whole, scaled and activated; zero where there is no token or row.
__device__ __forceinline__ void gather_products(const LoraWork& work, const LoraLists& lists, const LoraTile& tile, int first, int count) {
  const LoraItem item = lists.item[0];
  const LoraSlice slice = lists.slice[0];
  const AdapterEntry& entry = item.entry;
  const int chunks = input_chunks(work, entry, item.at).count;
  for (int i = static_cast<int>(threadIdx.x); i < kTileRoutes * count; i += kLoraThreads) {
    const int token = i / count, row = i % count;
    const int route = tile.route[token];
    float sum = 0;
    if (route >= 0 && first + row < entry.rank) {
      const float* parts = product_of(work, slice, route, item.s, 0) + first + row;
      for (int chunk = 0; chunk < chunks; chunk++) sum += parts[static_cast<int64_t>(chunk) * slice.rank];
      sum = entry.scale * (is_bottleneck(entry) ? activation(static_cast<Activation>(entry.gain), sum) : sum);
    }
    tile.products[token * kProductStride + row] = sum;
  }
}

// The tile's products as an operand, [term].
struct ProductTerms {
  uint32_t a[kFloatTerms][4];
};

__device__ __forceinline__ ProductTerms product_terms(SharedPointer<float> products) {
  const WarpPlace place = warp_place();
  ProductTerms result;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const Pack<float, 2> two = load_pack<2>(products + ((place.group + i % 2 * 8) * kProductStride + 2 * place.pair + i / 2 * 8));
    uint32_t terms[kFloatTerms];
    split_pair(terms, two.v[0], two.v[1]);
#pragma unroll
    for (int term = 0; term < kFloatTerms; term++) result.a[term][i] = terms[term];
  }
  return result;
}

// sums[i] for the outputs `first` to `first` + 4 of each lane's eight.
template <class Row>
__device__ __forceinline__ void add_factor_rows(OutputSums& sums, int first, const ExpandRows<Row>& rows, const ProductTerms& products) {
  constexpr int kTerms = kRowTerms<Row>;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    uint32_t low[kTerms], high[kTerms];
    split_row_pair<Row>(low, rows.v[0].v[i], rows.v[1].v[i]);
    split_row_pair<Row>(high, rows.v[2].v[i], rows.v[3].v[i]);
#pragma unroll
    for (int of_row = kTerms - 1; of_row >= 0; of_row--) {
      const uint32_t b[2] = {low[of_row], high[of_row]};
#pragma unroll
      for (int term = kFloatTerms - 1; term >= 0; term--)
        if (is_kept(of_row, term)) mma_m16n8k16<BF16>(sums[first + i], products.a[term], b);
    }
  }
}

// sums += products with the rows of B. The rows' first stages are under way before `wait`, which returns when the products are there.
template <class Row, class Wait>
__device__ __forceinline__ void expand_factors(OutputSums& sums, const LoraWork& work, const LoraLists& lists, const LoraTile& tile, const Wait& wait) {
  const WarpPlace place = warp_place();
  const LoraItem item = lists.item[0];
  const int output = item.begin + place.warp * kWarpOutputs + 8 * place.group, outputs = item.at.count;
  const int ranks = (item.entry.rank + kRankTile - 1) / kRankTile * kRankTile;
  for (int first = 0; first < ranks; first += kRankBlockRows) {
    const int count = ranks - first < kRankBlockRows ? ranks - first : kRankBlockRows;
    find_rows<Row>(work, lists, tile, first);
    __syncthreads();
    constexpr int kParts = 8 / kPackWidth<Row>;
    const int stages = count / kRankTile * kParts;
    const auto fetch = [&](int stage) {
      if (stage < stages) fetch_rows<Row>(work, tile, stage, stage / kParts * kRankTile, output + stage % kParts * kPackWidth<Row>, outputs);
      else copy_async_commit();
    };
#pragma unroll
    for (int stage = 0; stage < kRingStages; stage++) fetch(stage);
    if (first == 0) wait();
    gather_products(work, lists, tile, first, count);
    __syncthreads();
    for (int row = 0; row < count; row += kRankTile) {
      const ProductTerms products = product_terms(tile.products + row);
#pragma unroll
      for (int four = 0; four < 8; four += 4) {
        const int part = four / kPackWidth<Row>, stage = row / kRankTile * kParts + part;
        if (four % kPackWidth<Row> == 0) copy_async_wait<kRingStages - 1>();
        add_factor_rows(sums, four, fetched_rows<Row>(work, tile, stage, four % kPackWidth<Row>, row, output + part * kPackWidth<Row>, outputs), products);
        if ((four + 4) % kPackWidth<Row> == 0) fetch(stage + kRingStages);
      }
    }
    copy_async_wait<0>();
    __syncthreads();
  }
}

// Up to four floats from `from` on, the rest zero.
__device__ __forceinline__ Pack<float, 4> load_four(const float* from, int count, bool vectors) {
  if (vectors && count >= 4) return load_pack<4>(from);
  Pack<float, 4> four = {};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (i < count) four.v[i] = from[i];
  return four;
}

// Eight elements of a row of any dtype as f32.
__device__ __forceinline__ void load_any_row(float (&to)[8], const AdapterPool& pool, int32_t unit, int32_t dtype, int at, int width) {
  const std::byte* row = unit < 0 ? nullptr : pool.bytes + unit * kRowUnit;
  with_device_rows(dtype, [&](auto kind) { load_row_eight(to, reinterpret_cast<const decltype(kind)*>(row), at, width); });
}

// sums += x W^T for the rows of a whole weight.
__device__ __forceinline__ void multiply_whole(OutputSums& sums, const LoraWork& work, const LoraLists& lists, const LoraTile& tile) {
  const WarpPlace place = warp_place();
  const LoraItem item = lists.item[0];
  const int64_t first_token = static_cast<LoraSlice>(lists.slice[0]).first_token;
  const int row_bytes = item.entry.dtype == static_cast<int32_t>(DType::kF32) ? 4 : 2;
  const float* in[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int route = tile.route[place.group + 8 * half];
    in[half] = route < 0 ? nullptr : work.x + (first_token + route / work.routes) * work.x_stride;
  }
  // A quarter of the outputs at a time: registers.
#pragma unroll
  for (int outputs = 0; outputs < 8; outputs += 2) {
    int32_t units[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int output = item.begin + place.warp * kWarpOutputs + 8 * place.group + outputs + i;
      units[i] = -1;
      if (output >= item.at.count) continue;
      const int64_t row = static_cast<int64_t>(item.entry.first_a) + output;
      if (pool_row<std::byte>(work.pool, row, static_cast<int64_t>(work.inputs) * row_bytes) != nullptr) units[i] = work.pool.rows[row];
      else refuse_rows(work, item, item.entry.first_a);
    }
    for (int column = 0; column < work.inputs; column += kWarpColumns) {
      float part[2][4] = {};  // short sums, added in f32: a tensor core cuts the lower bits of a long one
      for (int step = 0; step < kWarpColumns && column + step < work.inputs; step += kStepColumns) {
        const int mine = column + step + 8 * place.pair;
        float w[2][8];
#pragma unroll
        for (int i = 0; i < 2; i++) load_any_row(w[i], work.pool, units[i], item.entry.dtype, mine, work.inputs);
#pragma unroll
        for (int m = 0; m < 2; m++) {
          uint32_t a[kFloatTerms][4];
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const Pack<float, 4> x = load_four(in[half] + mine + 4 * m, in[half] == nullptr ? 0 : work.inputs - mine - 4 * m, work.x_vectors);
#pragma unroll
            for (int quarter = 0; quarter < 2; quarter++) {
              uint32_t terms[kFloatTerms];
              split_pair(terms, x.v[2 * quarter], x.v[2 * quarter + 1]);
#pragma unroll
              for (int term = 0; term < kFloatTerms; term++) a[term][quarter * 2 + half] = terms[term];
            }
          }
#pragma unroll
          for (int i = 0; i < 2; i++) {
            uint32_t low[kFloatTerms], high[kFloatTerms];
            split_pair(low, w[i][4 * m], w[i][4 * m + 1]);
            split_pair(high, w[i][4 * m + 2], w[i][4 * m + 3]);
#pragma unroll
            for (int of_row = kFloatTerms - 1; of_row >= 0; of_row--) {
              const uint32_t b[2] = {low[of_row], high[of_row]};
#pragma unroll
              for (int term = kFloatTerms - 1; term >= 0; term--)
                if (is_kept(of_row, term)) mma_m16n8k16<BF16>(part[i], a[term], b);
            }
          }
        }
      }
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[outputs + i][c] += part[i][c];
    }
  }
}

__device__ __forceinline__ void store_four(float* to, const Pack<float, 4>& four, int count, bool vectors) {
  if (vectors && count >= 4) return store_pack(to, four);
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (i < count) to[i] = four.v[i];
}

// Joins an adapter's product with y, or where tokens have several routes with their totals.
template <bool kSeveral>
__device__ __forceinline__ void join_outputs(const OutputSums& sums, const LoraWork& work, const LoraLists& lists, const LoraTile& tile) {
  const WarpPlace place = warp_place();
  const LoraItem item = lists.item[0];
  const int64_t first_token = static_cast<LoraSlice>(lists.slice[0]).first_token;
  const AdapterEntry& entry = item.entry;
  const SiteColumns& at = item.at;
  const int output = item.begin + place.warp * kWarpOutputs + 16 * place.pair;
  const float* gain = entry.kind == EntryKind::kLowRank && entry.gain >= 0 ? pool_row<float>(work.pool, entry.gain, at.count) : nullptr;
  const float* shift = shift_row(entry) >= 0 ? pool_row<float>(work.pool, entry.shift, at.count) : nullptr;
  const bool own = entry.kind == EntryKind::kDense || gain != nullptr;
  const bool vectors = work.y_vectors && at.from % 4 == 0;
  const float* bias = own && work.bias != nullptr ? work.bias + at.from : nullptr;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int token = place.group + 8 * half;
    const int route = tile.route[token];
    if (route < 0) continue;
    const float weight = tile.weight[token];
    const bool replaces = own && tile.replaces[token] != 0;
    float* y = work.y + (first_token + route / work.routes) * work.y_stride + at.from;
#pragma unroll
    for (int quad = 0; quad < 4; quad++) {
      const int n = output + 4 * quad, left = at.count - n;
      if (left <= 0) break;
      Pack<float, 4> joined = {}, before = {}, multiply = {}, add = {}, base = {};
      if (!kSeveral || own) before = load_four(y + n, left, vectors);
      if (gain != nullptr) multiply = load_four(gain + n, left, true);
      if (shift != nullptr) add = load_four(shift + n, left, true);
      if (bias != nullptr) base = load_four(bias + n, left, false);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const int c = 4 * quad + i;
        const float product = sums[c % 8][c / 8 + 2 * half];
        const auto total = tile.totals + ((16 * half + c) * kLoraThreads + static_cast<int>(threadIdx.x));
        const float start = kSeveral ? (replaces ? 0.0f : static_cast<float>(total[0])) : before.v[i];
        if (own) {
          const float alone = before.v[i] - base.v[i];
          const float value = (gain != nullptr ? multiply.v[i] * (alone + product) : product) + add.v[i];
          joined.v[i] = replaces ? value + base.v[i] : fmaf(weight, value - alone, start);
        } else {
          joined.v[i] = fmaf(weight, product + add.v[i], start);
        }
        if (kSeveral) total[0] = joined.v[i];
      }
      if (!kSeveral) store_four(y + n, joined, left, vectors);
    }
  }
}

// Adds the totals of tokens of several routes to y. tile.route holds every token that has any, tile.replaces those whose total is
// the output itself.
__device__ __forceinline__ void store_totals(const LoraWork& work, const LoraLists& lists, const SiteColumns& at, int begin, const LoraTile& tile) {
  const WarpPlace place = warp_place();
  const int64_t first_token = static_cast<LoraSlice>(lists.slice[0]).first_token;
  const int output = begin + place.warp * kWarpOutputs + 16 * place.pair;
  const bool vectors = work.y_vectors && at.from % 4 == 0;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int token = place.group + 8 * half;
    const int route = tile.route[token];
    if (route < 0) continue;
    const bool replaces = tile.replaces[token] != 0;
    float* y = work.y + (first_token + route / work.routes) * work.y_stride + at.from;
#pragma unroll
    for (int quad = 0; quad < 4; quad++) {
      const int n = output + 4 * quad, left = at.count - n;
      if (left <= 0) break;
      Pack<float, 4> joined = load_four(y + n, left, vectors);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float total = tile.totals[(16 * half + 4 * quad + i) * kLoraThreads + static_cast<int>(threadIdx.x)];
        joined.v[i] = replaces ? total : joined.v[i] + total;
      }
      store_four(y + n, joined, left, vectors);
    }
  }
}

// The item's adapter for the tile: its product, joined.
template <bool kSeveral, class Wait>
__device__ __forceinline__ void expand(const LoraWork& work, const LoraLists& lists, const LoraTile& tile, const Wait& wait) {
  OutputSums sums = {};
  if (static_cast<LoraItem>(lists.item[0]).entry.kind == EntryKind::kDense) {
    multiply_whole(sums, work, lists, tile);
  } else {
    with_device_rows(static_cast<LoraItem>(lists.item[0]).entry.dtype, [&](auto kind) { expand_factors<decltype(kind)>(sums, work, lists, tile, wait); });
  }
  join_outputs<kSeveral>(sums, work, lists, tile);
}

}  // namespace heddle
