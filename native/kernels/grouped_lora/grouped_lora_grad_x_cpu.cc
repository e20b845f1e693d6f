// Gradient of adapters on linear layers to their input: the forward product with the factors in each other's place.
#include <type_traits>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_tokens.h"
#include "kernels/grouped_lora/operand_checks.h"

#ifndef HEDDLE_GROUPED_LORA_GRAD_X_WORK
#define HEDDLE_GROUPED_LORA_GRAD_X_WORK
namespace heddle {

struct GroupedLoraGradXWork {
  const GroupedLoraGradXArgs& args;
  AdapterPool pool;
  const TokenTile* tiles;
  float* products;  // per worker: [kRankBlock][kBlockTokens]
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_lora_grad_x_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)
#include "kernels/grouped_lora/adapter_rows.h"
#include "kernels/grouped_lora/token_block.h"

namespace heddle::HEDDLE_TARGET {

// One order for a token whatever its tile: sites, their routes, ranks.
static void grad_x_tile(const GroupedLoraGradXWork& work, int64_t tile_index, int worker) {
  const GroupedLoraGradXArgs& args = work.args;
  const TokenTile tile = work.tiles[tile_index];
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t sites = args.columns.dims[0] - 1, inputs = args.dx.dims[1], routes = args.index.dims[1];
  const int32_t* slots = args.index.as<int32_t>() + tile.first * routes;
  const float* dy[kBlockTokens];
  float* dx[kBlockTokens];
  float weight[kBlockTokens];
  for (int t = 0; t < tile.count; t++) dx[t] = args.dx.row<float>(tile.first + t);
  for (int64_t s = 0; s < sites; s++) {
    const int64_t outputs = columns[s + 1] - columns[s];
    if (outputs == 0) continue;
    for (int t = 0; t < tile.count; t++) dy[t] = args.dy.row<float>(tile.first + t) + columns[s];
    for (int64_t j = 0; j < routes; j++) {
      if (slots[j] < 0) continue;
      const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
      if (entry.kind == EntryKind::kNone || entry.rank == 0) continue;
      for (int t = 0; t < tile.count; t++) weight[t] = args.weight.row<float>(tile.first + t)[j];
      with_row_type(entry.dtype, [&](auto kind) {
        add_low_rank_block<decltype(kind)>(entry.scale, work.pool, entry.first_b, {work.pool, entry.first_a, entry.rank}, tile.count, dy, outputs,
                                           {dx, weight, nullptr}, 0, inputs,
                                           work.products + static_cast<int64_t>(worker) * kRankBlock * kBlockTokens);
      });
    }
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_lora_grad_x";

size_t tile_bytes(const TensorView& index) { return (static_cast<size_t>(index.dims[0]) * sizeof(TokenTile) + 63) / 64 * 64; }

}  // namespace

size_t grouped_lora_grad_x_cpu_workspace(const GroupedLoraGradXArgs& args, int threads) {
  return tile_bytes(args.index) + static_cast<size_t>(threads) * kRankBlock * kBlockTokens * sizeof(float);
}

Status grouped_lora_grad_x_cpu(const GroupedLoraGradXArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.dy.dims[0];
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  HEDDLE_TRY(check_columns(kOp, args.columns, args.dy.dims[1], args.site, pool.sites));
  if (!any) return Status::success();
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_grad_x_cpu_workspace(args, context.threads()), kOp, "the workspace is too small");

  const int64_t sites = args.columns.dims[0] - 1;
  const int32_t* columns = args.columns.as<int32_t>();
  TokenTile* tiles = reinterpret_cast<TokenTile*>(context.workspace);
  const int64_t tile_count = cut_tiles(args.index, tiles, tile_tokens(tokens, context.threads()));
  HEDDLE_TRY(check_slots(args.index, tiles, tile_count, [&](int64_t slot) {
    for (int64_t s = 0; s < sites; s++)
      HEDDLE_TRY(check_gradient_site(kOp, pool, slot, args.site + s, args.dx.dims[1], columns[s + 1] - columns[s]));
    return Status::success();
  }));

  const GroupedLoraGradXWork work = {args, pool, tiles, reinterpret_cast<float*>(context.workspace + tile_bytes(args.index))};
  const auto run = HEDDLE_DISPATCH(grad_x_tile);
  context.parallel(tile_count, [&](int64_t tile, int worker) { run(work, tile, worker); });
  return Status::success();
}

}  // namespace heddle
#endif
