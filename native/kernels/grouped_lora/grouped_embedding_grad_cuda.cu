// Gradients of adapters on the embedding table, added to one flat array: factors, or rows of the adapter's own.
//
// One cooperative launch. Every kPassRanks ranks: A[:, id] and B^T dy of each routed token, then outer products of the first with dy,
// and the second added to columns of A. Where tokens may meet in one element, it belongs to a warp by its id: each such warp looks
// through all tokens of the adapter in order and takes those whose id falls to it.
#include <algorithm>

#include "generated/grouped_lora_ops.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_tokens.cuh"
#include "kernels/grouped_lora/gradient_sites.cuh"
#include "kernels/grouped_lora/operand_checks.h"
#include "kernels/grouped_lora/outer_products.cuh"
#include "kernels/grouped_lora/tile_products.cuh"

namespace heddle {

namespace {

#define HEDDLE_OP "grouped_embedding_grad_factors"
constexpr const char* kOp = HEDDLE_OP;

constexpr int kWarps = kProductThreads / kWarp;
constexpr int kFactorShares = 256;  // warps that share an adapter's ids where columns of A are added to
constexpr int kOwnShares = 64;      // the same for its own rows, in each part of their columns
constexpr int kOwnColumns = 4 * kWarp;

struct EmbeddingGradWork {
  AdapterPool pool;
  const int32_t* ids;
  TokenRows dy;
  GroupedTokens tokens;
  GradientSpace gradients;
  int32_t* owner;       // by index of the table of rows: 1 + the slot whose own row it is
  int32_t* largest_id;  // per run
  int32_t* id;          // per position
  int64_t elements;
  int32_t site;
  float* products;  // [2: A[:, id], B^T dy][position][kPassRanks], times weight and scale

  __device__ float* products_of(int side, int64_t position) const { return products + (side * elements + position) * kPassRanks; }
  __device__ AdapterEntry entry_of(int32_t run) const { return load_entry(pool, tokens.runs[run].key, site); }
  // Row of the table with A[rank][id].
  __device__ int64_t row_of(const AdapterEntry& entry, int32_t id, int64_t rank) const {
    return entry.first_a + id / kEmbeddingPiece * entry.rank + rank;
  }
  // Rows done .. of the pass: of B^T and the shift.
  __device__ FactorRows rows_of(const AdapterEntry& entry, int32_t done) const {
    const int32_t rank = entry.kind == EntryKind::kLowRank ? entry.rank : 0, left = rank - done;
    const int32_t count = left < 0 ? 0 : left < kPassRanks ? left : kPassRanks;
    const bool shift = entry.kind != EntryKind::kNone && entry.shift >= 0 && left >= 0 && left < kPassRanks;
    return {static_cast<int64_t>(entry.first_b) + done, count, static_cast<int32_t>(DType::kF32), shift ? entry.shift : -1};
  }
};

struct EmbeddingGradRefusals {
  PoolRefusals pool;
  TrainingRefusals training;
  Failure gain;    // slot, site
  Failure no_row;  // slot, site, rows, id
};

// Every position's id, and each run's largest.
__device__ void gather_ids(const EmbeddingGradWork& work) {
  const int32_t tiles = work.tokens.state->tiles, warps = static_cast<int32_t>(gridDim.x) * kWarps, lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int32_t item = static_cast<int32_t>(blockIdx.x * kWarps + threadIdx.x / kWarp); item < tiles; item += warps) {
    const RunTile tile = work.tokens.tiles[item];
    const int32_t id = lane < tile.count ? work.ids[work.tokens.token[tile.first + lane]] : 0, largest = warp_max(id);
    if (lane < tile.count) work.id[tile.first + lane] = id;
    if (lane == 0) atomicMax(&work.largest_id[tile.run], largest);
  }
}

// Whose row it is that lies where `mixed` does; its own entry's when no other one has such a row.
__device__ RowOwner find_other(const EmbeddingGradWork& work, const MixedRow& mixed) {
  const GroupedTokens& tokens = work.tokens;
  for (int32_t run = 0; run < tokens.state->runs; run++) {
    const AdapterRun& tokens_of = tokens.runs[run];
    const RowOwner owner = {tokens_of.key, work.site};
    const AdapterEntry entry = work.entry_of(run);
    if (entry.kind == EntryKind::kNone) continue;
    const int64_t last = work.row_of(entry, work.largest_id[run], 0), width = work.dy.width;
    const auto meets_row = [&](int64_t first, int64_t count, int64_t row_width) { return meets(work.pool, owner, first, count, row_width, mixed); };
    if (meets_row(entry.shift, 1, width)) return owner;
    if (entry.kind == EntryKind::kLowRank) {
      if (meets_row(entry.first_a, last - entry.first_a, kEmbeddingPiece) || meets_row(last, entry.rank, work.largest_id[run] % kEmbeddingPiece + 1) ||
          meets_row(entry.first_b, entry.rank, width))
        return owner;
    } else {
      for (int32_t t = 0; t < tokens_of.count; t++)
        if (meets_row(static_cast<int64_t>(entry.first_a) + work.id[tokens_of.first + t], 1, width)) return owner;
    }
  }
  return mixed.owner;
}

__device__ bool claim(const EmbeddingGradWork& work, const EmbeddingGradRefusals& refusals, int32_t slot, int64_t first, int64_t count, int64_t width) {
  return claim_rows(work.pool, work.gradients, refusals.training, {slot, work.site}, first, count, width,
                    [&](const MixedRow& mixed) { return find_other(work, mixed); });
}

// By a whole warp, with what it adds to rows claimed. All pieces before the one of the largest id are whole.
__device__ bool sound_factors(const EmbeddingGradWork& work, const EmbeddingGradRefusals& refusals, const AdapterEntry& entry, int32_t slot,
                              int32_t largest_id) {
  const int64_t outputs = work.dy.width, first = entry.first_a, last = work.row_of(entry, largest_id, 0);
  const int64_t width = largest_id % kEmbeddingPiece + 1;
  const auto sound = [&](int64_t row, int64_t count, int64_t row_width) {
    if (row < 0 || !rows_inside(work.pool, row, count, row_width * 4, work.pool.byte_count)) {
      refusals.pool.rows.report(slot, work.site, row, row + count);
      return false;
    }
    return claim(work, refusals, slot, row, count, row_width);
  };
  if (first < 0) return sound(first, entry.rank, 1);
  return sound(first, last - first, kEmbeddingPiece) && sound(last, entry.rank, width) && sound(entry.first_b, entry.rank, outputs);
}

__device__ bool sound_run(const EmbeddingGradWork& work, const EmbeddingGradRefusals& refusals, const AdapterEntry& entry, int32_t slot, int32_t run) {
  if (!sound_entry(work.pool, refusals.pool, entry, slot, work.site, work.dy.width)) return false;
  if (!is_trainable(refusals.training, entry, slot, work.site)) return false;
  if (entry.kind == EntryKind::kLowRank) {
    if (entry.gain >= 0) {
      refusals.gain.report(slot, work.site);
      return false;
    }
    if (!sound_factors(work, refusals, entry, slot, work.largest_id[run])) return false;
  }
  return entry.shift < 0 || claim(work, refusals, slot, entry.shift, 1, work.dy.width);
}

// The own row of one id.
__device__ bool sound_own_row(const EmbeddingGradWork& work, const EmbeddingGradRefusals& refusals, const AdapterEntry& entry, int32_t slot, int32_t id) {
  if (id >= entry.rank || entry.first_a < 0) {
    refusals.no_row.report(slot, work.site, entry.rank, id);
    return false;
  }
  const int64_t row = static_cast<int64_t>(entry.first_a) + id;
  if (!rows_inside(work.pool, row, 1, work.dy.width * 4, work.pool.byte_count)) {
    refusals.pool.rows.report(slot, work.site, row, row + 1);
    return false;
  }
  int32_t before = 0;
  if (threadIdx.x % kWarp == 0) before = atomicCAS(&work.owner[row], 0, slot + 1);
  before = __shfl_sync(kFullWarp, before, 0);
  if (before == slot + 1) return true;  // the same adapter came with this id before
  return claim(work, refusals, slot, row, 1, work.dy.width);
}

__device__ void check_entries(const EmbeddingGradWork& work, const EmbeddingGradRefusals& refusals) {
  const GroupedTokens& tokens = work.tokens;
  const int32_t runs = tokens.state->runs, items = runs + tokens.state->tiles, warps = static_cast<int32_t>(gridDim.x) * kWarps;
  for (int32_t item = static_cast<int32_t>(blockIdx.x * kWarps + threadIdx.x / kWarp); item < items; item += warps) {
    const RunTile tile = item < runs ? RunTile{item, 0, 0} : tokens.tiles[item - runs];
    const int32_t slot = tokens.runs[tile.run].key;
    const AdapterEntry entry = work.entry_of(tile.run);
    if (entry.kind == EntryKind::kNone) continue;
    bool sound = true;
    if (item < runs) {
      sound = sound_run(work, refusals, entry, slot, tile.run);
      // Once even without factors: own rows.
      const int32_t rank = entry.kind == EntryKind::kLowRank ? entry.rank + (entry.shift >= 0 ? 1 : 0) : 1;
      if (sound) atomicMax(&tokens.state->largest_rank, rank);
    } else if (entry.kind == EntryKind::kDense && entry.dtype == static_cast<int32_t>(DType::kF32)) {
      for (int32_t t = 0; t < tile.count && sound; t++) sound = sound_own_row(work, refusals, entry, slot, work.id[tile.first + t]);
    }
    if (!sound) atomicExch(&tokens.state->unsound, 1);
  }
}

// A[:, id], times weight and scale, and the weight where the shift's coefficient goes.
__device__ void gather_factors(const EmbeddingGradWork& work, const RunTile& tile, const AdapterEntry& entry, const FactorRows& rows, int32_t done) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < tile.count * kPassRanks; i += kProductThreads) {
    const int t = i / kPassRanks, r = i % kPassRanks;
    if (r >= rows.total()) continue;
    const int64_t position = tile.first + t;
    const float weight = work.tokens.weight[position];
    float value = weight;
    if (r < rows.count) {
      const int32_t id = work.id[position];
      const std::byte* row = work.pool.bytes + work.pool.rows[work.row_of(entry, id, done + r)] * kRowUnit;
      value = reinterpret_cast<const float*>(row)[id % kEmbeddingPiece] * (weight * entry.scale);
    }
    work.products_of(0, position)[r] = value;
  }
}

__device__ void multiply_tiles(const EmbeddingGradWork& work, int32_t done, SharedPointer<float> buffer) {
  const GroupedTokens& tokens = work.tokens;
  const int32_t tiles = tokens.state->tiles;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < tiles * 2; item += static_cast<int32_t>(gridDim.x)) {
    const RunTile tile = tokens.tiles[item % tiles];
    const AdapterEntry entry = work.entry_of(tile.run);
    FactorRows rows = work.rows_of(entry, done);
    if (item < tiles) {
      gather_factors(work, tile, entry, rows, done);
      continue;
    }
    rows.extra = -1;
    if (rows.count == 0) continue;
    const float* weight = tokens.weight + tile.first;
    float* products = work.products_of(1, tile.first);
    const float scale = entry.scale;
    multiply_tile(work.pool, rows, work.dy, tokens.token + tile.first, tile.count, buffer,
                  [&](int t, int r, float product) { products[t * kPassRanks + r] = product * (weight[t] * scale); });
  }
}

// Calls body(position, id) for the tokens of a run whose ids fall to this warp, in order.
template <class Body>
__device__ void each_own_token(const EmbeddingGradWork& work, const AdapterRun& run, int32_t shares, int32_t share, const Body& body) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto id_at = [&](int32_t p) { return p < run.count ? work.id[run.first + p] : -1; };
  int32_t next_id = id_at(lane);
  for (int32_t from = 0; from < run.count; from += kWarp) {
    const int32_t id = next_id;
    next_id = id_at(from + kWarp + lane);
    unsigned mine = __ballot_sync(kFullWarp, id >= 0 && id % shares == share);
    while (mine != 0) {
      const int next = __ffs(static_cast<int>(mine)) - 1;
      mine &= mine - 1;
      body(run.first + from + next, __shfl_sync(kFullWarp, id, next));
    }
  }
}

__device__ void scatter_factors(const EmbeddingGradWork& work, const AdapterRun& run, const AdapterEntry& entry, int32_t share, int32_t done) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, count = work.rows_of(entry, done).count;
  each_own_token(work, run, kFactorShares, share, [&](int32_t position, int32_t id) {
    const float* product = work.products_of(1, position);
    for (int r = lane; r < count; r += kWarp)
      gradient_of(work.pool, work.gradients, work.row_of(entry, id, done + r))[id % kEmbeddingPiece] += product[r];
  });
}

__device__ void add_own_rows(const EmbeddingGradWork& work, const AdapterRun& run, const AdapterEntry& entry, int32_t share, int64_t from) {
  const int64_t n = from + threadIdx.x % kWarp * 4, width = work.dy.width;
  const bool aligned_dy = is_aligned16(work.dy.at, work.dy.stride), aligned = is_aligned16(work.gradients.at);
  each_own_token(work, run, kOwnShares, share, [&](int32_t position, int32_t id) {
    const Pack<float, 4> dy = load_four_at(work.dy.at + work.tokens.token[position] * work.dy.stride, n, width, aligned_dy);
    float* row = gradient_of(work.pool, work.gradients, static_cast<int64_t>(entry.first_a) + id);
    Pack<float, 4> sum = load_four_at(row, n, width, aligned);
#pragma unroll
    for (int e = 0; e < 4; e++) sum.v[e] = fmaf(work.tokens.weight[position], dy.v[e], sum.v[e]);
    store_four_at(row, n, width, aligned, sum);
  });
}

// Per run: blocks of columns of B^T and the shift, then shares of A or of the own rows.
__device__ void accumulate(const EmbeddingGradWork& work, int32_t done, SharedPointer<float> buffer) {
  const GroupedTokens& tokens = work.tokens;
  const int32_t width = static_cast<int32_t>(work.dy.width);
  const int32_t blocks = (width + kOuterColumns - 1) / kOuterColumns, own_parts = (width + kOwnColumns - 1) / kOwnColumns;
  const int32_t of_a = kFactorShares / kWarps, of_own = own_parts * (kOwnShares / kWarps), shares = of_a > of_own ? of_a : of_own;
  const int32_t per_run = blocks + shares, items = per_run * tokens.state->runs;
  const int32_t warp = static_cast<int32_t>(threadIdx.x) / kWarp;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < items; item += static_cast<int32_t>(gridDim.x)) {
    const int32_t index = item / per_run;
    const AdapterRun run = tokens.runs[index];
    const AdapterEntry entry = work.entry_of(index);
    const int32_t part = item % per_run, share = part - blocks;
    if (part < blocks) {
      const FactorRows rows = work.rows_of(entry, done);
      if (rows.total() == 0) continue;
      add_outer_products(work.pool, work.gradients, rows, {work.products_of(0, run.first), tokens.token + run.first, run.count, work.dy},
                         part * kOuterColumns, buffer);
    } else if (entry.kind == EntryKind::kLowRank && share < of_a) {
      scatter_factors(work, run, entry, share * kWarps + warp, done);
    } else if (entry.kind == EntryKind::kDense && share < of_own && done == 0) {
      add_own_rows(work, run, entry, share / own_parts * kWarps + warp, share % own_parts * kOwnColumns);
    }
  }
}

__global__ void __launch_bounds__(kProductThreads, 3) embedding_grad_factors(EmbeddingGradWork work, EmbeddingGradRefusals refusals) {
  HEDDLE_SHARED(float, buffer, kTileFloats);
  GroupedState* state = work.tokens.state;
  if (state->refused != 0) return;
  gather_ids(work);
  grid_barrier(&state->arrived);
  check_entries(work, refusals);
  grid_barrier(&state->arrived);
  if (state->unsound != 0) return;
  const int32_t ranks = state->largest_rank;
  for (int32_t done = 0; done < ranks; done += kPassRanks) {
    multiply_tiles(work, done, buffer);
    grid_barrier(&state->arrived);
    accumulate(work, done, buffer);
    if (done + kPassRanks < ranks) grid_barrier(&state->arrived);
  }
}

Grouping grouping_of(const GroupedEmbeddingGradFactorsArgs& args) {
  return {args.index.as<int32_t>(), args.weight.as<float>(), args.ids.as<int32_t>(), args.index.elements(),
          static_cast<int32_t>(args.index.dims[1]), static_cast<int32_t>(args.entries.dims[0]), 1};
}

// Claimed units, owners of rows, largest ids of runs.
int64_t zeroed_words(const GroupedEmbeddingGradFactorsArgs& args) {
  return claimed_words(args.gradients) + args.rows.dims[0] + grouping_of(args).most_runs();
}

}  // namespace

size_t grouped_embedding_grad_factors_cuda_workspace(const GroupedEmbeddingGradFactorsArgs& args, const DeviceLimits&) {
  const size_t products = static_cast<size_t>(2 * args.index.elements()) * kPassRanks * sizeof(float);
  return grouped_tokens_bytes(grouping_of(args), zeroed_words(args)) + products + static_cast<size_t>(args.index.elements()) * sizeof(int32_t);
}

Status grouped_embedding_grad_factors_cuda(const GroupedEmbeddingGradFactorsArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  HEDDLE_CHECK(context.workspace_bytes >= grouped_embedding_grad_factors_cuda_workspace(args, context.limits), kOp, "the workspace is too small");
  const Grouping grouping = grouping_of(args);
  const int64_t words = zeroed_words(args);
  const GroupedTokens tokens = place_grouped_tokens(grouping, words, context.workspace);
  HEDDLE_TRY(group_tokens(kOp, grouping, {nullptr, 1, args.dy.dims[1], args.site, pool.sites}, words, HEDDLE_GROUPING_REFUSALS(context, HEDDLE_OP),
                          tokens, context));

  float* products = reinterpret_cast<float*>(context.workspace + grouped_tokens_bytes(grouping, words));
  int32_t* owner = reinterpret_cast<int32_t*>(tokens.zeroed + claimed_words(args.gradients));
  const EmbeddingGradWork work = {pool,
                                  args.ids.as<int32_t>(),
                                  {args.dy.as<float>(), args.dy.leading_stride, args.dy.dims[1]},
                                  tokens,
                                  {args.accumulated.as<float>(), args.accumulated.dims[0], tokens.zeroed},
                                  owner,
                                  owner + args.rows.dims[0],
                                  reinterpret_cast<int32_t*>(products + 2 * grouping.elements * kPassRanks),
                                  grouping.elements,
                                  args.site,
                                  products};
  const EmbeddingGradRefusals refusals = {HEDDLE_POOL_REFUSALS(context, HEDDLE_OP, "0, 1 or 2"), HEDDLE_TRAINING_REFUSALS(context, HEDDLE_OP),
                                          HEDDLE_ENTRY_REFUSAL(context, HEDDLE_OP, "has a gain: only factors without one have gradients here"),
                                          HEDDLE_ENTRY_REFUSAL(context, HEDDLE_OP, "has {2} rows, none for token id {3}")};
  const int64_t own_parts = ceil_div(args.dy.dims[1], kOwnColumns) * (kOwnShares / kWarps);
  const int64_t per_run = ceil_div(args.dy.dims[1], kOuterColumns) + std::max<int64_t>(kFactorShares / kWarps, own_parts);
  return launch_resident(kOp, embedding_grad_factors, kProductThreads, std::max(2 * grouping.most_tiles(), grouping.most_runs() * per_run), context,
                         work, refusals);
}

}  // namespace heddle
