#include <algorithm>
#include <cstring>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "cpu/targets.h"
#include "generated/reduce_ops.h"
#include "kernels/reduce/reduce_checks.h"

#define HEDDLE_TARGET_FILE "kernels/reduce/repeat_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {
namespace {

void add_to(const float* x, float* sum, int64_t count) {
  for (int64_t i = 0; i < count; i++) sum[i] += x[i];
}

void add_to_wide(const float* x, double* sum, int64_t count) {
  for (int64_t i = 0; i < count; i++) sum[i] += static_cast<double>(x[i]);
}

}  // namespace
}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr int64_t kColumns = 64;  // per chunk: the sums of a chunk are two small arrays
constexpr int64_t kRows = 128;    // rows summed in f32 before they join the f64 sum
constexpr int64_t kInline = 32768;
constexpr int64_t kGrain = 16384;

}  // namespace

Status sum_rows_cpu(const SumRowsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_sum_rows(x, y));
  const auto add = HEDDLE_DISPATCH(add_to);
  const auto add_wide = HEDDLE_DISPATCH(add_to_wide);
  const Rows rows = rows_of(x);
  const int64_t columns = rows.columns, chunks = (columns + kColumns - 1) / kColumns;
  const auto sum = [&](int64_t chunk) {
    const int64_t first = chunk * kColumns, count = std::min(kColumns, columns - first);
    double total[kColumns] = {};
    for (int64_t begin = 0; begin < rows.count; begin += kRows) {
      float part[kColumns] = {};
      const int64_t end = std::min(rows.count, begin + kRows);
      for (int64_t row = begin; row < end; row++) add(x.as<float>() + rows.offset(row) + first, part, count);
      add_wide(part, total, count);
    }
    float* out = y.as<float>() + first;
    for (int64_t i = 0; i < count; i++) out[i] = static_cast<float>(total[i]);
  };
  if (rows.count * columns <= kInline)
    for (int64_t chunk = 0; chunk < chunks; chunk++) sum(chunk);
  else
    context.parallel(chunks, [&](int64_t chunk, int) { sum(chunk); });
  return Status::success();
}

Status repeat_rows_cpu(const RepeatRowsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_repeat_rows(x, y));
  const Rows rows = rows_of(y);
  parallel_rows(context, rows.count, rows.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++)
      std::memcpy(y.as<float>() + rows.offset(row), x.as<float>(), static_cast<size_t>(rows.columns) * sizeof(float));
  });
  return Status::success();
}

Status repeat_columns_cpu(const RepeatColumnsArgs& args, CpuContext& context) {
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_repeat_columns(x, y));
  const Rows rows = rows_of(y);
  const bool dense = x.dense();
  const int64_t inner = x.inner_elements();
  parallel_rows(context, rows.count, rows.columns, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      const int64_t at = dense ? row : row / inner * x.leading_stride + row % inner;
      float* out = y.as<float>() + rows.offset(row);
      std::fill(out, out + rows.columns, x.as<float>()[at]);
    }
  });
  return Status::success();
}

}  // namespace heddle
#endif
