// Products with a matrix of few numbers, rows one after the other, and the gradients of them: a dense gradient of the matrix is never made.
#include <algorithm>
#include <cstring>

#include "cpu/cpu_context.h"
#include "cpu/rows.h"
#include "generated/sparse_ops.h"
#include "kernels/sparse/sparse_checks.h"

namespace heddle {

namespace {

constexpr int64_t kGrain = 32768;  // multiplications per chunk
constexpr int kTokens = 4;         // that read the matrix together

// [outputs, inputs] with `count` numbers; row n has those from starts[n] to before starts[n + 1].
struct Places {
  const int32_t* starts;
  const uint16_t* columns;
  int64_t outputs, count;
};

Status check_places(const char* op, const TensorView& starts, const TensorView& columns, int64_t outputs, int64_t inputs, Places& places) {
  HEDDLE_TRY(check_place_operands(op, starts, columns, outputs));
  places = {starts.as<int32_t>(), columns.as<uint16_t>(), outputs, columns.dims[0] / 2};
  HEDDLE_CHECK(places.starts[0] == 0 && places.starts[outputs] == places.count, op,
               "starts goes from " + std::to_string(places.starts[0]) + " to " + std::to_string(places.starts[outputs]) + ": expected 0 to " +
                   std::to_string(places.count) + ", the number of columns");
  for (int64_t n = 0; n < outputs; n++)
    HEDDLE_CHECK(places.starts[n] <= places.starts[n + 1], op,
                 "starts[" + std::to_string(n + 1) + "] is " + std::to_string(places.starts[n + 1]) + ": expected at least " + std::to_string(places.starts[n]));
  for (int64_t j = 0; j < places.count; j++)
    HEDDLE_CHECK(places.columns[j] < inputs, op,
                 "columns[" + std::to_string(j) + "] is " + std::to_string(places.columns[j]) + ": expected less than " + std::to_string(inputs));
  return Status::success();
}

}  // namespace

Status sparse_linear_cpu(const SparseLinearArgs& args, CpuContext& context) {
  const char* op = "sparse_linear";
  const TensorView &x = args.x, &y = args.y;
  HEDDLE_TRY(check_matrix(op, "x", x));
  HEDDLE_TRY(check_matrix(op, "base", args.base));
  HEDDLE_TRY(check_over_base(op, args.base, y));
  HEDDLE_TRY(check_same_tokens(op, "base", x, y));
  Places places;
  HEDDLE_TRY(check_places(op, args.starts, args.columns, y.dims[1], x.dims[1], places));
  HEDDLE_TRY(check_values(op, "values", args.values, places.count));
  const float* values = args.values.as<float>();
  const int64_t tokens = x.dims[0], groups = (tokens + kTokens - 1) / kTokens;
  parallel_rows(context, groups, kTokens * places.count, kGrain, [&](int64_t first, int64_t end) {
    for (int64_t group = first; group < end; group++) {
      // The last group goes over its last token more than once, so that every token is summed by the same instructions.
      const float* row[kTokens];
      for (int k = 0; k < kTokens; k++) row[k] = x.row<float>(std::min(group * kTokens + k, tokens - 1));
      const int64_t count = std::min<int64_t>(kTokens, tokens - group * kTokens);
      for (int64_t n = 0; n < places.outputs; n++) {
        float sum[kTokens] = {};
        for (int32_t j = places.starts[n]; j < places.starts[n + 1]; j++)
          for (int k = 0; k < kTokens; k++) sum[k] += values[j] * row[k][places.columns[j]];
        for (int64_t k = 0; k < count; k++) y.row<float>(group * kTokens + k)[n] += sum[k];
      }
    }
  });
  return Status::success();
}

Status sparse_linear_grad_x_cpu(const SparseLinearGradXArgs& args, CpuContext& context) {
  const char* op = "sparse_linear_grad_x";
  const TensorView &dy = args.dy, &dx = args.dx;
  HEDDLE_TRY(check_matrix(op, "dy", dy));
  HEDDLE_TRY(check_matrix(op, "dx", dx));
  HEDDLE_TRY(check_same_tokens(op, "dx", dy, dx));
  Places places;
  HEDDLE_TRY(check_places(op, args.starts, args.columns, dy.dims[1], dx.dims[1], places));
  HEDDLE_TRY(check_values(op, "values", args.values, places.count));
  const float* values = args.values.as<float>();
  parallel_rows(context, dy.dims[0], places.count + dx.dims[1], kGrain, [&](int64_t first, int64_t end) {
    for (int64_t token = first; token < end; token++) {
      const float* upstream = dy.row<float>(token);
      float* sum = dx.row<float>(token);
      std::memset(sum, 0, static_cast<size_t>(dx.dims[1]) * sizeof(float));
      for (int64_t n = 0; n < places.outputs; n++) {
        const float from = upstream[n];
        for (int32_t j = places.starts[n]; j < places.starts[n + 1]; j++) sum[places.columns[j]] += values[j] * from;
      }
    }
  });
  return Status::success();
}

// Chunks are rows of the matrix, so that each sum has the order of the tokens whatever the threads.
Status sparse_linear_grad_values_cpu(const SparseLinearGradValuesArgs& args, CpuContext& context) {
  const char* op = "sparse_linear_grad_values";
  const TensorView &x = args.x, &dy = args.dy;
  HEDDLE_TRY(check_matrix(op, "x", x));
  HEDDLE_TRY(check_matrix(op, "dy", dy));
  HEDDLE_TRY(check_same_tokens(op, "dy", x, dy));
  Places places;
  HEDDLE_TRY(check_places(op, args.starts, args.columns, dy.dims[1], x.dims[1], places));
  HEDDLE_TRY(check_values(op, "dvalues", args.dvalues, places.count));
  float* sums = args.dvalues.as<float>();
  const int64_t tokens = x.dims[0], perRow = places.outputs > 0 ? places.count / places.outputs + 1 : 1;
  parallel_rows(context, places.outputs, perRow * (tokens + 1), kGrain, [&](int64_t first, int64_t end) {
    const int32_t begin = places.starts[first], last = places.starts[end];
    std::memset(sums + begin, 0, static_cast<size_t>(last - begin) * sizeof(float));
    for (int64_t token = 0; token < tokens; token++) {
      const float *upstream = dy.row<float>(token), *row = x.row<float>(token);
      for (int64_t n = first; n < end; n++) {
        const float from = upstream[n];
        for (int32_t j = places.starts[n]; j < places.starts[n + 1]; j++) sums[j] += from * row[places.columns[j]];
      }
    }
  });
  return Status::success();
}

}  // namespace heddle
