// Ops that move whole rows, each read and written once.
#include "generated/layout_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/move_rows.cuh"
#include "cuda/vocabulary.cuh"
#include "kernels/layout/layout_checks.h"

namespace heddle {
namespace {

// Rows `begin` to `end` of y are those of `inside`; the ones below are those of `below`, and all others zeros.
struct Window {
  ByteRows inside, below, y;
  int64_t begin, end;
  uint64_t alignment() const { return inside.alignment() | below.alignment() | y.alignment(); }
  __device__ Move operator()(int64_t row) const {
    if (row >= begin && row < end) return {inside.at(row - begin), y.at(row)};
    return {row >= end && below.data != nullptr ? below.at(row - end) : nullptr, y.at(row)};
  }
};

constexpr ByteRows kNothing{nullptr, 0};

// ---- replace_rows ----

// claims[n], zero before, becomes 1 + the i that replaces row n. Of several only one gets it, the others are refused.
__global__ void claim_rows(const int32_t* rows, int64_t count, int64_t limit, int32_t* claims, Failure beyond, Failure again) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    const int32_t row = rows[i];
    if (row < 0) continue;
    if (row >= limit) {
      beyond.report(i, row, limit);
      continue;
    }
    const int32_t before = atomicCAS(&claims[row], 0, static_cast<int32_t>(i + 1));
    if (before != 0) again.report(i >= before ? i : before - 1, row);
  }
}

struct ClaimedRows {
  ByteRows x, y;
  const int32_t* rows;
  const int32_t* claims;
  int64_t limit;
  uint64_t alignment() const { return x.alignment() | y.alignment(); }
  __device__ Move operator()(int64_t i) const {
    const int32_t row = rows[i];
    const bool mine = row >= 0 && row < limit && claims[row] == i + 1;
    return {x.at(i), mine ? y.at(row) : nullptr};
  }
};

}  // namespace

Status concat_rows_cuda(const ConcatRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_concat_rows(args));
  return move_rows<sizeof(float)>("concat_rows", context, args.y.dims[0], row_bytes(args.y),
                                  Window{byte_rows(args.a), byte_rows(args.b), byte_rows(args.y), 0, args.a.dims[0]});
}

Status slice_rows_cuda(const SliceRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_window("slice_rows", args.y, args.x, args.from));
  const TensorView &x = args.x, &y = args.y;
  const int64_t first = args.at_end ? x.dims[0] - y.dims[0] - args.from : args.from;
  const ByteRows rows = byte_rows(x), from{rows.at(first), rows.stride};
  if (x.dense() && y.dense()) return context.copy("slice_rows", y.data, from.data, static_cast<size_t>(y.elements()) * sizeof(float));
  return move_rows<sizeof(float)>("slice_rows", context, y.dims[0], row_bytes(y), Window{from, kNothing, byte_rows(y), 0, y.dims[0]});
}

Status pad_rows_cuda(const PadRowsArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_window("pad_rows", args.x, args.y, args.from));
  const int64_t rows = args.x.dims[0], first = args.at_end ? args.y.dims[0] - rows - args.from : args.from;
  return move_rows<sizeof(float)>("pad_rows", context, args.y.dims[0], row_bytes(args.y),
                                  Window{byte_rows(args.x), kNothing, byte_rows(args.y), first, first + rows});
}

size_t replace_rows_cuda_workspace(const ReplaceRowsArgs& args, const DeviceLimits&) { return static_cast<size_t>(args.base.dims[0]) * sizeof(int32_t); }

Status replace_rows_cuda(const ReplaceRowsArgs& args, CudaContext& context) {
  const size_t needed = replace_rows_cuda_workspace(args, context.limits);
  HEDDLE_TRY(check_replace_rows(args, context.workspace_bytes, needed));
  const int64_t count = args.x.dims[0], limit = args.y.dims[0];
  if (count == 0) return Status::success();
  int32_t* claims = reinterpret_cast<int32_t*>(context.workspace);
  const int32_t* rows = args.rows.as<int32_t>();
  HEDDLE_TRY(context.zero("replace_rows", claims, needed));
  const Failure beyond = context.failure("[replace_rows] rows[{0}] is {1}: expected less than {2}");
  const Failure again = context.failure("[replace_rows] rows[{0}] is {1} again: expected each row at most once");
  HEDDLE_TRY(context.launch("replace_rows", claim_rows, {strided_grid(ceil_div(count, kTileThreads), 4 * context.limits.multiprocessors), kTileThreads}, rows, count,
                            limit, claims, beyond, again));
  return move_rows<sizeof(float)>("replace_rows", context, count, row_bytes(args.y), ClaimedRows{byte_rows(args.x), byte_rows(args.y), rows, claims, limit});
}

}  // namespace heddle
