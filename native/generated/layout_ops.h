// Written by tools/generate_ops.mjs from the *.ops.json files. Do not edit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "core/tensor_view.h"

#pragma GCC visibility push(hidden)
namespace heddle {

struct CpuContext;
struct CudaContext;
struct DeviceLimits;

// y[r] = a[r] | b[r] | c[r] | d[r] side by side; f32 [rows, columns] each, rows may be strided
struct ConcatColumnsArgs {
  TensorView a;
  TensorView b;  // optional
  TensorView c;  // optional
  TensorView d;  // optional
  TensorView y;  // output
};
Status concat_columns_cpu(const ConcatColumnsArgs& args, CpuContext& context);
Status concat_columns_cuda(const ConcatColumnsArgs& args, CudaContext& context);

// y = the rows of a, then those of b; f32, equal inner dimensions, rows may be strided
struct ConcatRowsArgs {
  TensorView a;
  TensorView b;
  TensorView y;  // output
};
Status concat_rows_cpu(const ConcatRowsArgs& args, CpuContext& context);
Status concat_rows_cuda(const ConcatRowsArgs& args, CudaContext& context);

// y[from + r] = x[r], or with at_end y[rows(y) - rows(x) - from + r]; other rows are 0; f32, rows may be strided
struct PadRowsArgs {
  TensorView x;
  TensorView y;  // output
  int64_t from;
  bool at_end;
};
Status pad_rows_cpu(const PadRowsArgs& args, CpuContext& context);
Status pad_rows_cuda(const PadRowsArgs& args, CudaContext& context);

// y = base with y[rows[i]] = x[i]; negative rows are skipped, no row may be named twice; f32
struct ReplaceRowsArgs {
  TensorView base;
  TensorView x;
  TensorView rows;
  TensorView y;  // output, in place over base
};
Status replace_rows_cpu(const ReplaceRowsArgs& args, CpuContext& context);
size_t replace_rows_cpu_workspace(const ReplaceRowsArgs& args, int threads);
Status replace_rows_cuda(const ReplaceRowsArgs& args, CudaContext& context);
size_t replace_rows_cuda_workspace(const ReplaceRowsArgs& args, const DeviceLimits& limits);

// y[n, ..] = sum of x[i, ..] over all i with rows[i] = n, in rising order of i; negative rows are skipped; f32
struct ScatterAddRowsArgs {
  TensorView x;
  TensorView rows;
  TensorView y;  // output
};
Status scatter_add_rows_cpu(const ScatterAddRowsArgs& args, CpuContext& context);
Status scatter_add_rows_cuda(const ScatterAddRowsArgs& args, CudaContext& context);
size_t scatter_add_rows_cuda_workspace(const ScatterAddRowsArgs& args, const DeviceLimits& limits);

// y[r] = x[from + r], or with at_end x[rows(x) - rows(y) - from + r]; f32, rows may be strided
struct SliceRowsArgs {
  TensorView x;
  TensorView y;  // output
  int64_t from;
  bool at_end;
};
Status slice_rows_cpu(const SliceRowsArgs& args, CpuContext& context);
Status slice_rows_cuda(const SliceRowsArgs& args, CudaContext& context);

// y[b, a, c] = x[a, b, c], or y[b, a] = x[a, b]; f32, the leading dimension may be strided
struct SwapAxesArgs {
  TensorView x;
  TensorView y;  // output
};
Status swap_axes_cpu(const SwapAxesArgs& args, CpuContext& context);
Status swap_axes_cuda(const SwapAxesArgs& args, CudaContext& context);

}  // namespace heddle
#pragma GCC visibility pop
