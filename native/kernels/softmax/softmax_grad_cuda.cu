// Gradients of softmax, log softmax and the logarithm of one token's probability. A result that lies over an operand is written
// when everything that the row's sums need has been read.
#include "cuda/cuda_context.h"
#include "cuda/fill_rows.cuh"
#include "generated/softmax_ops.h"
#include "kernels/softmax/logit_row.cuh"
#include "kernels/softmax/softmax_checks.h"

namespace heddle {

namespace {

constexpr int kMostThreads = 512;  // so that registers suffice

// The calling thread's share of the sum that a row's gradient needs: of dy for log softmax, of y dy for softmax.
template <class Team, bool kLog>
__device__ __forceinline__ double sum_upstream(const RowValues<Team>& y, const RowValues<Team>& dy, int64_t width, SharedPointer<double> scratch) {
  float sum = 0;
  each_four<Team>(width, [&](int slot, int64_t i, int count) {
    const Four four = y.at(slot, i, count), g = dy.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) sum = kLog ? sum + g.v[k] : fmaf(four.v[k], g.v[k], sum);
  });
  return Team::sum(static_cast<double>(sum), scratch);
}

template <class Team, bool kLog>
__global__ void __launch_bounds__(Team::kThreads)
    upstream_parts_kernel(RowsOf<const float> y, RowsOf<const float> dy, RowCut cut, bool aligned, double* parts) {
  HEDDLE_SHARED(double, scratch, 32);
  const RowPart part = part_of<Team>(cut);
  const RowValues<Team> values(y.row(part.row) + part.first, part.width, aligned), upstream(dy.row(part.row) + part.first, part.width, aligned);
  const double sum = sum_upstream<Team, kLog>(values, upstream, part.width, scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <class Team, bool kLog>
__global__ void __launch_bounds__(Team::kThreads)
    softmax_grad_kernel(RowsOf<const float> y, RowsOf<const float> dy, RowsOf<float> dx, RowCut cut, bool aligned, const double* parts) {
  HEDDLE_SHARED(double, scratch, 32);
  const RowPart part = part_of<Team>(cut);
  if (part.row >= cut.rows) return;
  const RowValues<Team> values(y.row(part.row) + part.first, part.width, aligned), upstream(dy.row(part.row) + part.first, part.width, aligned);
  float total = 0;
  if (Team::kIsBlock && cut.parts > 1) {
    const double* of_row = parts + (part.row - cut.first_row) * cut.parts;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < cut.parts; i += blockDim.x) sum += of_row[i];
    total = static_cast<float>(Team::sum(sum, scratch));
  } else {
    total = static_cast<float>(sum_upstream<Team, kLog>(values, upstream, part.width, scratch));
  }
  float* out = dx.row(part.row) + part.first;
  each_four<Team>(part.width, [&](int slot, int64_t i, int count) {
    const Four four = values.at(slot, i, count);
    Four g = upstream.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) g.v[k] = kLog ? g.v[k] - expf(four.v[k]) * total : four.v[k] * (g.v[k] - total);
    store_four(out + i, g, count, aligned);
  });
}

struct Picked {
  const int32_t* target;
  Failure beyond;

  // The column, or -1 where there is none; `reports`: the calling thread says what is wrong.
  __device__ __forceinline__ int64_t of(int64_t row, int64_t columns, bool reports) const {
    const int64_t column = target[row];
    if (column < columns) return column < 0 ? -1 : column;
    if (reports) beyond.report(row, column, columns);
    return -1;
  }
};

// `targets`: the picked logit of each row, which the next kernel writes over.
template <class Team>
__global__ void __launch_bounds__(Team::kThreads)
    picked_parts_kernel(RowsOf<const float> logits, Picked picked, RowCut cut, bool aligned, LogitSum* parts, float* targets) {
  HEDDLE_LOGIT_SCRATCH(scratch);
  const RowPart part = part_of<Team>(cut);
  const int64_t target = picked.of(part.row, cut.width, false);
  if (target < 0) return;
  const float* row = logits.row(part.row);
  const RowValues<Team> values(row + part.first, part.width, aligned);
  const LogitSum sum = sum_logits(values, part.width, target - part.first, scratch);
  if (threadIdx.x != 0) return;
  parts[blockIdx.x] = sum;
  if (part.first == 0) targets[part.row - cut.first_row] = row[target];
}

// Without its target the row sums to what 1 - p would lose to cancellation where p is near 1.
template <class Team>
__global__ void __launch_bounds__(Team::kThreads) token_logprob_grad_kernel(RowsOf<float> logits, Picked picked, const float* dlogprob, RowCut cut,
                                                                            bool aligned, const LogitSum* parts, const float* targets) {
  HEDDLE_LOGIT_SCRATCH(scratch);
  const RowPart part = part_of<Team>(cut);
  if (part.row >= cut.rows) return;
  const int64_t target = picked.of(part.row, cut.width, Team::index() == 0 && part.first == 0);
  float* row = logits.row(part.row);
  float* out = row + part.first;
  if (target < 0) {
    each_four<Team>(part.width, [&](int, int64_t i, int count) { store_four(out + i, Four{{0, 0, 0, 0}}, count, aligned); });
    return;
  }
  const RowValues<Team> values(out, part.width, aligned);
  LogitSum others = {0, 0};
  float picked_logit = 0;
  if (Team::kIsBlock && cut.parts > 1) {
    const int64_t index = part.row - cut.first_row;
    others = join_parts<Team>(parts + index * cut.parts, cut.parts, scratch);
    picked_logit = targets[index];
  } else {
    picked_logit = row[target];
    others = sum_logits(values, part.width, target, scratch);
    Team::sync();  // all have read the target
  }
  const float reference = others.reference(), upstream = dlogprob[part.row];
  const float sum = static_cast<float>(others.sum + static_cast<double>(expf(picked_logit - reference)));
  const float factor = -upstream / sum, of_target = upstream * (static_cast<float>(others.sum) / sum);
  each_four<Team>(part.width, [&](int slot, int64_t i, int count) {
    Four four = values.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] = part.first + i + k == target ? of_target : expf(four.v[k] - reference) * factor;
    store_four(out + i, four, count, aligned);
  });
}

struct OneHot {
  Picked picked;
  int64_t columns;

  __device__ __forceinline__ Four at(int64_t row, int64_t i, int) const {
    const int64_t column = picked.of(row, columns, i == 0);
    Four four;
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] = i + k == column ? 1.0f : 0.0f;
    return four;
  }
};

template <bool kLog>
Status run_softmax_grad(const char* op, const TensorView& y, const TensorView& dy, const TensorView& dx, CudaContext& context) {
  HEDDLE_TRY(check_like_dx(op, "y", y, dx));
  HEDDLE_TRY(check_like_dx(op, "dy", dy, dx));
  const Rows rows = rows_of(y);
  const RowsOf<const float> results = device_rows<const float>(y), upstream = device_rows<const float>(dy);
  const bool aligned = rows_aligned(y) && rows_aligned(dy) && rows_aligned(dx);
  auto* parts = reinterpret_cast<double*>(context.workspace);
  return with_row_parts<kMostThreads>(rows.count, rows.columns, [&](auto team, const RowCut& cut, const LaunchShape& shape) {
    using Team = decltype(team);
    if constexpr (Team::kIsBlock)
      if (cut.parts > 1) HEDDLE_TRY(context.launch(op, upstream_parts_kernel<Team, kLog>, shape, results, upstream, cut, aligned, parts));
    return context.launch(op, softmax_grad_kernel<Team, kLog>, shape, results, upstream, device_rows<float>(dx), cut, aligned, parts);
  });
}

}  // namespace

size_t softmax_grad_cuda_workspace(const SoftmaxGradArgs& args, const DeviceLimits&) {
  return part_values<kMostThreads>(args.y.rows(), args.y.columns()) * sizeof(double);
}
size_t log_softmax_grad_cuda_workspace(const LogSoftmaxGradArgs& args, const DeviceLimits&) {
  return part_values<kMostThreads>(args.y.rows(), args.y.columns()) * sizeof(double);
}
size_t token_logprob_grad_cuda_workspace(const TokenLogprobGradArgs& args, const DeviceLimits&) {
  const int64_t rows = args.logits.rows();
  return part_values<kMostThreads>(rows, args.logits.columns()) * sizeof(LogitSum) + static_cast<size_t>(rows_at_once(rows)) * sizeof(float);
}

Status softmax_grad_cuda(const SoftmaxGradArgs& args, CudaContext& context) {
  return run_softmax_grad<false>("softmax_grad", args.y, args.dy, args.dx, context);
}
Status log_softmax_grad_cuda(const LogSoftmaxGradArgs& args, CudaContext& context) {
  return run_softmax_grad<true>("log_softmax_grad", args.y, args.dy, args.dx, context);
}

Status token_logprob_grad_cuda(const TokenLogprobGradArgs& args, CudaContext& context) {
  const char* op = "token_logprob_grad";
  HEDDLE_TRY(check_target_rows(op, args.logits, args.target));
  HEDDLE_TRY(check_dlogprob(args.logits, args.dlogits, args.dlogprob));
  const int64_t rows = args.logits.dims[0], columns = args.logits.dims[1];
  const Picked picked = {args.target.as<int32_t>(), context.failure("[token_logprob_grad] target[{0}] is {1}: expected less than {2}")};
  const bool aligned = rows_aligned(args.logits);
  auto* parts = reinterpret_cast<LogitSum*>(context.workspace);
  auto* targets = reinterpret_cast<float*>(parts + part_values<kMostThreads>(rows, columns));
  return with_row_parts<kMostThreads>(rows, columns, [&](auto team, const RowCut& cut, const LaunchShape& shape) {
    using Team = decltype(team);
    if constexpr (Team::kIsBlock)
      if (cut.parts > 1)
        HEDDLE_TRY(context.launch(op, picked_parts_kernel<Team>, shape, device_rows<const float>(args.logits), picked, cut, aligned, parts, targets));
    return context.launch(op, token_logprob_grad_kernel<Team>, shape, device_rows<float>(args.logits), picked, args.dlogprob.as<float>(), cut, aligned, parts,
                          targets);
  });
}

Status one_hot_like_cuda(const OneHotLikeArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_target_rows("one_hot_like", args.y, args.target));
  HEDDLE_TRY(check_one_hot(args.x, args.y));
  const Picked picked = {args.target.as<int32_t>(), context.failure("[one_hot_like] target[{0}] is {1}: expected less than {2}")};
  return fill_rows("one_hot_like", args.y, OneHot{picked, args.y.dims[1]}, context);
}

}  // namespace heddle
