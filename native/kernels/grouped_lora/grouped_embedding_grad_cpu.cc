// Gradients of adapters on the embedding table, added to one flat array: factors, or rows of the adapter's own.
#include <type_traits>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/op_table.h"
#include "kernels/grouped_lora/adapter_tokens.h"
#include "kernels/grouped_lora/gradient_rows.h"
#include "kernels/grouped_lora/operand_checks.h"

#ifndef HEDDLE_GROUPED_EMBEDDING_GRAD_WORK
#define HEDDLE_GROUPED_EMBEDDING_GRAD_WORK
namespace heddle {

inline constexpr int64_t kScatterRanks = 8;  // rows of A per chunk

struct EmbeddingGradWork {
  const GroupedEmbeddingGradFactorsArgs& args;
  AdapterPool pool;
  AdapterTokens tokens;
  int64_t routed_count;
  float* products;  // [2: A[:, id], B^T dy][routed][kPassRanks], times weight and scale

  float* products_of(int side, int64_t routed) const { return products + (side * routed_count + routed) * kPassRanks; }
  int32_t id(const RoutedToken& routed) const { return args.ids.as<int32_t>()[routed.token]; }
  // Row of the table with A[rank][id].
  int64_t row_of(const AdapterEntry& entry, int32_t id, int64_t rank) const {
    return entry.first_a + id / kEmbeddingPiece * entry.rank + rank;
  }
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_embedding_grad_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)
#include "kernels/grouped_lora/adapter_rows.h"
#include "kernels/grouped_lora/token_block.h"

namespace heddle::HEDDLE_TARGET {

// A[:, id] (side 0) or B^T dy (side 1) of one block of tokens.
static void embedding_grad_products(const EmbeddingGradWork& work, int64_t block, int side, int64_t done) {
  const TokenRun run = work.tokens.blocks[block];
  const RoutedToken* routed = work.tokens.routed + run.first;
  const AdapterEntry entry = work.pool.entry(run.slot, work.args.site);
  if (entry.kind != EntryKind::kLowRank || entry.rank <= done) return;
  const int64_t count = entry.rank - done < kPassRanks ? entry.rank - done : kPassRanks;
  float* products = work.products_of(side, run.first);
  if (side == 0) {
    for (int t = 0; t < run.count; t++) {
      const int32_t id = work.id(routed[t]);
      for (int64_t r = 0; r < count; r++)
        products[t * kPassRanks + r] = static_cast<const float*>(work.pool.row(work.row_of(entry, id, done + r)))[id % kEmbeddingPiece];
    }
  } else {
    const float* dy[kBlockTokens];
    for (int t = 0; t < run.count; t++) dy[t] = work.args.dy.row<float>(routed[t].token);
    dot_block<F32Row>(work.pool, entry.first_b + done, count, run.count, dy, work.args.dy.dims[1], {products, 1, kPassRanks});
  }
  for (int t = 0; t < run.count; t++) {
    const float factor = routed[t].weight * entry.scale;
    for (int64_t r = 0; r < count; r++) products[t * kPassRanks + r] *= factor;
  }
}

// Columns from .. to of what is as wide as dy: B^T or the adapter's own rows, and the shift.
static void embedding_grad_columns(const EmbeddingGradWork& work, const TokenRun& run, int64_t done, int64_t from, int64_t to) {
  const GroupedEmbeddingGradFactorsArgs& args = work.args;
  const AdapterEntry entry = work.pool.entry(run.slot, args.site);
  if (entry.kind == EntryKind::kNone) return;
  const RoutedToken* routed = work.tokens.routed + run.first;
  OuterProducts what = {routed, run.count, nullptr, 0, args.dy.as<float>(), args.dy.leading_stride};
  if (entry.kind == EntryKind::kLowRank && entry.rank > done) {
    const int count = static_cast<int>(entry.rank - done < kPassRanks ? entry.rank - done : kPassRanks);
    float* rows[kPassRanks];
    for (int r = 0; r < count; r++) rows[r] = gradient_row(work.pool, args.accumulated, entry.first_b + done + r);
    what.values = work.products_of(0, run.first);
    what.stride = kPassRanks;
    accumulate_block(rows, count, what, from, to);
  }
  if (done > 0) return;
  what.stride = sizeof(RoutedToken) / sizeof(float);
  if (entry.kind == EntryKind::kDense) {
    what.count = 1;
    for (; what.routed < routed + run.count; what.routed++) {
      float* row = gradient_row(work.pool, args.accumulated, entry.first_a + work.id(*what.routed));
      what.values = &what.routed->weight;
      accumulate_block(&row, 1, what, from, to);
    }
    what.routed = routed;
    what.count = run.count;
  }
  if (entry.shift < 0) return;
  float* row = gradient_row(work.pool, args.accumulated, entry.shift);
  what.values = &routed->weight;
  accumulate_block(&row, 1, what, from, to);
}

// Rows from .. to of this pass's rows of A, token after token.
static void embedding_grad_scatter(const EmbeddingGradWork& work, const TokenRun& run, int64_t done, int64_t from, int64_t to) {
  const AdapterEntry entry = work.pool.entry(run.slot, work.args.site);
  if (entry.kind != EntryKind::kLowRank) return;
  const float* products = work.products_of(1, run.first);
  for (int t = 0; t < run.count; t++) {
    const int32_t id = work.id(work.tokens.routed[run.first + t]);
    for (int64_t r = from; r < to && done + r < entry.rank; r++)
      gradient_row(work.pool, work.args.accumulated, work.row_of(entry, id, done + r))[id % kEmbeddingPiece] += products[t * kPassRanks + r];
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_embedding_grad_factors";

// All pieces before the one of the largest id are whole, so that id says how wide every row is at least.
Status check_factors(const EmbeddingGradWork& work, GradientRows& written, const AdapterEntry& entry, int64_t slot, int64_t largest_id) {
  const int64_t site = work.args.site, outputs = work.args.dy.dims[1];
  const int64_t last = entry.first_a + largest_id / kEmbeddingPiece * entry.rank, width = largest_id % kEmbeddingPiece + 1;
  if (entry.first_a < 0) return rows_outside(kOp, slot, site, entry.first_a, entry.rank);
  if (!work.pool.holds(entry.first_a, last - entry.first_a, kEmbeddingPiece * 4))
    return rows_outside(kOp, slot, site, entry.first_a, last - entry.first_a);
  if (!work.pool.holds(last, entry.rank, width * 4)) return rows_outside(kOp, slot, site, last, entry.rank);
  if (!work.pool.holds(entry.first_b, entry.rank, outputs * 4)) return rows_outside(kOp, slot, site, entry.first_b, entry.rank);
  HEDDLE_TRY(written.add(slot, site, entry.first_a, last - entry.first_a, kEmbeddingPiece));
  HEDDLE_TRY(written.add(slot, site, last, entry.rank, width));
  return written.add(slot, site, entry.first_b, entry.rank, outputs);
}

Status check_own_rows(const EmbeddingGradWork& work, GradientRows& written, const AdapterEntry& entry, const TokenRun& run) {
  const int64_t site = work.args.site, outputs = work.args.dy.dims[1];
  for (int32_t t = 0; t < run.count; t++) {
    const int64_t id = work.id(work.tokens.routed[run.first + t]);
    if (id >= entry.rank || entry.first_a < 0)
      return bad_entry(kOp, run.slot, site, "has " + std::to_string(entry.rank) + " rows, none for token id " + std::to_string(id));
    if (!work.pool.holds(entry.first_a + id, 1, outputs * 4)) return rows_outside(kOp, run.slot, site, entry.first_a + id, 1);
    HEDDLE_TRY(written.add(run.slot, site, entry.first_a + id, 1, outputs, true));
  }
  return Status::success();
}

// Checks every entry that the batch has, and gives the largest rank of factors.
Status check_entries(const EmbeddingGradWork& work, GradientRows& written, int64_t* largest_rank) {
  const int64_t site = work.args.site, outputs = work.args.dy.dims[1];
  *largest_rank = 0;
  for (int64_t i = 0; i < work.tokens.adapter_count; i++) {
    const TokenRun run = work.tokens.adapters[i];
    const AdapterEntry entry = work.pool.entry(run.slot, site);
    if (entry.kind == EntryKind::kNone) continue;
    HEDDLE_TRY(check_entry(kOp, work.pool, entry, run.slot, site, outputs));
    HEDDLE_TRY(check_trainable(kOp, entry, run.slot, site));
    if (entry.kind == EntryKind::kDense) {
      HEDDLE_TRY(check_own_rows(work, written, entry, run));
    } else {
      if (entry.gain >= 0) return bad_entry(kOp, run.slot, site, "has a gain: only factors without one have gradients here");
      int32_t largest_id = 0;
      for (int32_t t = 0; t < run.count; t++) largest_id = std::max(largest_id, work.id(work.tokens.routed[run.first + t]));
      HEDDLE_TRY(check_factors(work, written, entry, run.slot, largest_id));
      *largest_rank = std::max<int64_t>(*largest_rank, entry.rank);
    }
    if (entry.shift >= 0) HEDDLE_TRY(written.add(run.slot, site, entry.shift, 1, outputs));
  }
  return written.check_apart();
}

size_t product_bytes(const TensorView& index) { return 2 * static_cast<size_t>(index.dims[0] * index.dims[1]) * kPassRanks * sizeof(float); }

}  // namespace

size_t grouped_embedding_grad_factors_cpu_workspace(const GroupedEmbeddingGradFactorsArgs& args, int) {
  return AdapterTokens::bytes(args.index, args.entries.dims[0]) + GradientRows::bytes(args.rows, args.index.dims[0] * args.index.dims[1]) +
         product_bytes(args.index);
}

Status grouped_embedding_grad_factors_cpu(const GroupedEmbeddingGradFactorsArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.ids.dims[0];
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  if (!any) return Status::success();
  HEDDLE_CHECK(context.workspace_bytes >= grouped_embedding_grad_factors_cpu_workspace(args, context.threads()), kOp,
               "the workspace is too small");

  const int64_t routed_count = args.index.elements();
  std::byte* memory = context.workspace + AdapterTokens::bytes(args.index, pool.slots);
  GradientRows written(kOp, pool, args.gradients, routed_count, memory);
  float* products = reinterpret_cast<float*>(memory + GradientRows::bytes(args.rows, routed_count));
  const AdapterTokens grouped = group_tokens(args.index, args.weight, pool.slots, context.workspace, args.ids.as<int32_t>());
  const EmbeddingGradWork work = {args, pool, grouped, routed_count, products};
  int64_t largest_rank = 0;
  HEDDLE_TRY(check_entries(work, written, &largest_rank));

  const int64_t width = args.dy.dims[1], blocks = (width + kGradientColumns - 1) / kGradientColumns;
  constexpr int64_t kScatters = kPassRanks / kScatterRanks;
  const auto products_of = HEDDLE_DISPATCH(embedding_grad_products);
  const auto columns_of = HEDDLE_DISPATCH(embedding_grad_columns);
  const auto scatter = HEDDLE_DISPATCH(embedding_grad_scatter);
  int64_t done = 0;
  do {  // once even without factors: own rows and shifts
    context.parallel(work.tokens.block_count * 2,
                     [&](int64_t chunk, int) { products_of(work, chunk / 2, static_cast<int>(chunk % 2), done); });
    context.parallel(work.tokens.adapter_count * (blocks + kScatters), [&](int64_t chunk, int) {
      const TokenRun& run = work.tokens.adapters[chunk / (blocks + kScatters)];
      const int64_t part = chunk % (blocks + kScatters);
      if (part < blocks) {
        columns_of(work, run, done, part * kGradientColumns, std::min((part + 1) * kGradientColumns, width));
      } else {
        scatter(work, run, done, (part - blocks) * kScatterRanks, (part - blocks + 1) * kScatterRanks);
      }
    });
    done += kPassRanks;
  } while (done < largest_rank);
  return Status::success();
}

}  // namespace heddle
#endif
