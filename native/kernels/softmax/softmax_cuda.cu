#include "cuda/cuda_context.h"
#include "generated/softmax_ops.h"
#include "kernels/softmax/logit_row.cuh"
#include "kernels/softmax/softmax_checks.h"

namespace heddle {

namespace {

// log(sum), right also where sum is hardly above 1.
__device__ __forceinline__ float log_of(double sum) {
  const float high = static_cast<float>(sum);
  return logf(high) + static_cast<float>(sum - static_cast<double>(high)) / high;
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads) logit_parts_kernel(RowsOf<const float> x, RowCut cut, bool aligned, LogitSum* parts) {
  HEDDLE_LOGIT_SCRATCH(scratch);
  const RowPart part = part_of<Team>(cut);
  const RowValues<Team> values(x.row(part.row) + part.first, part.width, aligned);
  const LogitSum logits = sum_logits(values, part.width, -1, scratch);
  if (threadIdx.x == 0) parts[blockIdx.x] = logits;
}

template <class Team, bool kLog>
__global__ void __launch_bounds__(Team::kThreads)
    softmax_kernel(RowsOf<const float> x, RowsOf<float> y, RowCut cut, bool aligned, const LogitSum* parts) {
  HEDDLE_LOGIT_SCRATCH(scratch);
  const RowPart part = part_of<Team>(cut);
  if (part.row >= cut.rows) return;
  const RowValues<Team> values(x.row(part.row) + part.first, part.width, aligned);
  const LogitSum logits = Team::kIsBlock && cut.parts > 1 ? join_parts<Team>(parts + (part.row - cut.first_row) * cut.parts, cut.parts, scratch)
                                                          : sum_logits(values, part.width, -1, scratch);
  const float reference = logits.reference();
  const float rest = kLog ? log_of(logits.sum) : 1.0f / static_cast<float>(logits.sum);
  float* out = y.row(part.row) + part.first;
  each_four<Team>(part.width, [&](int slot, int64_t i, int count) {
    Four four = values.at(slot, i, count);
#pragma unroll
    for (int k = 0; k < 4; k++) four.v[k] = kLog ? (four.v[k] - logits.maximum) - rest : expf(four.v[k] - reference) * rest;
    store_four(out + i, four, count, aligned);
  });
}

template <class Team>
__global__ void __launch_bounds__(Team::kThreads) token_logprob_kernel(RowsOf<const float> logits, const int32_t* targets, float* logprob, RowCut cut,
                                                                       bool aligned, Failure beyond, LogitSum* parts, int32_t* counters) {
  HEDDLE_LOGIT_SCRATCH(scratch);
  HEDDLE_SHARED(int32_t, last, 1);
  const RowPart part = part_of<Team>(cut);
  if (part.row >= cut.rows) return;
  const int64_t target = targets[part.row];
  if (target < 0 || target >= cut.width) {
    if (Team::index() != 0 || part.first != 0) return;
    if (target >= 0) beyond.report(part.row, target, cut.width);
    logprob[part.row] = 0;
    return;
  }
  const float* row = logits.row(part.row);
  const RowValues<Team> values(row + part.first, part.width, aligned);
  LogitSum sum = sum_logits(values, part.width, -1, scratch);
  if constexpr (Team::kIsBlock) {
    if (cut.parts > 1) {
      const int64_t index = part.row - cut.first_row;
      LogitSum* of_row = parts + index * cut.parts;
      if (threadIdx.x == 0) of_row[part.first / kPartColumns] = sum;
      if (!last_block(counters + index, static_cast<int32_t>(cut.parts), last)) return;
      sum = join_parts<Team>(of_row, cut.parts, scratch);
    }
  }
  if (Team::index() == 0)
    logprob[part.row] = static_cast<float>(static_cast<double>(row[target]) - static_cast<double>(sum.maximum) - log(sum.sum));
}

template <bool kLog>
Status run_softmax(const char* op, const TensorView& x, const TensorView& y, CudaContext& context) {
  HEDDLE_TRY(check_softmax(op, x, y));
  const Rows rows = rows_of(x);
  const bool aligned = rows_aligned(x) && rows_aligned(y);
  auto* parts = reinterpret_cast<LogitSum*>(context.workspace);
  return with_row_parts(rows.count, rows.columns, [&](auto team, const RowCut& cut, const LaunchShape& shape) {
    using Team = decltype(team);
    if constexpr (Team::kIsBlock)
      if (cut.parts > 1) HEDDLE_TRY(context.launch(op, logit_parts_kernel<Team>, shape, device_rows<const float>(x), cut, rows_aligned(x), parts));
    return context.launch(op, softmax_kernel<Team, kLog>, shape, device_rows<const float>(x), device_rows<float>(y), cut, aligned, parts);
  });
}

}  // namespace

size_t softmax_cuda_workspace(const SoftmaxArgs& args, const DeviceLimits&) { return part_values(args.x.rows(), args.x.columns()) * sizeof(LogitSum); }
size_t log_softmax_cuda_workspace(const LogSoftmaxArgs& args, const DeviceLimits&) { return part_values(args.x.rows(), args.x.columns()) * sizeof(LogitSum); }
size_t token_logprob_cuda_workspace(const TokenLogprobArgs& args, const DeviceLimits&) {
  return part_values(args.logits.rows(), args.logits.columns()) * sizeof(LogitSum);
}

Status softmax_cuda(const SoftmaxArgs& args, CudaContext& context) { return run_softmax<false>("softmax", args.x, args.y, context); }
Status log_softmax_cuda(const LogSoftmaxArgs& args, CudaContext& context) { return run_softmax<true>("log_softmax", args.x, args.y, context); }

Status token_logprob_cuda(const TokenLogprobArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_token_logprob(args.logits, args.target, args.logprob));
  const Failure beyond = context.failure("[token_logprob] target[{0}] is {1}: expected less than {2}");
  auto* parts = reinterpret_cast<LogitSum*>(context.workspace);
  return with_row_parts(args.logits.dims[0], args.logits.dims[1], [&](auto team, const RowCut& cut, const LaunchShape& shape) {
    return context.launch("token_logprob", token_logprob_kernel<decltype(team)>, shape, device_rows<const float>(args.logits), args.target.as<int32_t>(),
                          args.logprob.as<float>(), cut, rows_aligned(args.logits), beyond, parts, context.counters);
  });
}

}  // namespace heddle
