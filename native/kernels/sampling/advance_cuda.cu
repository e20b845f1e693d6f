// advance: one block walks the rows; a refused row changes nothing.
#include "generated/sampling_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/sampling/sampling_checks.h"

namespace heddle {
namespace {

constexpr int kThreads = 256;

struct AdvanceJob {
  const int32_t *token, *positions, *integers, *stop_tokens;
  int32_t *history, *history_state, *next_token, *next_position, *state, *running;
  int64_t rows, slots, capacity, stops;
  Failure no_token, no_slot, no_room;
};

__device__ bool refused(const AdvanceJob& job, int64_t row, bool report) {
  const int64_t token = job.token[row], slot = job.integers[row * kIntegerColumns + kHistorySlot];
  if (token < 0) {
    if (report) job.no_token.report(row, token);
    return true;
  }
  if (slot < 0 || slot >= job.slots) {
    if (report) job.no_slot.report(row, slot, job.slots - 1);
    return true;
  }
  const int64_t length = job.history_state[slot * kHistoryStateColumns + kTotalLength];
  if (length < 0 || length >= job.capacity) {
    if (report) job.no_room.report(row, length, job.capacity);
    return true;
  }
  return false;
}

__global__ void __launch_bounds__(kThreads) advance_rows(const AdvanceJob job) {
  HEDDLE_SHARED(int64_t, scratch, kWarp);
  int64_t running = 0, first_refused = job.rows;
  for (int64_t row = threadIdx.x; row < job.rows; row += kThreads) {
    job.next_token[row] = job.next_position[row] = -1;
    job.state[row] = kRunning;
    if (job.positions[row] < 0) continue;
    if (refused(job, row, false)) {
      first_refused = row < first_refused ? row : first_refused;
      continue;
    }
    const int32_t token = job.token[row];
    const int32_t* integers = job.integers + row * kIntegerColumns;
    const int64_t slot = integers[kHistorySlot];
    int32_t& length = job.history_state[slot * kHistoryStateColumns + kTotalLength];
    job.history[slot * job.capacity + length] = token;
    length++;

    int32_t state = length >= integers[kMaxLength] ? kLengthReached : kRunning;
    for (int64_t i = 0; i < job.stops; i++)
      if (job.stop_tokens[row * job.stops + i] == token) state = kStopped;
    job.state[row] = state;
    if (state != kRunning) continue;
    job.next_token[row] = token;
    job.next_position[row] = job.positions[row] + 1;
    running++;
  }
  running = block_sum<int64_t>(running, scratch);
  // The first refused row is the one that is named, whichever thread met one first.
  const int64_t named = -block_max<int64_t>(-first_refused, scratch);
  if (threadIdx.x != 0) return;
  if (named < job.rows) refused(job, named, true);
  job.running[0] = static_cast<int32_t>(running);
}

}  // namespace

Status advance_cuda(const AdvanceArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_advance(args));
  AdvanceJob job = {};
  job.token = args.token.as<const int32_t>();
  job.positions = args.positions.as<const int32_t>();
  job.integers = args.integers.as<const int32_t>();
  job.stop_tokens = args.stop_tokens.as<const int32_t>();
  job.history = args.history.as<int32_t>();
  job.history_state = args.history_state.as<int32_t>();
  job.next_token = args.next_token.as<int32_t>();
  job.next_position = args.next_position.as<int32_t>();
  job.state = args.state.as<int32_t>();
  job.running = args.running.as<int32_t>();
  job.rows = args.token.dims[0];
  job.slots = args.history.dims[0];
  job.capacity = args.history.dims[1];
  job.stops = args.stop_tokens.dims[1];
  job.no_token = context.failure("[advance] row {0}: its token is {1}: expected at least 0");
  job.no_slot = context.failure("[advance] row {0}: its history slot is {1}: expected 0 to {2}");
  job.no_room = context.failure("[advance] row {0}: its history has length {1}: expected room for one more token in {2}");
  return context.launch("advance", advance_rows, LaunchShape{dim3(1), kThreads}, job);
}

}  // namespace heddle
