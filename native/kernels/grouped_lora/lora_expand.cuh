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

inline constexpr int kRankBlockRows = 256;                 // products in shared memory at once
inline constexpr int kProductStride = kRankBlockRows + 8;  // keeps the lanes of a load in different banks

// Sixteen tokens that go through one adapter, in shared memory.
struct LoraTile {
  SharedPointer<float> products;      // [kTileRoutes][kProductStride]
  SharedPointer<int32_t> units;       // [kRankBlockRows] addresses of rows of B in the pool, -1: none
  SharedPointer<int32_t> route;       // [kTileRoutes], -1: no token
  SharedPointer<float> weight;        // [kTileRoutes]
  SharedPointer<int32_t> replaces;    // [kTileRoutes]: the adapter's own value takes the base's place
  SharedPointer<int32_t> active;      // [kTileRoutes]: adapters of the token at this site
  SharedPointer<float> totals;        // [2 * 16][kLoraThreads], where tokens have several routes
};

inline constexpr size_t kTileNumbers = kTileRoutes * kProductStride + kRankBlockRows + 4 * kTileRoutes;
inline constexpr size_t kTileBytes = sizeof(float) * kTileNumbers;
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
  tile.totals = shared_at<float>(scratch, kTileBytes);
  return tile;
}

// Which outputs, of which adapter.
struct ExpandItem {
  int32_t slot;
  int s;
  int begin;  // first output of the block
};

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
__device__ __forceinline__ void find_rows(const LoraWork& work, const AdapterEntry& entry, const SiteColumns& at, const ExpandItem& item, int first, const LoraTile& tile) {
  for (int i = static_cast<int>(threadIdx.x); i < kRankBlockRows && first + i < (entry.rank + kRankTile - 1) / kRankTile * kRankTile; i += kLoraThreads) {
    int32_t unit = -1;
    if (first + i < entry.rank) {
      const int64_t row = static_cast<int64_t>(entry.first_b) + first + i;
      if (pool_row<Row>(work.pool, row, at.count) != nullptr) unit = work.pool.rows[row];
      else work.refusals.pool.rows.report(item.slot, work.site + item.s, entry.first_b, static_cast<int64_t>(entry.first_b) + entry.rank);
    }
    tile.units[i] = unit;
  }
}

// The lane's part of rows 2 pair, 2 pair + 1, 2 pair + 8 and 2 pair + 9 from `row` on.
template <class Row>
struct FactorRows {
  Row v[4][8];
};

template <class Row>
__device__ __forceinline__ void load_factor_rows(FactorRows<Row>& to, const LoraWork& work, const LoraTile& tile, int row, int64_t output, int64_t end) {
  const int pair = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int32_t unit = tile.units[row + 2 * pair + i % 2 + i / 2 * 8];
    const Row* from = unit < 0 ? nullptr : reinterpret_cast<const Row*>(work.pool.bytes + unit * kRowUnit);
    load_row_elements(to.v[i], from, output, end);
  }
}

// The tile's products with `count` rows of A from `first` on, whole, scaled and activated; zero where there is no token or row.
__device__ __forceinline__ void gather_products(const LoraWork& work, const LoraSlice& slice, const AdapterEntry& entry, const SiteColumns& at, int s, int first,
                                                int count, const LoraTile& tile) {
  const int chunks = input_chunks(work, entry, at).count;
  for (int i = static_cast<int>(threadIdx.x); i < kTileRoutes * count; i += kLoraThreads) {
    const int token = i / count, row = i % count;
    const int route = tile.route[token];
    float sum = 0;
    if (route >= 0 && first + row < entry.rank) {
      const float* parts = product_of(work, slice, route, s, 0) + first + row;
      for (int chunk = 0; chunk < chunks; chunk++) sum += parts[static_cast<int64_t>(chunk) * slice.rank];
      sum = entry.scale * (is_bottleneck(entry) ? activation(static_cast<Activation>(entry.gain), sum) : sum);
    }
    tile.products[token * kProductStride + row] = sum;
  }
}

template <class Row>
__device__ __forceinline__ void add_factor_rows(OutputSums& sums, const FactorRows<Row>& rows, SharedPointer<float> products) {
  constexpr int kTerms = kRowTerms<Row>;
  const WarpPlace place = warp_place();
  uint32_t a[kFloatTerms][4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const Pack<float, 2> two = load_pack<2>(products + ((place.group + i % 2 * 8) * kProductStride + 2 * place.pair + i / 2 * 8));
    uint32_t terms[kFloatTerms];
    split_pair(terms, two.v[0], two.v[1]);
#pragma unroll
    for (int term = 0; term < kFloatTerms; term++) a[term][i] = terms[term];
  }
#pragma unroll
  for (int i = 0; i < 8; i++) {
    uint32_t low[kTerms], high[kTerms];
    split_row_pair<Row>(low, rows.v[0][i], rows.v[1][i]);
    split_row_pair<Row>(high, rows.v[2][i], rows.v[3][i]);
#pragma unroll
    for (int of_row = kTerms - 1; of_row >= 0; of_row--) {
      const uint32_t b[2] = {low[of_row], high[of_row]};
#pragma unroll
      for (int term = kFloatTerms - 1; term >= 0; term--)
        if (is_kept(of_row, term)) mma_m16n8k16<BF16>(sums[i], a[term], b);
    }
  }
}

// sums += products with the rows of B. The first rows are under way before `wait`, which returns when the products are there.
template <class Row, class Wait>
__device__ __forceinline__ void expand_factors(OutputSums& sums, const LoraWork& work, const LoraSlice& slice, const AdapterEntry& entry, const SiteColumns& at,
                                               const ExpandItem& item, const LoraTile& tile, const Wait& wait) {
  const WarpPlace place = warp_place();
  const int64_t output = item.begin + place.warp * kWarpOutputs + 8 * place.group;
  const int ranks = (entry.rank + kRankTile - 1) / kRankTile * kRankTile;
  for (int first = 0; first < ranks; first += kRankBlockRows) {
    const int count = ranks - first < kRankBlockRows ? ranks - first : kRankBlockRows;
    find_rows<Row>(work, entry, at, item, first, tile);
    __syncthreads();
    // Rows are loaded one step ahead where two steps fit into registers.
    constexpr bool kAhead = sizeof(Row) == 2;
    FactorRows<Row> next;
    if (kAhead) load_factor_rows(next, work, tile, 0, output, at.count);
    if (first == 0) wait();
    gather_products(work, slice, entry, at, item.s, first, count, tile);
    __syncthreads();
    for (int row = 0; row < count; row += kRankTile) {
      if (kAhead) {
        const FactorRows<Row> rows = next;
        if (row + kRankTile < count) load_factor_rows(next, work, tile, row + kRankTile, output, at.count);
        add_factor_rows(sums, rows, tile.products + row);
      } else {
        load_factor_rows(next, work, tile, row, output, at.count);
        add_factor_rows(sums, next, tile.products + row);
      }
    }
    __syncthreads();
  }
}

// sums += x W^T for the rows of a whole weight.
template <class Row>
__device__ __forceinline__ void multiply_whole(OutputSums& sums, const LoraWork& work, const LoraSlice& slice, const AdapterEntry& entry, const SiteColumns& at,
                                               const ExpandItem& item, const LoraTile& tile) {
  constexpr int kTerms = kRowTerms<Row>;
  const WarpPlace place = warp_place();
  const int output = item.begin + place.warp * kWarpOutputs + 8 * place.group;
  int32_t units[8];
#pragma unroll
  for (int i = 0; i < 8; i++) {
    units[i] = -1;
    if (output + i >= at.count) continue;
    const int64_t row = static_cast<int64_t>(entry.first_a) + output + i;
    if (pool_row<Row>(work.pool, row, work.inputs) != nullptr) units[i] = work.pool.rows[row];
    else work.refusals.pool.rows.report(item.slot, work.site + item.s, entry.first_a, static_cast<int64_t>(entry.first_a) + entry.rank);
  }
  const float* in[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int route = tile.route[place.group + 8 * half];
    in[half] = route < 0 ? nullptr : work.x + (slice.first_token + route / work.routes) * work.x_stride;
  }
  // Half of the outputs at a time: more sums than that do not fit into registers.
#pragma unroll
  for (int outputs = 0; outputs < 8; outputs += 4)
    for (int64_t column = 0; column < work.inputs; column += kWarpColumns) {
      float part[4][4] = {};  // short sums, added in f32: a tensor core cuts the lower bits of a long one
      for (int step = 0; step < kWarpColumns && column + step < work.inputs; step += kStepColumns) {
        const int64_t mine = column + step + 8 * place.pair;
        uint32_t a[2][kFloatTerms][4];
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float x[8];
          load_input_eight(x, in[half], mine, work.inputs, work.x_vectors);
#pragma unroll
          for (int quarter = 0; quarter < 4; quarter++) {
            uint32_t terms[kFloatTerms];
            split_pair(terms, x[2 * quarter], x[2 * quarter + 1]);
#pragma unroll
            for (int term = 0; term < kFloatTerms; term++) a[quarter / 2][term][quarter % 2 * 2 + half] = terms[term];
          }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int32_t unit = units[outputs + i];
          const Row* from = unit < 0 ? nullptr : reinterpret_cast<const Row*>(work.pool.bytes + unit * kRowUnit);
          Row raw[8];
          load_row_elements(raw, from, mine, work.inputs);
#pragma unroll
          for (int m = 0; m < 2; m++) {
            uint32_t low[kTerms], high[kTerms];
            split_row_pair<Row>(low, raw[4 * m], raw[4 * m + 1]);
            split_row_pair<Row>(high, raw[4 * m + 2], raw[4 * m + 3]);
#pragma unroll
            for (int of_row = kTerms - 1; of_row >= 0; of_row--) {
              const uint32_t b[2] = {low[of_row], high[of_row]};
#pragma unroll
              for (int term = kFloatTerms - 1; term >= 0; term--)
                if (is_kept(of_row, term)) mma_m16n8k16<BF16>(part[i], a[m][term], b);
            }
          }
        }
      }
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) sums[outputs + i][c] += part[i][c];
    }
}

// Up to four floats from `from` on.
__device__ __forceinline__ Pack<float, 4> load_four(const float* from, int count, bool vectors) {
  if (vectors && count >= 4) return load_pack<4>(from);
  Pack<float, 4> four = {};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (i < count) four.v[i] = from[i];
  return four;
}
__device__ __forceinline__ void store_four(float* to, const Pack<float, 4>& four, int count, bool vectors) {
  if (vectors && count >= 4) return store_pack(to, four);
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (i < count) to[i] = four.v[i];
}

// Joins an adapter's product with y, or where tokens have several routes with their totals.
template <bool kSeveral>
__device__ __forceinline__ void join_outputs(const OutputSums& sums, const LoraWork& work, const LoraSlice& slice, const AdapterEntry& entry, const SiteColumns& at,
                                             const ExpandItem& item, const LoraTile& tile) {
  const WarpPlace place = warp_place();
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
    float* y = work.y + (slice.first_token + route / work.routes) * work.y_stride + at.from;
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
__device__ __forceinline__ void store_totals(const LoraWork& work, const LoraSlice& slice, const SiteColumns& at, int begin, const LoraTile& tile) {
  const WarpPlace place = warp_place();
  const int output = begin + place.warp * kWarpOutputs + 16 * place.pair;
  const bool vectors = work.y_vectors && at.from % 4 == 0;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int token = place.group + 8 * half;
    const int route = tile.route[token];
    if (route < 0) continue;
    const bool replaces = tile.replaces[token] != 0;
    float* y = work.y + (slice.first_token + route / work.routes) * work.y_stride + at.from;
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

// One adapter's product for the tile, joined.
template <bool kSeveral, class Wait>
__device__ __forceinline__ void expand(const LoraWork& work, const LoraSlice& slice, const AdapterEntry& entry, const SiteColumns& at, const ExpandItem& item,
                                       const LoraTile& tile, const Wait& wait) {
  with_device_rows(entry.dtype, [&](auto kind) {
    using Row = decltype(kind);
    OutputSums sums = {};
    if (entry.kind == EntryKind::kDense) {
      multiply_whole<Row>(sums, work, slice, entry, at, item, tile);
    } else {
      expand_factors<Row>(sums, work, slice, entry, at, item, tile, wait);
    }
    join_outputs<kSeveral>(sums, work, slice, entry, at, item, tile);
  });
}

}  // namespace heddle
