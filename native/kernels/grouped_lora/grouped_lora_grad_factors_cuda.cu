// Gradients of every adapter's factors, added to one flat array: for all sites that share x, ranks as they are.
//
// One cooperative launch. Every kPassRanks ranks: A x and B^T dy of each routed token by tiles of an adapter's tokens, then outer
// products of those with the tokens' dy and x. A shift is a last row of B^T whose coefficient is the token's weight.
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

#define HEDDLE_OP "grouped_lora_grad_factors"
constexpr const char* kOp = HEDDLE_OP;

struct GradFactorsWork {
  AdapterPool pool;
  TokenRows x;
  TokenRows dy;  // all columns
  GroupedColumns columns;
  GroupedTokens tokens;
  GradientSpace gradients;
  int64_t elements;
  float* products;  // [sites][2: A x, B^T dy][position][kPassRanks], times weight and scale

  __device__ float* products_of(int64_t s, int side, int64_t position) const { return products + ((s * 2 + side) * elements + position) * kPassRanks; }
  __device__ TokenRows dy_of(int64_t s) const {
    const int32_t from = columns.at[s];
    return {dy.at + from, dy.stride, columns.at[s + 1] - from};
  }
  // Rows done .. of the pass: of A (side 0), or of B^T and the shift. All are f32, or the entry was refused.
  __device__ FactorRows rows_of(const AdapterEntry& entry, int side, int32_t done) const {
    const int32_t left = entry.rank - done, count = left < 0 ? 0 : left < kPassRanks ? left : kPassRanks;
    const bool shift = side == 1 && entry.shift >= 0 && left >= 0 && left < kPassRanks;
    return {static_cast<int64_t>(side == 0 ? entry.first_a : entry.first_b) + done, count, static_cast<int32_t>(DType::kF32), shift ? entry.shift : -1};
  }
};

struct FactorRefusals {
  GradientRefusals entry;
  TrainingRefusals training;
};

// Whose row it is that lies where `mixed` does; its own entry's when no other one has such a row.
__device__ RowOwner find_other(const GradFactorsWork& work, const MixedRow& mixed) {
  for (int32_t run = 0; run < work.tokens.state->runs; run++)
    for (int32_t s = 0; s < work.columns.sites; s++) {
      const RowOwner owner = {work.tokens.runs[run].key, work.columns.first_site + s};
      const AdapterEntry entry = load_entry(work.pool, owner.slot, owner.site);
      const int64_t outputs = work.dy_of(s).width;
      if (entry.kind != EntryKind::kNone && (meets(work.pool, owner, entry.first_a, entry.rank, work.x.width, mixed) ||
                                             meets(work.pool, owner, entry.first_b, entry.rank, outputs, mixed) ||
                                             meets(work.pool, owner, entry.shift, 1, outputs, mixed)))
        return owner;
    }
  return mixed.owner;
}

__device__ bool sound_and_claimed(const GradFactorsWork& work, const FactorRefusals& refusals, const AdapterEntry& entry, const RowOwner& owner,
                                  int64_t outputs) {
  const int64_t inputs = work.x.width;
  if (!sound_gradient_site(work.pool, refusals.entry, entry, owner.slot, owner.site, inputs, outputs)) return false;
  if (!is_trainable(refusals.training, entry, owner.slot, owner.site)) return false;
  const auto claim = [&](int64_t first, int64_t count, int64_t width) {
    return claim_rows(work.pool, work.gradients, refusals.training, owner, first, count, width,
                      [&](const MixedRow& mixed) { return find_other(work, mixed); });
  };
  return claim(entry.first_a, entry.rank, inputs) && claim(entry.first_b, entry.rank, outputs) && (entry.shift < 0 || claim(entry.shift, 1, outputs));
}

__device__ void multiply_tiles(const GradFactorsWork& work, int32_t done, SharedPointer<float> buffer) {
  const GroupedTokens& tokens = work.tokens;
  const int32_t tiles = tokens.state->tiles, items = tiles * work.columns.sites * 2;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < items; item += static_cast<int32_t>(gridDim.x)) {
    const RunTile tile = tokens.tiles[item % tiles];
    const int32_t s = item / tiles % work.columns.sites;
    const int side = item / tiles / work.columns.sites;
    const AdapterEntry entry = load_entry(work.pool, tokens.runs[tile.run].key, work.columns.first_site + s);
    if (entry.kind == EntryKind::kNone) continue;
    const float* weight = tokens.weight + tile.first;
    float* products = work.products_of(s, side, tile.first);
    const FactorRows other = work.rows_of(entry, 1, done);
    const int thread = static_cast<int>(threadIdx.x);
    if (side == 0 && other.extra >= 0 && thread < tile.count) products[thread * kPassRanks + other.count] = weight[thread];
    FactorRows rows = work.rows_of(entry, side, done);
    rows.extra = -1;
    if (rows.count == 0) continue;
    const float scale = entry.scale;
    multiply_tile(work.pool, rows, side == 0 ? work.x : work.dy_of(s), tokens.token + tile.first, tile.count, buffer,
                  [&](int t, int r, float product) { products[t * kPassRanks + r] = product * (weight[t] * scale); });
  }
}

__device__ void accumulate_columns(const GradFactorsWork& work, int32_t done, SharedPointer<float> buffer) {
  const GroupedTokens& tokens = work.tokens;
  int64_t widest = 0;
  for (int32_t s = 0; s < work.columns.sites; s++) {
    const int64_t width = work.dy_of(s).width;
    widest = width > widest ? width : widest;
  }
  const auto blocks_of = [](int64_t width) { return static_cast<int32_t>((width + kOuterColumns - 1) / kOuterColumns); };
  const int32_t of_a = blocks_of(work.x.width), per_site = of_a + blocks_of(widest);
  const int32_t items = per_site * tokens.state->runs * work.columns.sites;
  for (int32_t item = static_cast<int32_t>(blockIdx.x); item < items; item += static_cast<int32_t>(gridDim.x)) {
    const int32_t block = item % per_site, s = item / per_site % work.columns.sites;
    const AdapterRun run = tokens.runs[item / per_site / work.columns.sites];
    const int side = block < of_a ? 0 : 1;
    const int32_t from = (side == 0 ? block : block - of_a) * kOuterColumns;
    const TokenRows z = side == 0 ? work.x : work.dy_of(s);
    const AdapterEntry entry = load_entry(work.pool, run.key, work.columns.first_site + s);
    const FactorRows rows = work.rows_of(entry, side, done);
    if (entry.kind == EntryKind::kNone || from >= z.width || rows.total() == 0) continue;
    add_outer_products(work.pool, work.gradients, rows, {work.products_of(s, 1 - side, run.first), tokens.token + run.first, run.count, z}, from, buffer);
  }
}

__global__ void __launch_bounds__(kProductThreads, 3) grad_factors(GradFactorsWork work, FactorRefusals refusals) {
  HEDDLE_SHARED(float, buffer, kTileFloats);
  GroupedState* state = work.tokens.state;
  if (state->refused != 0) return;
  check_sites(work.tokens, work.pool, work.columns, kProductThreads / kWarp,
              [&](const AdapterEntry& entry, int64_t slot, int64_t s) -> int32_t {
                const bool sound = sound_and_claimed(work, refusals, entry, {slot, work.columns.first_site + s}, work.dy_of(s).width);
                return sound ? entry.rank + (entry.shift >= 0 ? 1 : 0) : -1;
              });
  grid_barrier(&state->arrived);
  if (state->unsound != 0) return;
  const int32_t ranks = state->largest_rank;
  for (int32_t done = 0; done < ranks; done += kPassRanks) {
    multiply_tiles(work, done, buffer);
    grid_barrier(&state->arrived);
    accumulate_columns(work, done, buffer);
    if (done + kPassRanks < ranks) grid_barrier(&state->arrived);
  }
}

Grouping grouping_of(const GroupedLoraGradFactorsArgs& args) {
  return {args.index.as<int32_t>(), args.weight.as<float>(), nullptr, args.index.elements(), static_cast<int32_t>(args.index.dims[1]),
          static_cast<int32_t>(args.entries.dims[0]), 1};
}

}  // namespace

size_t grouped_lora_grad_factors_cuda_workspace(const GroupedLoraGradFactorsArgs& args, const DeviceLimits&) {
  const size_t products = static_cast<size_t>(2 * (args.columns.dims[0] - 1) * args.index.elements()) * kPassRanks * sizeof(float);
  return grouped_tokens_bytes(grouping_of(args), claimed_words(args.gradients)) + products;
}

Status grouped_lora_grad_factors_cuda(const GroupedLoraGradFactorsArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_grad_factors_cuda_workspace(args, context.limits), kOp, "the workspace is too small");
  const Grouping grouping = grouping_of(args);
  const int64_t sites = args.columns.dims[0] - 1, words = claimed_words(args.gradients);
  const GroupedColumns columns = {args.columns.as<int32_t>(), static_cast<int32_t>(sites), args.dy.dims[1], args.site, pool.sites};
  const GroupedTokens tokens = place_grouped_tokens(grouping, words, context.workspace);
  HEDDLE_TRY(group_tokens(kOp, grouping, columns, words, HEDDLE_GROUPING_REFUSALS(context, HEDDLE_OP), tokens, context));

  const FactorRefusals refusals = {HEDDLE_GRADIENT_REFUSALS(context, HEDDLE_OP), HEDDLE_TRAINING_REFUSALS(context, HEDDLE_OP)};
  const GradFactorsWork work = {pool,
                                {args.x.as<float>(), args.x.leading_stride, args.x.dims[1]},
                                {args.dy.as<float>(), args.dy.leading_stride, args.dy.dims[1]},
                                columns,
                                tokens,
                                {args.accumulated.as<float>(), args.accumulated.dims[0], tokens.zeroed},
                                grouping.elements,
                                reinterpret_cast<float*>(context.workspace + grouped_tokens_bytes(grouping, words))};
  const int64_t of_columns = grouping.most_runs() * sites * (ceil_div(args.x.dims[1], kOuterColumns) + ceil_div(args.dy.dims[1], kOuterColumns));
  return launch_resident(kOp, grad_factors, kProductThreads, std::max(2 * sites * grouping.most_tiles(), of_columns), context, work, refusals);
}

}  // namespace heddle
