// Gradients of softmax, log softmax and the logarithm of one token's probability.
#include <cmath>
#include <cstring>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/softmax_ops.h"
#include "kernels/softmax/softmax_checks.h"

#define HEDDLE_TARGET_FILE "kernels/softmax/softmax_grad_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/softmax/logit_row.h"

namespace heddle::HEDDLE_TARGET {
namespace {

// Sum of term(i, count) over the vectors of a row: f32 lanes within a block, f64 from block to block.
template <class Term>
HEDDLE_INLINE double sum_terms(int64_t width, const Term& term) {
  double total = 0;
  for (int64_t at = 0; at < width; at += kLogitBlock) {
    const int64_t end = width - at < kLogitBlock ? width : at + kLogitBlock;
    Vector sum[4] = {zero(), zero(), zero(), zero()};
    int64_t i = at;
    for (; i + 4 * kLanes <= end; i += 4 * kLanes)
      for (int part = 0; part < 4; part++) sum[part] = add(sum[part], term(i + part * kLanes, kLanes));
    for (; i < end; i += kLanes) sum[0] = add(sum[0], term(i, static_cast<int>(end - i < kLanes ? end - i : kLanes)));
    total += reduce_add(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
  }
  return total;
}

HEDDLE_INLINE Vector load_some(const float* p, int count) { return count == kLanes ? load(p) : load_partial(p, count); }

// dx may lie over dy in each of these.
void softmax_grad_row(const float* y, const float* dy, float* dx, int64_t width) {
  const float mean = static_cast<float>(
      sum_terms(width, [&](int64_t i, int count) { return mul(load_some(y + i, count), load_some(dy + i, count)); }));
  for (int64_t i = 0; i < width; i++) dx[i] = y[i] * (dy[i] - mean);
}

void log_softmax_grad_row(const float* y, const float* dy, float* dx, int64_t width) {
  const Vector total = broadcast(static_cast<float>(sum_terms(width, [&](int64_t i, int count) { return load_some(dy + i, count); })));
  for (int64_t i = 0; i < width; i += kLanes) {
    const int count = static_cast<int>(width - i < kLanes ? width - i : kLanes);
    const Vector v = sub(load_some(dy + i, count), mul(exp(load_some(y + i, count)), total));
    store_partial(dx + i, v, count);
  }
}

// Over the logits themselves. Without its target the row sums to what 1 - p would lose to cancellation where p is near 1.
void logprob_grad_row(float* x, int64_t width, int64_t target, float upstream) {
  const LogitSum logits = sum_logits<false>(x, width);
  const Vector top = broadcast(logits.maximum), factor = broadcast(static_cast<float>(-upstream / logits.sum));
  const bool possible = x[target] == x[target];
  x[target] = -HUGE_VALF;
  const double rest = sum_terms(width, [&](int64_t i, int count) {
    const Vector e = exp(sub(count == kLanes ? load(x + i) : load_last(x + i, count), top));
    store_partial(x + i, mul(e, factor), count);
    return e;
  });
  x[target] = possible ? static_cast<float>(upstream * (rest / logits.sum)) : std::nanf("");
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kGrain = 8192;  // elements per chunk

Status check_targets(const char* op, const TensorView& rows, const TensorView& target) {
  HEDDLE_TRY(check_target_rows(op, rows, target));
  for (int64_t row = 0; row < target.dims[0]; row++)
    if (target.as<int32_t>()[row] >= rows.dims[1])
      return fail(StatusCode::kInvalidArgument, std::string("[") + op + "] target[" + std::to_string(row) + "] is " +
                                                    std::to_string(target.as<int32_t>()[row]) + ": expected less than " + std::to_string(rows.dims[1]));
  return Status::success();
}

void over_rows(CpuContext& context, const TensorView& result, const TensorView& upstream, const TensorView& to,
               void (*kernel)(const float*, const float*, float*, int64_t)) {
  const Rows y = rows_of(result), dy = rows_of(upstream), dx = rows_of(to);
  parallel_rows(context, y.count, y.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      kernel(result.as<float>() + y.offset(row), upstream.as<float>() + dy.offset(row), to.as<float>() + dx.offset(row), y.columns);
  });
}

}  // namespace

Status softmax_grad_cpu(const SoftmaxGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_like_dx("softmax_grad", "y", args.y, args.dx));
  HEDDLE_TRY(check_like_dx("softmax_grad", "dy", args.dy, args.dx));
  over_rows(context, args.y, args.dy, args.dx, HEDDLE_DISPATCH(softmax_grad_row));
  return Status::success();
}

Status log_softmax_grad_cpu(const LogSoftmaxGradArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_like_dx("log_softmax_grad", "y", args.y, args.dx));
  HEDDLE_TRY(check_like_dx("log_softmax_grad", "dy", args.dy, args.dx));
  over_rows(context, args.y, args.dy, args.dx, HEDDLE_DISPATCH(log_softmax_grad_row));
  return Status::success();
}

Status token_logprob_grad_cpu(const TokenLogprobGradArgs& args, CpuContext& context) {
  const TensorView &logits = args.logits, &dlogprob = args.dlogprob;
  HEDDLE_TRY(check_targets("token_logprob_grad", logits, args.target));
  HEDDLE_TRY(check_dlogprob(logits, args.dlogits, dlogprob));
  const auto kernel = HEDDLE_DISPATCH(logprob_grad_row);
  parallel_rows(context, logits.dims[0], logits.dims[1], kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const int64_t target = args.target.as<int32_t>()[row];
      float* x = logits.row<float>(row);
      if (target < 0)
        std::memset(x, 0, sizeof(float) * static_cast<size_t>(logits.dims[1]));
      else
        kernel(x, logits.dims[1], target, dlogprob.as<float>()[row]);
    }
  });
  return Status::success();
}

Status one_hot_like_cpu(const OneHotLikeArgs& args, CpuContext& context) {
  const TensorView& y = args.y;
  HEDDLE_TRY(check_targets("one_hot_like", y, args.target));
  HEDDLE_TRY(check_one_hot(args.x, y));
  parallel_rows(context, y.dims[0], y.dims[1], kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const int64_t target = args.target.as<int32_t>()[row];
      std::memset(y.row<float>(row), 0, sizeof(float) * static_cast<size_t>(y.dims[1]));
      if (target >= 0) y.row<float>(row)[target] = 1.0f;
    }
  });
  return Status::success();
}

}  // namespace heddle
#endif
