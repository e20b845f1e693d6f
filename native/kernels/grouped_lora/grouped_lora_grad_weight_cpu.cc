// Gradient of adapters on linear layers to the weights of their routes.
#include <type_traits>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_tokens.h"
#include "kernels/grouped_lora/operand_checks.h"

#ifndef HEDDLE_GROUPED_LORA_GRAD_WEIGHT_WORK
#define HEDDLE_GROUPED_LORA_GRAD_WEIGHT_WORK
namespace heddle {

struct GroupedLoraGradWeightWork {
  const GroupedLoraGradWeightArgs& args;
  AdapterPool pool;
  const TokenTile* tiles;
  float* products;  // per worker: A x and B^T dy, [2][kRankBlock][kBlockTokens]
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_lora_grad_weight_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)
#include "kernels/grouped_lora/adapter_rows.h"
#include "kernels/grouped_lora/token_block.h"

namespace heddle::HEDDLE_TARGET {

// dy . (scale B (A x)) = scale (B^T dy) . (A x), added to sum[t] rank after rank.
template <class Row>
void add_route_products(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* const* x, int64_t inputs,
                        const float* const* dy, int64_t outputs, float* products, float* sum) {
  float* other = products + kRankBlock * kBlockTokens;
  for (int64_t done = 0; done < entry.rank; done += kRankBlock) {
    const int64_t count = entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock;
    dot_block<Row>(pool, entry.first_a + done, count, tokens, x, inputs, {products, kBlockTokens, 1});
    dot_block<Row>(pool, entry.first_b + done, count, tokens, dy, outputs, {other, kBlockTokens, 1});
    for (int64_t i = 0; i < count; i++)
      for (int t = 0; t < tokens; t++) sum[t] += entry.scale * products[i * kBlockTokens + t] * other[i * kBlockTokens + t];
  }
}

static void grad_weight_tile(const GroupedLoraGradWeightWork& work, int64_t tile_index, int worker) {
  const GroupedLoraGradWeightArgs& args = work.args;
  const TokenTile tile = work.tiles[tile_index];
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t sites = args.columns.dims[0] - 1, routes = args.index.dims[1];
  const int32_t* slots = args.index.as<int32_t>() + tile.first * routes;
  float* products = work.products + static_cast<int64_t>(worker) * 2 * kRankBlock * kBlockTokens;
  const float* x[kBlockTokens];
  const float* dy[kBlockTokens];
  for (int t = 0; t < tile.count; t++) x[t] = args.x.row<float>(tile.first + t);
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    float sum[kBlockTokens] = {};
    for (int64_t s = 0; s < sites; s++) {
      const int64_t outputs = columns[s + 1] - columns[s];
      const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
      if (entry.kind == EntryKind::kNone || outputs == 0) continue;
      for (int t = 0; t < tile.count; t++) dy[t] = args.dy.row<float>(tile.first + t) + columns[s];
      with_row_type(entry.dtype, [&](auto kind) {
        add_route_products<decltype(kind)>(work.pool, entry, tile.count, x, args.x.dims[1], dy, outputs, products, sum);
      });
      if (entry.shift < 0) continue;
      dot_block<F32Row>(work.pool, entry.shift, 1, tile.count, dy, outputs, {products, kBlockTokens, 1});
      for (int t = 0; t < tile.count; t++) sum[t] += products[t];
    }
    for (int t = 0; t < tile.count; t++) args.dweight.row<float>(tile.first + t)[j] += sum[t];
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_lora_grad_weight";

size_t tile_bytes(const TensorView& index) { return (static_cast<size_t>(index.dims[0]) * sizeof(TokenTile) + 63) / 64 * 64; }

}  // namespace

size_t grouped_lora_grad_weight_cpu_workspace(const GroupedLoraGradWeightArgs& args, int threads) {
  return tile_bytes(args.index) + static_cast<size_t>(threads) * 2 * kRankBlock * kBlockTokens * sizeof(float);
}

Status grouped_lora_grad_weight_cpu(const GroupedLoraGradWeightArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.x.dims[0];
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.dweight, tokens, pool.slots, &any));
  HEDDLE_TRY(check_columns(kOp, args.columns, args.dy.dims[1], args.site, pool.sites));
  if (!any) return Status::success();
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_grad_weight_cpu_workspace(args, context.threads()), kOp,
               "the workspace is too small");

  const int64_t sites = args.columns.dims[0] - 1;
  const int32_t* columns = args.columns.as<int32_t>();
  TokenTile* tiles = reinterpret_cast<TokenTile*>(context.workspace);
  const int64_t tile_count = cut_tiles(args.index, tiles, tile_tokens(tokens, context.threads()));
  HEDDLE_TRY(check_slots(args.index, tiles, tile_count, [&](int64_t slot) {
    for (int64_t s = 0; s < sites; s++)
      HEDDLE_TRY(check_gradient_site(kOp, pool, slot, args.site + s, args.x.dims[1], columns[s + 1] - columns[s]));
    return Status::success();
  }));

  const GroupedLoraGradWeightWork work = {args, pool, tiles, reinterpret_cast<float*>(context.workspace + tile_bytes(args.index))};
  const auto run = HEDDLE_DISPATCH(grad_weight_tile);
  context.parallel(tile_count, [&](int64_t tile, int worker) { run(work, tile, worker); });
  return Status::success();
}

}  // namespace heddle
#endif
