#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/matmul_ops.h"
#include "kernels/matmul/matmul_checks.h"

#define HEDDLE_TARGET_FILE "kernels/matmul/matmul_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/matmul/matmul_tile.h"
namespace heddle::HEDDLE_TARGET {

// Rows [row, row + rows) x panels from first_panel on of one product, with a worker's scratch memory.
inline void matmul_chunk(const MatmulProblem& problem, int64_t product, int64_t row, int64_t rows, int64_t first_panel, int64_t panels, float* scratch) {
  static constexpr MatmulTiles kRowsFirst = MatmulTiles::make<false>(std::make_integer_sequence<int, kMatmulRows>{});
  static constexpr MatmulTiles kColumnsFirst = MatmulTiles::make<true>(std::make_integer_sequence<int, kMatmulRows>{});
  const MatmulTiles& functions = problem.transpose_a ? kColumnsFirst : kRowsFirst;
  const float* a = problem.a + product * problem.a_batch;
  const float* b = problem.b + product * problem.b_batch;
  float* y = problem.y + product * problem.y_batch;
  float* packed_b = scratch;
  float* packed_a = scratch + kMatmulBlockElements;
  const int64_t column = first_panel * kPanel;
  const int64_t columns = std::min(panels * kPanel, problem.columns - column);
  // Tiles whose heights differ by one at most: a short last one would run at a fraction of the speed.
  const int64_t tiles = (rows + kMatmulRows - 1) / kMatmulRows;
  // Lines of b that only one tile reads are read where they are.
  const bool direct = tiles == 1 && !problem.transpose_b && columns % kPanel == 0;

  for (int64_t begin = 0; begin == 0 || begin < problem.k; begin += kMatmulDepth) {
    const int64_t depth = std::min(kMatmulDepth, problem.k - begin);
    const float* from = b + (problem.transpose_b ? column * problem.b_stride + begin : begin * problem.b_stride + column);
    if (!direct) pack_columns(from, problem.b_stride, problem.transpose_b, columns, depth, packed_b);
    const float* block = direct ? from : packed_b;
    const int64_t b_step = direct ? problem.b_stride : kPanel, panel_step = direct ? kPanel : depth * kPanel;
    for (int64_t tile = 0, at = row; tile < tiles; tile++) {
      const int64_t height = rows / tiles + (tile < rows % tiles ? 1 : 0);
      pack_rows(a + (problem.transpose_a ? begin * problem.a_stride + at : at * problem.a_stride + begin), problem.a_stride, problem.transpose_a, height, depth,
                packed_a);
      const int wide = matmul_wide(static_cast<int>(height));
      for (int64_t panel = 0; panel < panels;) {
        const int64_t width = panels - panel >= wide ? wide : 1;
        const int64_t last_columns = std::min<int64_t>(kPanel, columns - (panel + width - 1) * kPanel);
        const MatmulTile function = (width == wide ? functions.wide : functions.one)[height - 1];
        function(packed_a, block + panel * panel_step, b_step, panel_step, depth, y + at * problem.y_stride + column + panel * kPanel, problem.y_stride,
                 last_columns, begin > 0);
        panel += width;
      }
      at += height;
    }
  }
}

static void matmul_all(const MatmulProblem& problem, float* scratch, CpuContext& context) {
  const MatmulChunks chunks = MatmulChunks::of(problem, kMatmulRows, context.threads());
  const int64_t all_panels = (problem.columns + kPanel - 1) / kPanel;
  context.parallel(chunks.count(problem.batch), [&](int64_t chunk, int worker) {
    const int64_t product = chunk / (chunks.down * chunks.across), within = chunk % (chunks.down * chunks.across);
    const int64_t row = within % chunks.down * chunks.chunk_rows, panel = within / chunks.down * chunks.chunk_panels;
    matmul_chunk(problem, product, row, std::min(chunks.chunk_rows, problem.rows - row), panel, std::min(chunks.chunk_panels, all_panels - panel),
                 scratch + worker * kMatmulWorkerElements);
  });
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

size_t matmul_cpu_workspace(const MatmulArgs&, int threads) { return static_cast<size_t>(threads * kMatmulWorkerElements) * sizeof(float); }

Status matmul_cpu(const MatmulArgs& args, CpuContext& context) {
  HEDDLE_TRY(matmul_check(args));
  const size_t needed = matmul_cpu_workspace(args, context.threads());
  HEDDLE_CHECK(context.workspace_bytes >= needed, "matmul",
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  const MatmulProblem problem = matmul_problem(args);
  if (problem.batch == 0 || problem.rows == 0 || problem.columns == 0) return Status::success();
  HEDDLE_DISPATCH(matmul_all)(problem, reinterpret_cast<float*>(context.workspace), context);
  return Status::success();
}

}  // namespace heddle
#endif
