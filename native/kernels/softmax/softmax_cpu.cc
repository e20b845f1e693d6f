#include <cmath>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/softmax_ops.h"
#include "kernels/softmax/softmax_checks.h"

#define HEDDLE_TARGET_FILE "kernels/softmax/softmax_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/softmax/logit_row.h"

namespace heddle::HEDDLE_TARGET {
namespace {

void softmax_row(const float* x, float* y, int64_t width) {
  const Vector top = broadcast(block_max(x, width));
  double total = 0;
  for (int64_t at = 0; at < width; at += kLogitBlock) {
    const int64_t end = width - at < kLogitBlock ? width : at + kLogitBlock;
    Vector sum[2] = {zero(), zero()};
    int64_t i = at;
    for (; i + 2 * kLanes <= end; i += 2 * kLanes)
      for (int part = 0; part < 2; part++) {
        const Vector e = exp(sub(load(x + i + part * kLanes), top));
        store(y + i + part * kLanes, e);
        sum[part] = add(sum[part], e);
      }
    for (; i < end; i += kLanes) {
      const int count = static_cast<int>(end - i < kLanes ? end - i : kLanes);
      const Vector e = exp(sub(count == kLanes ? load(x + i) : load_last(x + i, count), top));
      store_partial(y + i, e, count);
      sum[0] = add(sum[0], e);
    }
    total += reduce_add(add(sum[0], sum[1]));
  }
  const float factor = static_cast<float>(1.0 / total);
  for (int64_t i = 0; i < width; i++) y[i] *= factor;
}

void log_softmax_row(const float* x, float* y, int64_t width) {
  const LogitSum logits = sum_logits<false>(x, width);
  const float top = logits.maximum, rest = static_cast<float>(std::log(logits.sum));
  for (int64_t i = 0; i < width; i++) y[i] = (x[i] - top) - rest;
}

float logprob_of(const float* x, int64_t width, int64_t target) {
  const LogitSum logits = sum_logits<false>(x, width);
  return static_cast<float>(static_cast<double>(x[target]) - logits.maximum - std::log(logits.sum));
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kGrain = 8192;  // elements per chunk

void over_rows(CpuContext& context, const TensorView& from, const TensorView& to, void (*kernel)(const float*, float*, int64_t)) {
  const Rows x = rows_of(from), y = rows_of(to);
  parallel_rows(context, x.count, x.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) kernel(from.as<float>() + x.offset(row), to.as<float>() + y.offset(row), x.columns);
  });
}

}  // namespace

Status softmax_cpu(const SoftmaxArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_softmax("softmax", args.x, args.y));
  over_rows(context, args.x, args.y, HEDDLE_DISPATCH(softmax_row));
  return Status::success();
}

Status log_softmax_cpu(const LogSoftmaxArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_softmax("log_softmax", args.x, args.y));
  over_rows(context, args.x, args.y, HEDDLE_DISPATCH(log_softmax_row));
  return Status::success();
}

Status token_logprob_cpu(const TokenLogprobArgs& args, CpuContext& context) {
  const TensorView &logits = args.logits, &target = args.target, &logprob = args.logprob;
  HEDDLE_TRY(check_token_logprob(logits, target, logprob));
  for (int64_t row = 0; row < target.dims[0]; row++)
    if (target.as<int32_t>()[row] >= logits.dims[1])
      return fail(StatusCode::kInvalidArgument, "[token_logprob] target[" + std::to_string(row) + "] is " + std::to_string(target.as<int32_t>()[row]) +
                                                    ": expected less than " + std::to_string(logits.dims[1]));
  const auto kernel = HEDDLE_DISPATCH(logprob_of);
  parallel_rows(context, logits.dims[0], logits.dims[1], kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const int64_t index = target.as<int32_t>()[row];
      logprob.as<float>()[row] = index < 0 ? 0.0f : kernel(logits.row<float>(row), logits.dims[1], index);
    }
  });
  return Status::success();
}

}  // namespace heddle
#endif
