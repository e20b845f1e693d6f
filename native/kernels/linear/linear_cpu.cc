#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/float16.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/linear_ops.h"
#include "kernels/linear/compact_panels.h"
#include "kernels/linear/linear_checks.h"
#include "kernels/linear/linear_plan.h"

#define HEDDLE_TARGET_FILE "kernels/linear/linear_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/linear/linear_tile.h"
namespace heddle::HEDDLE_TARGET {

// What the exceptions of a compact panel add to `sums`, which are `stride` apart for the rows of a tile; in rising k.
// x: the tile's packed rows.
template <class Weight>
void add_exceptions(const PanelRows& panels, const PanelHeader& header, const typename Weight::Input* x, int64_t rows, float* sums, int64_t stride) {
  constexpr int64_t kRow = Weight::kParts * kLinearGroup;
  const float stand_in = bf16_to_f32(unit_stand_in(header.high_bytes));
  for (uint32_t i = 0; i < panels.exceptions(header); i++) {
    const PanelException exception = header.list()[i];
    if (!panels.holds(exception)) continue;
    const int64_t column = exception.place / kLinearPanel;
    const float missing = bf16_to_f32(exception.bits) - stand_in;
    const typename Weight::Input* group = x + column / kLinearGroup * rows * kRow;
    float* sum = sums + exception.place % kLinearPanel;
    for (int64_t row = 0; row < rows; row++) sum[row * stride] += Weight::value(group + row * kRow, column % kLinearGroup) * missing;
  }
}

// One row block: x is packed, then chunks of panels x tiles are computed.
template <class Weight>
void linear_block(const LinearProblem& problem, CpuContext& context) {
  using Input = typename Weight::Input;
  const LinearTiles tiles = LinearTiles::of(problem.rows, kTileRows);
  const int64_t k = problem.k;
  const int64_t inner = linear_inner(k);
  const int64_t row_elements = linear_padded_k(k) * Weight::kParts;
  Input* packed = reinterpret_cast<Input*>(problem.packed);

  const int64_t groups = linear_padded_k(k) / kLinearGroup;
  const int64_t pieces = problem.rows * k < kLinearInlineInput ? 1 : (groups + kLinearPackGroups - 1) / kLinearPackGroups;
  const auto pack = [&](int64_t chunk, int) {
    const int64_t tile = chunk / pieces;
    const int64_t first = chunk % pieces * kLinearPackGroups;
    const int64_t last = pieces == 1 ? groups : std::min(groups, first + kLinearPackGroups);
    const int64_t row = tiles.begin(tile);
    pack_input<Weight>(problem.x + row * problem.x_stride, problem.x_stride, tiles.height(tile), k, first, last, packed + row * row_elements);
  };
  if (problem.rows * k < kLinearInlineInput)
    for (int64_t tile = 0; tile < tiles.tiles; tile++) pack(tile, 0);
  else
    context.parallel(tiles.tiles * pieces, pack);

  constexpr bool kCompact = Weight::kPairs > 1;
  constexpr auto& kTable = kLinearTiles<Weight>;
  const bool single = tiles.tiles == 1;
  const int widest = single ? kTable.widest(static_cast<int>(problem.rows)) : std::min(2, kTable.widest(kTileRows));
  const LinearChunks chunks = LinearChunks::of(problem, tiles, widest, static_cast<double>(Weight::kPairBytes) / (2 * kPanel), context.threads());
  // One tile streams both operands; several of them share a block of the weight.
  const int64_t block = single ? std::max<int64_t>(inner, 2) : kLinearBlock;
  const int64_t step = problem.panel_step;
  const PanelRows compact{problem.weight, k};
  const std::byte* bodies = problem.weight + (kCompact ? compact.first().units_at : 0);

  context.parallel(chunks.count(), [&](int64_t chunk, int) {
    const int64_t first_panel = chunk / chunks.down() * chunks.chunk_panels;
    const int64_t last_panel = std::min(chunks.panels, first_panel + chunks.chunk_panels);
    const int64_t first_tile = chunk % chunks.down() * chunks.chunk_tiles;
    const int64_t last_tile = std::min(chunks.tiles, first_tile + chunks.chunk_tiles);
    for (int64_t panel = first_panel; panel < last_panel;) {
      const int64_t left = last_panel - panel;
      const int64_t wide = left >= widest ? widest : left >= 2 ? std::min(2, widest) : 1;
      // A single tile takes panels that are `apart` from each other, so that each of these streams of weight goes on
      // without a gap when the next panels come, and fetches its streams some steps ahead.
      const int64_t apart = single ? left / wide : 1;
      const auto* functions = kTable.of(wide);
      for (const int64_t stop = panel + apart; panel < stop; panel++) {
        const int64_t column = panel * kPanel;
        const int64_t last_columns = std::min<int64_t>(kPanel, problem.outputs - column - (wide - 1) * apart * kPanel);
        TilePanels panels{nullptr, apart * step, nullptr, single ? apart * step : 0, kCompact ? compact.panel(panel).high_bytes : nullptr};
        for (int64_t begin = 0; begin == 0 || begin < inner; begin += block) {
          const int64_t pairs = (std::min(block, inner - begin) / 2 + Weight::kPairs - 1) / Weight::kPairs * Weight::kPairs;
          const float* bias = problem.bias != nullptr && begin + block >= inner ? problem.bias + column : nullptr;
          panels.first = bodies + panel * step + begin / 2 * Weight::kPairBytes;
          // Of several tiles the first ones fetch what all of them read next, a panel each.
          const std::byte* next = begin + block < inner ? panels.first + block / 2 * Weight::kPairBytes : bodies + (panel + wide) * step;
          for (int64_t tile = first_tile; tile < last_tile; tile++) {
            const int64_t row = tiles.begin(tile);
            const int64_t height = tiles.height(tile);
            const int64_t turn = tile - first_tile;
            const Input* x = packed + row * row_elements;
            float* y = problem.y + row * problem.y_stride + column;
            TileStart start = begin > 0 ? TileStart::kResume : TileStart::kZero;
            alignas(64) float sums[kCompact ? kTileRows * tile_panels(1) * kPanel : 1];
            if constexpr (kCompact) {
              if (begin == 0) {
                start = TileStart::kSums;
                std::memset(sums, 0, static_cast<size_t>(height * wide * kPanel) * sizeof(float));
                for (int64_t p = 0; p < wide; p++) add_exceptions<Weight>(compact, compact.panel(panel + p * apart), x, height, sums + p * kPanel, wide * kPanel);
              }
            }
            panels.ahead = single ? panels.first + kLinearAhead * Weight::kPairBytes : turn < wide ? next + turn * step : panels.first;
            functions[height - 1](panels, x + begin * height * Weight::kParts, pairs, y, problem.y_stride, apart * kPanel, last_columns,
                                  start, sums, bias);
          }
        }
      }
      panel += (wide - 1) * apart;
    }
  });
}

void linear_run(const LinearProblem& problem, CpuContext& context);
void linear_run(const LinearProblem& problem, CpuContext& context) {
  if (problem.dtype == DType::kF32) return linear_block<F32Weight>(problem, context);
  if (problem.dtype == DType::kF16) return linear_block<F16Weight>(problem, context);
  if (problem.compact)
    return problem.precise ? linear_block<Compact<Bf16WeightPrecise>>(problem, context) : linear_block<Compact<Bf16Weight>>(problem, context);
  if (problem.precise) return linear_block<Bf16WeightPrecise>(problem, context);
  return linear_block<Bf16Weight>(problem, context);
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET

#if defined(HEDDLE_ONCE)
namespace heddle {

size_t linear_cpu_workspace(const LinearArgs& args, int) { return linear_packed_input_bytes(args.x.dims[0], args.x.dims[1]); }

Status linear_cpu(const LinearArgs& args, CpuContext& context) {
  HEDDLE_TRY(linear_check(args));
  const int64_t rows = args.x.dims[0];
  const int64_t k = args.x.dims[1];
  if (rows == 0 || args.y.dims[1] == 0) return Status::success();
  const size_t needed = linear_packed_input_bytes(rows, k);
  HEDDLE_CHECK(context.workspace_bytes >= needed, "linear",
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  HEDDLE_TRY(compact_weight_check("linear", args.weight, k));
  LinearProblem problem{};
  problem.x_stride = args.x.leading_stride;
  problem.weight = args.weight.as<const std::byte>();
  problem.bias = args.bias.as<const float>();
  problem.y_stride = args.y.leading_stride;
  problem.outputs = args.y.dims[1];
  problem.k = k;
  problem.dtype = args.weight.dtype;
  problem.panel_step = linear_panel_bytes(args.weight.dtype, k);
  problem.precise = args.activation == LinearActivation::kPrecise;
  problem.packed = context.workspace;
  if (may_be_compact(args.weight)) {
    const PanelRows panels{problem.weight, k};
    problem.dtype = DType::kBF16;
    problem.compact = panels.compact();
    problem.panel_step = panels.step();
    if (!problem.compact) problem.weight += kPanelLine;
  }
  const auto run = HEDDLE_DISPATCH(linear_run);
  const LinearTiles blocks = LinearTiles::of(rows, kLinearRowBlock);
  for (int64_t block = 0; block < blocks.tiles; block++) {
    problem.x = args.x.row<const float>(blocks.begin(block));
    problem.y = args.y.row<float>(blocks.begin(block));
    problem.rows = blocks.height(block);
    run(problem, context);
  }
  return Status::success();
}

}  // namespace heddle
#endif  // HEDDLE_ONCE
