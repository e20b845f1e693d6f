// scatter_add_rows: each row of y is summed by one block for its columns, in rising order of i, whatever the others do.
#include "generated/layout_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/row_tiles.cuh"
#include "cuda/vocabulary.cuh"
#include "kernels/layout/layout_checks.h"

namespace heddle {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kDepth = 2;          // units of a thread
constexpr int kChained = 32;       // entries of a chain that are sorted; what a longer one names is found by reading all rows
constexpr int64_t kFewRows = 256;  // up to so many rows of x all blocks read `rows` through, without chains

struct Sums {
  const float* x;
  float* y;
  int64_t x_stride, y_stride, columns;
  int64_t y_rows, across;  // blocks beside each other on a row
  const int32_t* rows;
  int64_t count;
  // heads[n] is 1 + an i with rows[i] = n, links[i] 1 + another such i, 0 ends; nullptr: no chains.
  int32_t* heads;
  int32_t* links;
  Failure failure;
};

// In an order that depends on the run, so whoever follows a chain sorts it.
__global__ void __launch_bounds__(kThreads) chain_rows(Sums sums) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < sums.count; i += int64_t{gridDim.x} * kThreads) {
    const int32_t row = sums.rows[i];
    if (row >= sums.y_rows) sums.failure.report(i, row, sums.y_rows);
    if (row < 0 || row >= sums.y_rows) continue;
    sums.links[i] = atomicExch(&sums.heads[row], static_cast<int32_t>(i + 1));
  }
}

// The part of row n of y that a thread sums.
template <int Width>
struct Part {
  float sum[kDepth][Width] = {};
  int64_t column;

  __device__ explicit Part(int64_t tile) : column((tile * kDepth * kThreads + threadIdx.x) * Width) {}
  static constexpr int kApart = kThreads * Width;

  __device__ __forceinline__ void add(const Sums& sums, int64_t i) {
    const float* from = sums.x + i * sums.x_stride;
    float more[kDepth][Width];
#pragma unroll
    for (int d = 0; d < kDepth; d++) read_unit<Width>(from, column + d * kApart, sums.columns, more[d]);
#pragma unroll
    for (int d = 0; d < kDepth; d++)
#pragma unroll
      for (int c = 0; c < Width; c++) sum[d][c] += more[d][c];
  }
  __device__ __forceinline__ void add_listed(const Sums& sums, SharedPointer<int32_t> list, int count) {
#pragma unroll 4
    for (int k = 0; k < count; k++) add(sums, list[k]);
  }
  __device__ __forceinline__ void store(const Sums& sums, int64_t row) const {
    float* to = sums.y + row * sums.y_stride;
#pragma unroll
    for (int d = 0; d < kDepth; d++) write_unit<Width>(to, column + d * kApart, sums.columns, sum[d]);
  }
};

// The entries of the chain from `head` on, sorted, in list[0 .. count): count, or -1 when there are more than kChained.
__device__ int sorted_chain(const Sums& sums, int32_t head, SharedPointer<int32_t> list, SharedPointer<int32_t> met) {
  if (threadIdx.x == 0) {
    int count = 0;
    int32_t at = head;
    for (; at != 0 && count < kChained; at = sums.links[at - 1]) met[count++] = at - 1;
    met[kChained] = at != 0 ? -1 : count;
  }
  __syncthreads();
  const int count = met[kChained];
  if (static_cast<int>(threadIdx.x) < count) {
    const int32_t mine = met[threadIdx.x];
    int before = 0;
    for (int k = 0; k < count; k++) before += met[k] < mine;
    list[before] = mine;
  }
  __syncthreads();
  return count;
}

// Every i below count with rows[i] = row, kThreads candidates at a time.
template <int Width>
__device__ void add_found(const Sums& sums, int64_t row, Part<Width>& part, SharedPointer<int32_t> list, SharedPointer<int32_t> found) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int64_t base = 0; base < sums.count; base += kThreads) {
    const int64_t i = base + threadIdx.x;
    const bool named = i < sums.count && sums.rows[i] == row;
    const unsigned votes = __ballot_sync(kFullWarp, named);
    if (lane == 0) found[warp] = __popc(votes);
    __syncthreads();
    int before = 0, total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; w++) {
      before += w < warp ? found[w] : 0;
      total += found[w];
    }
    if (named) list[before + __popc(votes & ((1u << lane) - 1))] = static_cast<int32_t>(i);
    __syncthreads();
    part.add_listed(sums, list, total);
    __syncthreads();
  }
}

template <int Width>
__global__ void __launch_bounds__(kThreads) sum_rows(Sums sums) {
  HEDDLE_SHARED(int32_t, list, kThreads);
  HEDDLE_SHARED(int32_t, scratch, kChained + 1);
  if (sums.heads == nullptr && blockIdx.x == 0)
    for (int64_t i = threadIdx.x; i < sums.count; i += kThreads)
      if (sums.rows[i] >= sums.y_rows) sums.failure.report(i, sums.rows[i], sums.y_rows);
  for (int64_t at = blockIdx.x; at < sums.y_rows * sums.across; at += gridDim.x) {
    const int64_t row = at / sums.across;
    Part<Width> part(at - row * sums.across);
    if (sums.heads == nullptr) {
      add_found(sums, row, part, list, scratch);
    } else if (const int32_t head = sums.heads[row]; head != 0) {
      if (sums.links[head - 1] == 0) {
        part.add(sums, head - 1);
      } else {
        const int count = sorted_chain(sums, head, list, scratch);
        if (count < 0)
          add_found(sums, row, part, list, scratch);
        else
          part.add_listed(sums, list, count);
        __syncthreads();
      }
    }
    part.store(sums, row);
  }
}

}  // namespace

size_t scatter_add_rows_cuda_workspace(const ScatterAddRowsArgs& args, const DeviceLimits&) {
  return static_cast<size_t>(args.y.dims[0] + args.x.dims[0]) * sizeof(int32_t);
}

Status scatter_add_rows_cuda(const ScatterAddRowsArgs& args, CudaContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_numbered_rows("scatter_add_rows", x, args.rows, y));
  const size_t needed = scatter_add_rows_cuda_workspace(args, context.limits);
  HEDDLE_CHECK(context.workspace_bytes >= needed, "scatter_add_rows",
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  Sums sums{};
  sums.x = x.as<float>();
  sums.y = y.as<float>();
  sums.x_stride = x.rank == 1 ? 1 : x.leading_stride;
  sums.y_stride = y.rank == 1 ? 1 : y.leading_stride;
  sums.columns = y.inner_elements();
  sums.y_rows = y.dims[0];
  sums.rows = args.rows.as<int32_t>();
  sums.count = x.dims[0];
  sums.failure = context.failure("[scatter_add_rows] rows[{0}] is {1}: expected less than {2}");
  if (sums.count > kFewRows) {
    sums.heads = reinterpret_cast<int32_t*>(context.workspace);
    sums.links = sums.heads + sums.y_rows;
    HEDDLE_TRY(context.zero("scatter_add_rows", sums.heads, static_cast<size_t>(sums.y_rows) * sizeof(int32_t)));
    HEDDLE_TRY(context.launch("scatter_add_rows", chain_rows, {strided_grid(ceil_div(sums.count, kThreads), 4 * context.limits.multiprocessors), kThreads}, sums));
  }
  const bool aligned = is_aligned16(sums.x, sums.count > 1 ? sums.x_stride : 0) && is_aligned16(sums.y, sums.y_rows > 1 ? sums.y_stride : 0);
  sums.across = ceil_div(sums.columns, int64_t{kDepth} * kThreads * (aligned ? 4 : 1));
  const int64_t resident = int64_t{context.limits.multiprocessors} * (context.limits.threads_per_multiprocessor / kThreads);
  const int64_t blocks = sums.y_rows * sums.across;  // one at least looks at the row numbers
  return context.launch("scatter_add_rows", aligned ? sum_rows<4> : sum_rows<1>, {strided_grid(blocks > 0 ? blocks : 1, 2 * resident), kThreads}, sums);
}

}  // namespace heddle
