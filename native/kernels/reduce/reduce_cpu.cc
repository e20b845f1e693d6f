#include <cfloat>
#include <cmath>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/reduce_ops.h"
#include "kernels/reduce/reduce_checks.h"

#define HEDDLE_TARGET_FILE "kernels/reduce/reduce_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "kernels/softmax/logit_row.h"

namespace heddle::HEDDLE_TARGET {
namespace {

float block_sum(const float* x, int64_t count) {
  Vector sum[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int part = 0; part < 4; part++) sum[part] = add(sum[part], load(x + i + part * kLanes));
  for (; i + kLanes <= count; i += kLanes) sum[0] = add(sum[0], load(x + i));
  if (i < count) sum[0] = add(sum[0], load_partial(x + i, static_cast<int>(count - i)));
  return reduce_add(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
}

float reduce_row(ReduceKind kind, const float* x, int64_t count) {
  if (kind == ReduceKind::kMax) {
    bool nan = false;
    for (int64_t i = 0; i < count; i++) nan |= x[i] != x[i];
    return nan ? std::nanf("") : block_max(x, count);
  }
  double sum = 0;
  for (int64_t at = 0; at < count; at += kLogitBlock) sum += block_sum(x + at, count - at < kLogitBlock ? count - at : kLogitBlock);
  return static_cast<float>(kind == ReduceKind::kMean ? sum / static_cast<double>(count) : sum);
}

int32_t first_maximum(const float* x, int64_t count) {
  float best = -HUGE_VALF;
  int64_t block = 0;
  for (int64_t at = 0; at < count; at += kLogitBlock) {
    const float top = block_max(x + at, count - at < kLogitBlock ? count - at : kLogitBlock);
    if (top > best) {
      best = top;
      block = at;
    }
  }
  if (best == -HUGE_VALF) return 0;
  while (x[block] != best) block++;
  return static_cast<int32_t>(block);
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kGrain = 16384;  // elements per chunk

}  // namespace

Status reduce_cpu(const ReduceArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_reduced("reduce", args.x, args.y, DType::kF32));
  const auto kernel = HEDDLE_DISPATCH(reduce_row);
  const Rows x = rows_of(args.x);
  parallel_rows(context, x.count, x.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) args.y.as<float>()[row] = kernel(args.kind, args.x.as<float>() + x.offset(row), x.columns);
  });
  return Status::success();
}

Status argmax_cpu(const ArgmaxArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_argmax(args.x, args.y));
  const Rows x = rows_of(args.x);
  const auto kernel = HEDDLE_DISPATCH(first_maximum);
  parallel_rows(context, x.count, x.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) args.y.as<int32_t>()[row] = kernel(args.x.as<float>() + x.offset(row), x.columns);
  });
  return Status::success();
}

}  // namespace heddle
#endif
