// A program: verified once, run many times, on one device.
#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "cpu/thread_pool.h"
#include "executor/device.h"
#include "executor/program_spec.h"

namespace heddle {

// What a caller may change while a run is under way, from any thread.
struct RunControl {
  std::atomic<bool> abort{false};      // stop between two instructions and fail with kAborted
  std::atomic<bool> interrupt{false};  // end the burst after the current step
};

struct RunResult {
  int64_t steps = 0;
  std::vector<std::byte> data;         // for each step, all outputs one after another
  std::vector<uint64_t> output_bytes;  // of one step
  int64_t kernel_nanoseconds = 0;
};

struct RunRequest {
  std::vector<int64_t> extents;
  std::vector<std::pair<const std::byte*, uint64_t>> inputs;
  int64_t steps = 1;
  RunControl* control = nullptr;
  // Gets the outputs so far while the burst goes on: when so much time has passed since the last part, and as soon as the
  // program's `while` output has changed. Without it all outputs come at the end.
  std::function<void(RunResult&&)> take_part;
  int64_t part_nanoseconds = 0;
  // Asked between steps: whether something else wants the thread. Ends the burst.
  std::function<bool()> wanted_elsewhere;
};

class Program {
 public:
  // All bound buffers lie in the device's memory.
  static Status create(ProgramSpec spec, std::vector<std::shared_ptr<MemoryBlock>> bound, std::shared_ptr<Device> device, int threads,
                       std::unique_ptr<Program>* out);

  // Not thread-safe: runs of one program follow each other on the engine thread. `result` gets what no part had, at least one step.
  Status run(const RunRequest& request, ThreadPool& pool, RunResult* result);

  uint64_t arena_bytes() const { return spec_.arena_bytes; }
  uint64_t workspace_bytes() const { return workspace_ ? workspace_->bytes() : 0; }

  struct OpTime {
    const char* name;
    int64_t calls;
    int64_t nanoseconds;
  };
  // Time by op since the program was created, largest first; empty unless profiling was on.
  std::vector<OpTime> profile() const;
  void set_profiling(bool on) { profiling_ = on; }

 private:
  Program() = default;
  void resolve(const std::vector<int64_t>& extents);
  Status size_workspace(int threads);
  Status bind(const RunRequest& request, ThreadPool& pool);
  // One step; its outputs go behind those in `result`. `condition`: the first element of the while output.
  Status step(ThreadPool& pool, RunControl* control, RunResult* result, int32_t* condition);

  ProgramSpec spec_;
  std::shared_ptr<Device> device_;
  std::vector<std::shared_ptr<MemoryBlock>> bound_;
  std::shared_ptr<MemoryBlock> arena_;
  std::shared_ptr<MemoryBlock> workspace_;
  int workspace_threads_ = 0;
  std::unique_ptr<StepCache> cache_;
  std::vector<TensorView> views_;     // resolved for extents_
  std::vector<TensorView> operands_;  // views in instruction order, ready for the kernels
  std::vector<int64_t> extents_;      // of views_ and operands_
  bool resolved_ = false;
  bool profiling_ = false;
  std::vector<std::pair<int64_t, int64_t>> times_;  // calls and nanoseconds per op
  std::vector<Transfer> transfers_;                 // of inputs, then of a step's outputs; kept to allocate nothing
};

}  // namespace heddle
