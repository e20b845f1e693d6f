#include "core/check.h"
#include "cpu/cpu_context.h"
#include "generated/sampling_ops.h"
#include "kernels/sampling/sampling_checks.h"
#include "kernels/sampling/sampling_layout.h"

namespace heddle {

namespace {

Status refuse(int64_t row, const std::string& what) { return fail(StatusCode::kInvalidArgument, "[advance] row " + std::to_string(row) + ": " + what); }

}  // namespace

// A few dozen rows of integers: not worth a second thread.
Status advance_cpu(const AdvanceArgs& args, CpuContext&) {
  HEDDLE_TRY(check_advance(args));
  const int64_t slots = args.history.dims[0], capacity = args.history.dims[1], stops = args.stop_tokens.dims[1];
  int32_t running = 0;
  for (int64_t row = 0; row < args.token.dims[0]; row++) {
    int32_t &next_token = args.next_token.as<int32_t>()[row], &next_position = args.next_position.as<int32_t>()[row], &state = args.state.as<int32_t>()[row];
    const int32_t token = args.token.as<int32_t>()[row], position = args.positions.as<int32_t>()[row];
    const int32_t* integers = args.integers.as<int32_t>() + row * kIntegerColumns;
    next_token = next_position = -1;
    state = kRunning;
    if (position < 0) continue;
    if (token < 0) return refuse(row, "its token is " + std::to_string(token) + ": expected at least 0");
    const int32_t slot = integers[kHistorySlot];
    if (slot < 0 || slot >= slots) return refuse(row, "its history slot is " + std::to_string(slot) + ": expected 0 to " + std::to_string(slots - 1));
    int32_t& length = args.history_state.as<int32_t>()[int64_t{slot} * kHistoryStateColumns + kTotalLength];
    if (length < 0 || length >= capacity)
      return refuse(row, "its history has length " + std::to_string(length) + ": expected room for one more token in " + std::to_string(capacity));
    args.history.as<int32_t>()[slot * capacity + length] = token;
    length++;

    if (length >= integers[kMaxLength]) state = kLengthReached;
    const int32_t* stop = args.stop_tokens.as<int32_t>() + row * stops;
    for (int64_t i = 0; i < stops; i++)
      if (stop[i] == token) state = kStopped;
    if (state != kRunning) continue;
    next_token = token;
    next_position = position + 1;
    running++;
  }
  args.running.as<int32_t>()[0] = running;
  return Status::success();
}

}  // namespace heddle
