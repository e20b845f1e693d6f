// Ops that move whole rows: behind index i of the leading dimension lie inner_elements() contiguous values.
#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "generated/layout_ops.h"
#include "kernels/layout/layout_checks.h"

namespace heddle {

namespace {

constexpr int64_t kGrain = 16384;  // elements per chunk
constexpr int64_t kColumns = 64;   // of a chunk of scatter_add_rows

float* row_of(const TensorView& tensor, int64_t row) { return tensor.as<float>() + row * (tensor.rank == 1 ? 1 : tensor.leading_stride); }

// source(row) gives the row of x that becomes a row of y, or null for zeros.
template <class Source>
void fill_rows(CpuContext& context, const TensorView& y, const Source& source) {
  const size_t bytes = static_cast<size_t>(y.inner_elements()) * sizeof(float);
  parallel_rows(context, y.dims[0], y.inner_elements(), kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const float* from = source(row);
      if (from == nullptr)
        std::memset(row_of(y, row), 0, bytes);
      else
        std::memcpy(row_of(y, row), from, bytes);
    }
  });
}

// -1 or smaller: skipped.
Status check_numbers(const char* op, const TensorView& rows, const TensorView& y) {
  for (int64_t i = 0; i < rows.dims[0]; i++)
    HEDDLE_CHECK(rows.as<int32_t>()[i] < y.dims[0], op,
                 "rows[" + std::to_string(i) + "] is " + std::to_string(rows.as<int32_t>()[i]) + ": expected less than " + std::to_string(y.dims[0]));
  return Status::success();
}

}  // namespace

Status concat_rows_cpu(const ConcatRowsArgs& args, CpuContext& context) {
  const TensorView &a = args.a, &b = args.b, &y = args.y;
  HEDDLE_TRY(check_concat_rows(args));
  const int64_t above = a.dims[0];
  fill_rows(context, y, [&](int64_t row) -> const float* { return row < above ? row_of(a, row) : row_of(b, row - above); });
  return Status::success();
}

Status slice_rows_cpu(const SliceRowsArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_window("slice_rows", args.y, args.x, args.from));
  const int64_t first = args.at_end ? args.x.dims[0] - args.y.dims[0] - args.from : args.from;
  fill_rows(context, args.y, [&](int64_t row) -> const float* { return row_of(args.x, first + row); });
  return Status::success();
}

Status pad_rows_cpu(const PadRowsArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_window("pad_rows", args.x, args.y, args.from));
  const int64_t rows = args.x.dims[0], first = args.at_end ? args.y.dims[0] - rows - args.from : args.from;
  fill_rows(context, args.y, [&](int64_t row) -> const float* { return row < first || row >= first + rows ? nullptr : row_of(args.x, row - first); });
  return Status::success();
}

// Chunks are columns, so that each sum has the order of x whatever the threads.
Status scatter_add_rows_cpu(const ScatterAddRowsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &rows = args.rows, &y = args.y;
  HEDDLE_TRY(check_numbered_rows("scatter_add_rows", x, rows, y));
  HEDDLE_TRY(check_numbers("scatter_add_rows", rows, y));
  const int64_t width = y.inner_elements(), chunks = (width + kColumns - 1) / kColumns;
  const int64_t columns = (x.dims[0] + y.dims[0]) * width <= kGrain ? width : kColumns;
  context.parallel(columns == width ? (width > 0 ? 1 : 0) : chunks, [&](int64_t chunk, int) {
    const int64_t first = chunk * columns, count = std::min(columns, width - first);
    for (int64_t row = 0; row < y.dims[0]; row++) std::memset(row_of(y, row) + first, 0, static_cast<size_t>(count) * sizeof(float));
    for (int64_t i = 0; i < x.dims[0]; i++) {
      const int64_t row = rows.as<int32_t>()[i];
      if (row < 0) continue;
      const float* from = row_of(x, i) + first;
      float* sum = row_of(y, row) + first;
      for (int64_t c = 0; c < count; c++) sum[c] += from[c];
    }
  });
  return Status::success();
}

size_t replace_rows_cpu_workspace(const ReplaceRowsArgs& args, int) { return static_cast<size_t>(args.base.dims[0]); }

Status replace_rows_cpu(const ReplaceRowsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &rows = args.rows, &y = args.y;
  const size_t needed = replace_rows_cpu_workspace(args, context.threads());
  HEDDLE_TRY(check_replace_rows(args, context.workspace_bytes, needed));
  HEDDLE_TRY(check_numbers("replace_rows", rows, y));
  if (needed > 0) std::memset(context.workspace, 0, needed);
  for (int64_t i = 0; i < rows.dims[0]; i++) {
    const int64_t row = rows.as<int32_t>()[i];
    if (row < 0) continue;
    HEDDLE_CHECK(context.workspace[row] == std::byte{0}, "replace_rows",
                 "rows[" + std::to_string(i) + "] is " + std::to_string(row) + " again: expected each row at most once");
    context.workspace[row] = std::byte{1};
  }
  const size_t bytes = static_cast<size_t>(y.inner_elements()) * sizeof(float);
  parallel_rows(context, x.dims[0], y.inner_elements(), kGrain, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++)
      if (const int64_t row = rows.as<int32_t>()[i]; row >= 0) std::memcpy(row_of(y, row), row_of(x, i), bytes);
  });
  return Status::success();
}

// Squares of both matrices stay in the first level cache while one is read along rows and the other along columns.
Status swap_axes_cpu(const SwapAxesArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_swap_axes(args));
  const int64_t width = x.rank == 3 ? x.dims[2] : 1;
  if (x.rank == 3 && width > 1) {
    parallel_rows(context, y.dims[0] * y.dims[1], width, kGrain, [&](int64_t first, int64_t end) {
      for (int64_t at = first; at < end; at++) {
        const int64_t b = at / y.dims[1], a = at % y.dims[1];
        std::memcpy(row_of(y, b) + a * width, row_of(x, a) + b * width, static_cast<size_t>(width) * sizeof(float));
      }
    });
    return Status::success();
  }
  if (y.elements() == 0) return Status::success();
  constexpr int64_t kSide = 32;
  const int64_t across = (x.dims[1] + kSide - 1) / kSide, down = (x.dims[0] + kSide - 1) / kSide;
  parallel_rows(context, across, down * kSide * kSide, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t square = first * down; square < end * down; square++) {
      const int64_t b0 = square / down * kSide, a0 = square % down * kSide;
      const int64_t b1 = std::min(x.dims[1], b0 + kSide), a1 = std::min(x.dims[0], a0 + kSide);
      for (int64_t b = b0; b < b1; b++)
        for (int64_t a = a0; a < a1; a++) row_of(y, b)[a] = row_of(x, a)[b];
    }
  });
  return Status::success();
}

}  // namespace heddle
