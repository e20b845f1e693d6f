#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/linear_ops.h"
#include "kernels/linear/linear_checks.h"
#include "kernels/linear/linear_plan.h"

#define HEDDLE_TARGET_FILE "kernels/linear/linear_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/linear/linear_tile.h"
namespace heddle::HEDDLE_TARGET {

// One row block: x is packed, then chunks of panels x tiles are computed.
template <class Weight>
void linear_block(const LinearProblem& problem, CpuContext& context) {
  using Element = typename Weight::Element;
  using Input = typename Weight::Input;
  static constexpr auto kTable = LinearTileTable<Weight>::make(std::make_integer_sequence<int, kTileRows>{});
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

  const bool single = tiles.tiles == 1;
  const int widest = single ? tile_panels(static_cast<int>(problem.rows)) : std::min(2, tile_panels(kTileRows));
  const LinearChunks chunks = LinearChunks::of(problem, tiles, widest, sizeof(Element), context.threads());
  // One tile streams both operands; several of them share a block of the weight.
  const int64_t block = single ? std::max<int64_t>(inner, 2) : kLinearBlock;
  const Element* weight = static_cast<const Element*>(problem.weight);
  const int64_t panel_elements = inner * kPanel;

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
      const LinearTile<Weight>* functions = wide == 1 ? kTable.one : wide == 2 ? kTable.two : kTable.wide;
      for (const int64_t stop = panel + apart; panel < stop; panel++) {
        const int64_t column = panel * kPanel;
        const int64_t last_columns = std::min<int64_t>(kPanel, problem.outputs - column - (wide - 1) * apart * kPanel);
        for (int64_t begin = 0; begin == 0 || begin < inner; begin += block) {
          const int64_t pairs = std::min(block, inner - begin) / 2;
          const float* bias = problem.bias != nullptr && begin + block >= inner ? problem.bias + column : nullptr;
          const Element* from = weight + panel * panel_elements + begin * kPanel;
          // Of several tiles the first ones fetch what all of them read next, a panel each.
          const Element* next = begin + block < inner ? from + block * kPanel : weight + (panel + wide) * panel_elements;
          for (int64_t tile = first_tile; tile < last_tile; tile++) {
            const int64_t row = tiles.begin(tile);
            const int64_t height = tiles.height(tile);
            const int64_t turn = tile - first_tile;
            const Element* ahead = single ? from + kLinearAhead * 2 * kPanel : turn < wide ? next + turn * panel_elements : from;
            functions[height - 1](from, apart * panel_elements, packed + row * row_elements + begin * height * Weight::kParts, pairs,
                                  problem.y + row * problem.y_stride + column, problem.y_stride, apart * kPanel, last_columns, begin > 0, bias,
                                  ahead, single ? apart * panel_elements : 0);
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
  LinearProblem problem{args.x.as<const float>(), args.x.leading_stride, args.weight.data, args.bias.as<const float>(), args.y.as<float>(),
                        args.y.leading_stride,    rows,                  args.y.dims[1],   k,                           args.weight.dtype,
                        args.activation == LinearActivation::kPrecise,   context.workspace};
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
