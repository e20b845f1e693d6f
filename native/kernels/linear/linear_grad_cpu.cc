// linear_grad: the tiles of linear multiply dy with blocks of the weight that are turned around just before they are used.
//
// Turning a block costs as much as some rows of multiplying it, so no second copy of the weight is ever held.
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
#include "kernels/linear/linear_grad_plan.h"

#define HEDDLE_TARGET_FILE "kernels/linear/linear_grad_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "cpu/transpose.h"
#include "kernels/linear/linear_tile.h"
#include "kernels/linear/linear_transpose.h"
namespace heddle::HEDDLE_TARGET {

// One row block times outputs [begin, begin + count) of the weight.
template <class Weight, class Blocks>
void linear_grad_block(const LinearGradProblem& problem, int64_t begin, int64_t count, CpuContext& context) {
  using Element = typename Blocks::Element;
  using Input = typename Weight::Input;
  constexpr int kWidest = tile_panels(kTileRows) < 2 ? 1 : 2;
  const LinearTiles tiles = LinearTiles::of(problem.rows, kTileRows);
  const int64_t row_elements = linear_padded_k(count) * Weight::kParts;
  Input* packed = reinterpret_cast<Input*>(problem.packed);

  const int64_t groups = linear_padded_k(count) / kLinearGroup;
  const auto pack = [&](int64_t tile, int) {
    const int64_t row = tiles.begin(tile);
    pack_input<Weight>(problem.dy + row * problem.dy_stride + begin, problem.dy_stride, tiles.height(tile), count, 0, groups,
                       packed + row * row_elements);
  };
  if (problem.rows * count < kLinearInlineInput)
    for (int64_t tile = 0; tile < tiles.tiles; tile++) pack(tile, 0);
  else
    context.parallel(tiles.tiles, pack);

  LinearProblem product{};
  product.rows = problem.rows;
  product.outputs = problem.k;
  product.k = count;
  const LinearChunks chunks = LinearChunks::of(product, tiles, kWidest, sizeof(Element), context.threads());
  const int64_t first_output_panel = begin / kLinearPanel, last_output_panel = linear_panels(begin + count);
  const int64_t panel_elements = (last_output_panel - first_output_panel) * kLinearPanel * kPanel;
  const Blocks blocks(problem.weight, problem.k);

  context.parallel(chunks.count(), [&](int64_t chunk, int worker) {
    Element* turned = reinterpret_cast<Element*>(problem.transposed + static_cast<size_t>(worker) * problem.worker_bytes);
    const int64_t first_panel = chunk / chunks.down() * chunks.chunk_panels;
    const int64_t last_panel = std::min(chunks.panels, first_panel + chunks.chunk_panels);
    const int64_t first_tile = chunk % chunks.down() * chunks.chunk_tiles;
    const int64_t last_tile = std::min(chunks.tiles, first_tile + chunks.chunk_tiles);
    for (int64_t panel = first_panel; panel < last_panel; panel += kWidest) {
      const int64_t wide = std::min<int64_t>(kWidest, last_panel - panel);
      const int64_t column = panel * kPanel;
      for (int64_t p = 0; p < wide; p++)
        blocks.turn(column + p * kPanel, first_output_panel, last_output_panel, turned + p * panel_elements);
      const auto* functions = kLinearTiles<Weight>.of(wide);
      const std::byte* first = reinterpret_cast<const std::byte*>(turned);
      const TilePanels panels{first, panel_elements * static_cast<int64_t>(sizeof(Element)), first, 0, nullptr};
      const int64_t last_columns = std::min<int64_t>(kPanel, problem.k - column - (wide - 1) * kPanel);
      for (int64_t tile = first_tile; tile < last_tile; tile++) {
        const int64_t row = tiles.begin(tile);
        functions[tiles.height(tile) - 1](panels, packed + row * row_elements, linear_inner(count) / 2,
                                          problem.dx + row * problem.dx_stride + column, problem.dx_stride, kPanel, last_columns,
                                          begin > 0 ? TileStart::kResume : TileStart::kZero, nullptr, nullptr);
      }
    }
  });
}

void linear_grad_run(const LinearGradProblem& problem, int64_t begin, int64_t count, CpuContext& context);
void linear_grad_run(const LinearGradProblem& problem, int64_t begin, int64_t count, CpuContext& context) {
  if (problem.dtype == DType::kF32) return linear_grad_block<F32Weight, PanelBlocks<float, false>>(problem, begin, count, context);
  if (problem.dtype == DType::kF16) return linear_grad_block<F16Weight, PanelBlocks<uint16_t, false>>(problem, begin, count, context);
  using Pairs = PanelBlocks<uint16_t, true>;
  if (problem.dtype == DType::kU8)
    return problem.precise ? linear_grad_block<Bf16WeightPrecise, CompactBlocks>(problem, begin, count, context)
                           : linear_grad_block<Bf16Weight, CompactBlocks>(problem, begin, count, context);
  if (problem.precise) return linear_grad_block<Bf16WeightPrecise, Pairs>(problem, begin, count, context);
  return linear_grad_block<Bf16Weight, Pairs>(problem, begin, count, context);
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "linear_grad";
constexpr int64_t kMostPanels = 2;  // that a tile multiplies at once

size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
int64_t block_outputs(int64_t outputs) { return std::min(outputs, kLinearGradBlock); }
size_t packed_bytes(const LinearGradArgs& args) { return lines(linear_packed_input_bytes(args.dy.dims[0], block_outputs(args.dy.dims[1]))); }
size_t worker_bytes(const LinearGradArgs& args) {
  return static_cast<size_t>(linear_panels(block_outputs(args.dy.dims[1])) * kLinearPanel * kLinearPanel * kMostPanels) *
         (may_be_compact(args.weight) ? sizeof(uint16_t) : dtype_bytes(args.weight.dtype));
}

}  // namespace

size_t linear_grad_cpu_workspace(const LinearGradArgs& args, int threads) {
  return packed_bytes(args) + static_cast<size_t>(threads) * worker_bytes(args);
}

Status linear_grad_cpu(const LinearGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(linear_grad_check(args));
  const int64_t rows = args.dy.dims[0], outputs = args.dy.dims[1], k = args.dx.dims[1];
  if (rows == 0 || k == 0) return Status::success();
  const size_t needed = linear_grad_cpu_workspace(args, context.threads());
  HEDDLE_CHECK(context.workspace_bytes >= needed, kOp,
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  HEDDLE_TRY(compact_weight_check(kOp, args.weight, k));
  LinearGradProblem problem{nullptr, args.dy.leading_stride, args.weight.data, nullptr, args.dx.leading_stride, 0, outputs, k, args.weight.dtype,
                            args.activation == LinearGradActivation::kPrecise, context.workspace, context.workspace + packed_bytes(args),
                            worker_bytes(args)};
  const auto run = HEDDLE_DISPATCH(linear_grad_run);
  const LinearTiles blocks = LinearTiles::of(rows, kLinearRowBlock);
  for (int64_t block = 0; block < blocks.tiles; block++) {
    problem.dy = args.dy.row<const float>(blocks.begin(block));
    problem.dx = args.dx.row<float>(blocks.begin(block));
    problem.rows = blocks.height(block);
    for (int64_t begin = 0; begin == 0 || begin < outputs; begin += kLinearGradBlock)
      run(problem, begin, std::min(kLinearGradBlock, outputs - begin), context);
  }
  return Status::success();
}

}  // namespace heddle
#endif  // HEDDLE_ONCE
