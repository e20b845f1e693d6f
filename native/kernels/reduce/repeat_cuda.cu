#include "cuda/cuda_context.h"
#include "cuda/fill_rows.cuh"
#include "cuda/last_block.cuh"
#include "generated/reduce_ops.h"
#include "kernels/reduce/reduce_checks.h"

namespace heddle {

namespace {

constexpr int64_t kChunkRows = 128;   // rows of x that a block sums, at least
constexpr int64_t kMostChunks = 256;  // partial sums of a column

struct RowChunks {
  int64_t chunks, rows;  // rows: of each
};

// How the rows are cut depends on x's shape alone, and with it the order of the sums.
RowChunks row_chunks(int64_t rows, const ColumnTiles& tiles) {
  if (rows <= kChunkRows || tiles.tiles > kCounters) return {1, rows};
  const int64_t each = ceil_div(rows, kChunkRows * kMostChunks) * kChunkRows;
  return {ceil_div(rows, each), each};
}

// Adds up what the slots of a tile hold, in a tree; the first slot's threads get the sums.
template <class T>
__device__ __forceinline__ void sum_slots(Pack<T, 4>& sum, const ColumnTiles& tiles, SharedPointer<T> scratch) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int half = tiles.slots / 2; half > 0; half /= 2) {
    const int last = half * tiles.across;
    if (thread >= last && thread < 2 * last)
      for (int k = 0; k < 4; k++) scratch[k * kFillThreads + thread] = sum.v[k];
    __syncthreads();
    if (thread < last)
      for (int k = 0; k < 4; k++) sum.v[k] += scratch[k * kFillThreads + thread + last];
  }
}

__global__ void __launch_bounds__(kFillThreads)
    sum_rows_kernel(RowsOf<const float> x, ColumnTiles tiles, RowChunks chunks, bool aligned, bool aligned_sums, float* sums, int32_t* counters, float* y) {
  HEDDLE_SHARED(float, scratch, kFillThreads * 4);
  HEDDLE_SHARED(double, wide_scratch, kFillThreads * 4);
  HEDDLE_SHARED(int32_t, last, 1);
  const int64_t tile = static_cast<int64_t>(blockIdx.x) % tiles.tiles, chunk = static_cast<int64_t>(blockIdx.x) / tiles.tiles;
  const int64_t columns = x.rows.columns, i = (tile * tiles.across + static_cast<int>(threadIdx.x) % tiles.across) * 4;
  const int count = i >= columns ? 0 : columns - i < 4 ? static_cast<int>(columns - i) : 4;
  const int slot = static_cast<int>(threadIdx.x) / tiles.across;
  Four sum = {{0, 0, 0, 0}};
  if (count > 0) {
    const int64_t begin = chunk * chunks.rows, end = begin + chunks.rows < x.rows.count ? begin + chunks.rows : x.rows.count;
#pragma unroll 4
    for (int64_t row = begin + slot; row < end; row += tiles.slots) {
      const Four four = load_four(x.row(row) + i, count, aligned);
#pragma unroll
      for (int k = 0; k < 4; k++) sum.v[k] += four.v[k];
    }
  }
  sum_slots(sum, tiles, scratch);
  if (chunks.chunks == 1) {
    if (slot == 0 && count > 0) store_four(y + i, sum, count, is_aligned16(y));
    return;
  }
  if (slot == 0 && count > 0) store_four(sums + chunk * columns + i, sum, count, aligned_sums);
  if (!last_block(counters + tile, static_cast<int32_t>(chunks.chunks), last)) return;
  Pack<double, 4> total = {{0, 0, 0, 0}};
  if (count > 0) {
#pragma unroll 4
    for (int64_t from = slot; from < chunks.chunks; from += tiles.slots) {
      const Four four = load_four(sums + from * columns + i, count, aligned_sums);
#pragma unroll
      for (int k = 0; k < 4; k++) total.v[k] += static_cast<double>(four.v[k]);
    }
  }
  sum_slots(total, tiles, wide_scratch);
  if (slot != 0 || count == 0) return;
#pragma unroll
  for (int k = 0; k < 4; k++) sum.v[k] = static_cast<float>(total.v[k]);
  store_four(y + i, sum, count, is_aligned16(y));
}

struct SameRow {
  const float* x;
  bool aligned;
  __device__ __forceinline__ Four at(int64_t, int64_t i, int count) const { return load_four(x + i, count, aligned); }
};

struct SameColumn {
  RowsOf<const float> x;  // rows of one element
  __device__ __forceinline__ Four at(int64_t row, int64_t, int) const {
    const float value = *x.row(row);
    return {{value, value, value, value}};
  }
};

}  // namespace

size_t sum_rows_cuda_workspace(const SumRowsArgs& args, const DeviceLimits&) {
  const int64_t chunks = ceil_div(args.x.rows(), kChunkRows);
  return static_cast<size_t>(chunks < kMostChunks ? chunks : kMostChunks) * static_cast<size_t>(args.x.columns()) * sizeof(float);
}

Status sum_rows_cuda(const SumRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_sum_rows(args.x, args.y));
  const RowsOf<const float> x = device_rows<const float>(args.x);
  const ColumnTiles tiles = column_tiles(x.rows.columns);
  const RowChunks chunks = row_chunks(x.rows.count, tiles);
  const LaunchShape shape = {dim3(static_cast<unsigned>(chunks.chunks * tiles.tiles)), kFillThreads};
  return context.launch("sum_rows", sum_rows_kernel, shape, x, tiles, chunks, rows_aligned(args.x), x.rows.columns % 4 == 0,
                        reinterpret_cast<float*>(context.workspace), context.counters, args.y.as<float>());
}

Status repeat_rows_cuda(const RepeatRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_repeat_rows(args.x, args.y));
  return fill_rows("repeat_rows", args.y, SameRow{args.x.as<float>(), is_aligned16(args.x.as<float>())}, context);
}

Status repeat_columns_cuda(const RepeatColumnsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_repeat_columns(args.x, args.y));
  const TensorView& x = args.x;
  const Rows elements = x.dense() ? Rows{x.elements(), 1, 1, 1} : Rows{x.elements(), 1, x.inner_elements(), x.leading_stride};
  return fill_rows("repeat_columns", args.y, SameColumn{{x.as<float>(), elements}}, context);
}

}  // namespace heddle
