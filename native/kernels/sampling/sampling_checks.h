// What sample and advance verify of their operands' shapes, on every device.
#pragma once
#include <string>

#include "core/check.h"
#include "core/status.h"
#include "generated/sampling_ops.h"
#include "kernels/sampling/sampling_layout.h"

namespace heddle {

inline Status check_sample_table(const char* name, const TensorView& table, DType dtype, int64_t rows, int64_t columns) {
  const bool one = columns == 0;  // columns 0: a plain list
  HEDDLE_CHECK(table.rank == (one ? 1 : 2) && table.dtype == dtype && table.dense() && table.dims[0] == rows && (one || table.dims[1] == columns), "sample",
               std::string(name) + " is " + describe(table) + ": expected " + dtype_name(dtype) + " [" + std::to_string(rows) + (one ? "]" : ", " + std::to_string(columns) + "]"));
  return Status::success();
}

inline Status check_sample(const SampleArgs& args) {
  const TensorView& logits = args.logits;
  HEDDLE_CHECK(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dims[1] > 0 && logits.dims[1] <= (1 << 30), "sample",
               "logits is " + describe(logits) + ": expected f32 [rows, vocabulary]");
  const int64_t rows = logits.dims[0];
  HEDDLE_TRY(check_sample_table("positions", args.positions, DType::kI32, rows, 0));
  HEDDLE_TRY(check_sample_table("controls", args.controls, DType::kF32, rows, kControlColumns));
  HEDDLE_TRY(check_sample_table("integers", args.integers, DType::kI32, rows, kIntegerColumns));
  HEDDLE_TRY(check_sample_table("token", args.token, DType::kI32, rows, 0));
  HEDDLE_TRY(check_sample_table("logprob", args.logprob, DType::kF32, rows, 0));
  for (const TensorView* table : {&args.history, &args.history_state, &args.bias_tokens, &args.bias_values, &args.top_tokens, &args.top_logprobs})
    HEDDLE_CHECK(table->rank == 2 && table->dense() && table->dtype == (table == &args.bias_values || table == &args.top_logprobs ? DType::kF32 : DType::kI32), "sample",
                 "a table is " + describe(*table) + ": expected two dimensions, f32 for bias_values and top_logprobs, i32 otherwise");
  HEDDLE_CHECK(args.history_state.dims[0] == args.history.dims[0] && args.history_state.dims[1] == kHistoryStateColumns, "sample",
               "history is " + describe(args.history) + " but history_state is " + describe(args.history_state) + ": expected [slots, 2]");
  HEDDLE_CHECK(args.bias_tokens.dims[0] == rows && args.bias_values.dims[0] == rows && args.bias_tokens.dims[1] == args.bias_values.dims[1], "sample",
               "bias_tokens is " + describe(args.bias_tokens) + ", bias_values is " + describe(args.bias_values) + ": expected [rows, biases]");
  HEDDLE_CHECK(args.top_tokens.dims[0] == rows && args.top_logprobs.dims[0] == rows && args.top_tokens.dims[1] == args.top_logprobs.dims[1], "sample",
               "top_tokens is " + describe(args.top_tokens) + ", top_logprobs is " + describe(args.top_logprobs) + ": expected [rows, tops]");
  return Status::success();
}

inline Status check_advance_list(const char* name, const TensorView& list, int64_t rows) {
  HEDDLE_CHECK(list.rank == 1 && list.dtype == DType::kI32 && list.dims[0] == rows, "advance",
               std::string(name) + " is " + describe(list) + ": expected i32 [" + std::to_string(rows) + "]");
  return Status::success();
}

inline Status check_advance_table(const char* name, const TensorView& table, int64_t rows, int64_t columns) {
  HEDDLE_CHECK(table.rank == 2 && table.dtype == DType::kI32 && table.dense() && table.dims[0] == rows && table.dims[1] == columns, "advance",
               std::string(name) + " is " + describe(table) + ": expected i32 [" + std::to_string(rows) + ", " + std::to_string(columns) + "]");
  return Status::success();
}

inline Status check_advance(const AdvanceArgs& args) {
  HEDDLE_CHECK(args.token.rank == 1, "advance", "token is " + describe(args.token) + ": expected i32 [rows]");
  const int64_t rows = args.token.dims[0];
  HEDDLE_TRY(check_advance_list("token", args.token, rows));
  HEDDLE_TRY(check_advance_list("positions", args.positions, rows));
  HEDDLE_TRY(check_advance_table("integers", args.integers, rows, kIntegerColumns));
  HEDDLE_TRY(check_advance_table("history", args.history, args.history.dims[0], args.history.dims[1]));
  HEDDLE_TRY(check_advance_table("history_state", args.history_state, args.history.dims[0], kHistoryStateColumns));
  HEDDLE_TRY(check_advance_table("stop_tokens", args.stop_tokens, rows, args.stop_tokens.dims[1]));
  HEDDLE_TRY(check_advance_list("next_token", args.next_token, rows));
  HEDDLE_TRY(check_advance_list("next_position", args.next_position, rows));
  HEDDLE_TRY(check_advance_list("state", args.state, rows));
  return check_advance_list("running", args.running, 1);
}

}  // namespace heddle
