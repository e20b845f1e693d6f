// Threads laid over rows and columns of a matrix, four columns each, and a kernel that fills rows from what needs no sums.
#pragma once
#include "cuda/row_team.cuh"

namespace heddle {

inline constexpr int kFillThreads = 256;

// A block covers `across` fours of columns (a power of two up to 32) of `slots` rows at a time.
struct ColumnTiles {
  int64_t tiles;  // that cover all columns
  int across, slots;
};
inline ColumnTiles column_tiles(int64_t columns) {
  int across = 1;
  while (across < kWarp && across * 4 < columns) across *= 2;
  return {ceil_div(columns, static_cast<int64_t>(across) * 4), across, kFillThreads / across};
}

inline constexpr int kFillRows = 8;  // rows that a thread writes

template <class Source>
__global__ void __launch_bounds__(kFillThreads, 4) fill_rows_kernel(RowsOf<float> y, ColumnTiles tiles, bool aligned, Source source) {
  const int64_t tile = static_cast<int64_t>(blockIdx.x) % tiles.tiles, group = static_cast<int64_t>(blockIdx.x) / tiles.tiles;
  const int slot = static_cast<int>(threadIdx.x) / tiles.across;
  const int64_t i = (tile * tiles.across + static_cast<int>(threadIdx.x) % tiles.across) * 4;
  if (i >= y.rows.columns) return;
  const int count = y.rows.columns - i < 4 ? static_cast<int>(y.rows.columns - i) : 4;
  for (int step = 0; step < kFillRows; step++) {
    const int64_t row = (group * kFillRows + step) * tiles.slots + slot;
    if (row < y.rows.count) store_four(y.row(row) + i, source.at(row, i, count), count, aligned);
  }
}

// Every element of y; source.at(row, i, count) gives elements i to i + count - 1 of a row on the device.
template <class Source>
Status fill_rows(const char* op, const TensorView& y, const Source& source, CudaContext& context) {
  const RowsOf<float> rows = device_rows<float>(y);
  const ColumnTiles tiles = column_tiles(rows.rows.columns);
  const int64_t groups = ceil_div(rows.rows.count, static_cast<int64_t>(tiles.slots) * kFillRows);
  const LaunchShape shape = {dim3(static_cast<unsigned>(groups * tiles.tiles)), kFillThreads};
  return context.launch(op, fill_rows_kernel<Source>, shape, rows, tiles, rows_aligned(y), source);
}

}  // namespace heddle
