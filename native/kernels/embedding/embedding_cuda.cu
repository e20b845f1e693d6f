// embedding and gather_rows: each row is read once and written once.
#include "generated/embedding_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/move_rows.cuh"
#include "cuda/vocabulary.cuh"
#include "kernels/embedding/embedding_checks.h"

namespace heddle {
namespace {

constexpr int kDepth = 2;

template <class T, int Width>
__global__ void __launch_bounds__(kTileThreads) widen_rows(RowTiles tiles, NumberedRows rows) {
  over_tiles(tiles, [&](int64_t row, int64_t first, int lanes) {
    const Move move = rows(row);
    const T* from = reinterpret_cast<const T*>(move.from);
    float* to = reinterpret_cast<float*>(move.to);
    Pack<T, Width> held[kDepth];
#pragma unroll
    for (int d = 0; d < kDepth; d++) {
      const int64_t unit = first + d * lanes;
      held[d] = from != nullptr && unit < tiles.units ? load_pack<Width>(from + unit * Width) : Pack<T, Width>{};
    }
#pragma unroll
    for (int d = 0; d < kDepth; d++) {
      const int64_t unit = first + d * lanes;
      if (unit >= tiles.units) continue;
      Pack<float, Width> wide;
#pragma unroll
      for (int i = 0; i < Width; i++) wide.v[i] = to_f32(held[d].v[i]);
      store_pack(to + unit * Width, wide);
    }
  });
}

template <class T>
Status launch_widen(const CudaContext& context, const TensorView& y, const NumberedRows& rows) {
  const int64_t width = y.dims[1];
  const bool aligned = width % 4 == 0 && rows.x.alignment() % sizeof(Pack<T, 4>) == 0 && rows.y.alignment() % sizeof(Pack<float, 4>) == 0;
  const RowTiles tiles = row_tiles(y.dims[0], aligned ? width / 4 : width, kDepth);
  return context.launch("embedding", aligned ? widen_rows<T, 4> : widen_rows<T, 1>, tile_launch(tiles, context.limits), tiles, rows);
}

}  // namespace

Status embedding_cuda(const EmbeddingArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_embedding(args));
  HEDDLE_TRY(refuse_compact("embedding", args.weight));
  const TensorView &weight = args.weight, &y = args.y;
  // Rows of packed panels lie one after another on this backend, padded to an even width.
  const int64_t stride = weight.rank == 2 ? weight.leading_stride : weight.dims[1] * weight.dims[2] / kPanelRows;
  const ByteRows table{static_cast<std::byte*>(weight.data), stride * static_cast<int64_t>(dtype_bytes(weight.dtype))};
  const NumberedRows rows{table, byte_rows(y), args.ids.as<int32_t>(), args.vocabulary, context.failure("[embedding] ids[{0}] is {1}: expected less than {2}")};
  if (weight.dtype == DType::kF16) return launch_widen<F16>(context, y, rows);
  if (weight.dtype == DType::kBF16) return launch_widen<BF16>(context, y, rows);
  return move_rows("embedding", context, y.dims[0], row_bytes(y), rows);
}

Status gather_rows_cuda(const GatherRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_gather_rows(args));
  const Failure beyond = context.failure("[gather_rows] rows[{0}] is {1}: expected less than {2}");
  const NumberedRows rows{byte_rows(args.x), byte_rows(args.y), args.rows.as<int32_t>(), args.x.dims[0], beyond};
  return move_rows("gather_rows", context, args.y.dims[0], row_bytes(args.y), rows);
}

}  // namespace heddle
