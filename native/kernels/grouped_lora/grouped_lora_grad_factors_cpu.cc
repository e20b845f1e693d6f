// Gradients of every adapter's factors in the batch, added to one flat array: for all sites that share x, ranks as they are.
//
// Two loops for every kPassRanks ranks: A x and B^T dy of each routed token, then outer products of those with the tokens' dy and x.
#include <type_traits>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_tokens.h"
#include "kernels/grouped_lora/gradient_rows.h"
#include "kernels/grouped_lora/operand_checks.h"

#ifndef HEDDLE_GROUPED_LORA_GRAD_FACTORS_WORK
#define HEDDLE_GROUPED_LORA_GRAD_FACTORS_WORK
namespace heddle {

struct GradFactorsWork {
  const GroupedLoraGradFactorsArgs& args;
  AdapterPool pool;
  AdapterTokens tokens;
  int64_t routed_count;
  float* products;  // [sites][2: A x, B^T dy][routed][kPassRanks], times weight and scale

  float* products_of(int64_t site, int side, int64_t routed) const {
    return products + ((site * 2 + side) * routed_count + routed) * kPassRanks;
  }
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_lora_grad_factors_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)
#include "kernels/grouped_lora/adapter_rows.h"
#include "kernels/grouped_lora/token_block.h"

namespace heddle::HEDDLE_TARGET {

static int64_t ranks_in_pass(const AdapterEntry& entry, int64_t done) {
  return entry.rank - done < kPassRanks ? entry.rank - done : kPassRanks;
}

// A x (side 0) or B^T dy (side 1) of one block of tokens at one site.
static void grad_factors_products(const GradFactorsWork& work, int64_t block, int64_t s, int side, int64_t done) {
  const GroupedLoraGradFactorsArgs& args = work.args;
  const TokenRun run = work.tokens.blocks[block];
  const RoutedToken* routed = work.tokens.routed + run.first;
  const AdapterEntry entry = work.pool.entry(run.slot, args.site + s);
  if (entry.kind == EntryKind::kNone || entry.rank <= done) return;
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t count = ranks_in_pass(entry, done), width = side == 0 ? args.x.dims[1] : columns[s + 1] - columns[s];
  const float* rows[kBlockTokens];
  for (int t = 0; t < run.count; t++)
    rows[t] = side == 0 ? args.x.row<float>(routed[t].token) : args.dy.row<float>(routed[t].token) + columns[s];
  float* products = work.products_of(s, side, run.first);
  dot_block<F32Row>(work.pool, (side == 0 ? entry.first_a : entry.first_b) + done, count, run.count, rows, width, {products, 1, kPassRanks});
  for (int t = 0; t < run.count; t++) {
    const float factor = routed[t].weight * entry.scale;
    for (int64_t r = 0; r < count; r++) products[t * kPassRanks + r] *= factor;
  }
}

// Columns from .. to of the gradients of A (side 0) or of B^T and the shift (side 1) of one adapter at one site.
static void grad_factors_columns(const GradFactorsWork& work, const TokenRun& run, int64_t s, int side, int64_t done, int64_t from, int64_t to) {
  const GroupedLoraGradFactorsArgs& args = work.args;
  const AdapterEntry entry = work.pool.entry(run.slot, args.site + s);
  if (entry.kind == EntryKind::kNone) return;
  OuterProducts what = {work.tokens.routed + run.first, run.count, nullptr, 0, args.x.as<float>(), args.x.leading_stride};
  if (side == 1) {
    what.z = args.dy.as<float>() + args.columns.as<int32_t>()[s];
    what.z_stride = args.dy.leading_stride;
  }
  if (entry.rank > done) {
    const int count = static_cast<int>(ranks_in_pass(entry, done));
    float* rows[kPassRanks];
    for (int r = 0; r < count; r++)
      rows[r] = gradient_row(work.pool, args.accumulated, (side == 0 ? entry.first_a : entry.first_b) + done + r);
    what.values = work.products_of(s, 1 - side, run.first);
    what.stride = kPassRanks;
    accumulate_block(rows, count, what, from, to);
  }
  if (side == 1 && done == 0 && entry.shift >= 0) {
    float* row = gradient_row(work.pool, args.accumulated, entry.shift);
    what.values = &what.routed->weight;
    what.stride = sizeof(RoutedToken) / sizeof(float);
    accumulate_block(&row, 1, what, from, to);
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_lora_grad_factors";

size_t product_bytes(const GroupedLoraGradFactorsArgs& args) {
  const size_t sites = args.columns.dims[0] > 1 ? static_cast<size_t>(args.columns.dims[0]) - 1 : 0;
  return sites * 2 * static_cast<size_t>(args.index.dims[0] * args.index.dims[1]) * kPassRanks * sizeof(float);
}

// Checks every entry that the batch has, and gives the largest rank.
Status check_entries(const GradFactorsWork& work, GradientRows& written, int64_t* largest_rank) {
  const GroupedLoraGradFactorsArgs& args = work.args;
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t sites = args.columns.dims[0] - 1, inputs = args.x.dims[1];
  *largest_rank = 0;
  for (int64_t i = 0; i < work.tokens.adapter_count; i++)
    for (int64_t s = 0; s < sites; s++) {
      const int64_t slot = work.tokens.adapters[i].slot, site = args.site + s, outputs = columns[s + 1] - columns[s];
      const AdapterEntry entry = work.pool.entry(slot, site);
      if (entry.kind == EntryKind::kNone) continue;
      HEDDLE_TRY(check_gradient_site(kOp, work.pool, slot, site, inputs, outputs));
      HEDDLE_TRY(check_trainable(kOp, entry, slot, site));
      HEDDLE_TRY(written.add(slot, site, entry.first_a, entry.rank, inputs));
      HEDDLE_TRY(written.add(slot, site, entry.first_b, entry.rank, outputs));
      if (entry.shift >= 0) HEDDLE_TRY(written.add(slot, site, entry.shift, 1, outputs));
      *largest_rank = std::max<int64_t>(*largest_rank, entry.rank);
    }
  return written.check_apart();
}

}  // namespace

size_t grouped_lora_grad_factors_cpu_workspace(const GroupedLoraGradFactorsArgs& args, int) {
  return AdapterTokens::bytes(args.index, args.entries.dims[0]) + GradientRows::bytes(args.rows, 0) + product_bytes(args);
}

Status grouped_lora_grad_factors_cpu(const GroupedLoraGradFactorsArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.x.dims[0];
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  HEDDLE_TRY(check_columns(kOp, args.columns, args.dy.dims[1], args.site, pool.sites));
  if (!any) return Status::success();
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_grad_factors_cpu_workspace(args, context.threads()), kOp,
               "the workspace is too small");

  std::byte* memory = context.workspace + AdapterTokens::bytes(args.index, pool.slots);
  GradientRows written(kOp, pool, args.gradients, 0, memory);
  float* products = reinterpret_cast<float*>(memory + GradientRows::bytes(args.rows, 0));
  const GradFactorsWork work = {args, pool, group_tokens(args.index, args.weight, pool.slots, context.workspace), args.index.elements(),
                                products};
  int64_t largest_rank = 0;
  HEDDLE_TRY(check_entries(work, written, &largest_rank));

  const int64_t sites = args.columns.dims[0] - 1;
  const int32_t* columns = args.columns.as<int32_t>();
  int64_t widest = 0;
  for (int64_t s = 0; s < sites; s++) widest = std::max<int64_t>(widest, columns[s + 1] - columns[s]);
  const int64_t blocks[2] = {(args.x.dims[1] + kGradientColumns - 1) / kGradientColumns, (widest + kGradientColumns - 1) / kGradientColumns};
  const auto products_of = HEDDLE_DISPATCH(grad_factors_products);
  const auto columns_of = HEDDLE_DISPATCH(grad_factors_columns);
  int64_t done = 0;
  do {  // once even for rank 0, which may carry a shift
    context.parallel(work.tokens.block_count * sites * 2, [&](int64_t chunk, int) {
      products_of(work, chunk / 2 / sites, chunk / 2 % sites, static_cast<int>(chunk % 2), done);
    });
    const int64_t per_site = blocks[0] + blocks[1];
    context.parallel(work.tokens.adapter_count * sites * per_site, [&](int64_t chunk, int) {
      const int64_t s = chunk / per_site % sites, block = chunk % per_site;
      const int side = block < blocks[0] ? 0 : 1;
      const int64_t width = side == 0 ? args.x.dims[1] : columns[s + 1] - columns[s];
      const int64_t from = (side == 0 ? block : block - blocks[0]) * kGradientColumns, to = std::min(from + kGradientColumns, width);
      if (from < to) columns_of(work, work.tokens.adapters[chunk / per_site / sites], s, side, done, from, to);
    });
    done += kPassRanks;
  } while (done < largest_rank);
  return Status::success();
}

}  // namespace heddle
#endif
