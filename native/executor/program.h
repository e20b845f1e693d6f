// A program: instructions over tensors that lie in one arena or in bound buffers. Plain data, verified once, run many times.
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
#include "executor/op_info.h"

namespace heddle {

inline constexpr uint32_t kNoTensor = 0xffffffffu;
inline constexpr uint32_t kArena = 0;  // buffer 0 is the arena; buffer i is bound buffer i - 1

// coefficient * (extent < 0 ? 1 : value of that extent)
struct DimensionSpec {
  int32_t extent;
  int64_t coefficient;
};

struct TensorSpec {
  uint32_t buffer;
  uint64_t offset;  // bytes
  DType dtype;
  uint8_t rank;
  DimensionSpec dims[kMaxRank];
  int64_t leading_stride;  // elements; 0: dense
};

struct Instruction {
  Op op;
  uint32_t first_operand;
  uint32_t operand_count;
  uint32_t first_attribute;
};

// After a step of a burst, `output` (an index of outputs) becomes `input` (an index of inputs) of the next.
struct Feed {
  uint32_t output;
  uint32_t input;
};

struct ProgramSpec {
  std::vector<int64_t> extents;  // the largest value of each
  uint64_t arena_bytes = 0;
  uint32_t bound_buffers = 0;
  std::vector<TensorSpec> tensors;
  std::vector<Instruction> instructions;
  std::vector<uint32_t> operands;  // tensor numbers, kNoTensor for an absent optional one
  std::vector<AttributeValue> attributes;
  std::vector<uint32_t> inputs;
  std::vector<uint32_t> outputs;
  std::vector<Feed> feeds;
  uint32_t while_output = kNoTensor;  // index of an i32 output: a burst ends when its first element is 0
};

// Reads the encoding of lib/plan/encode.ts. Refuses anything malformed or made for another op table.
Status decode_program(const uint8_t* bytes, size_t size, ProgramSpec* out);

// Refuses a program that could touch memory outside its arena and bound buffers at any allowed extents.
Status verify_program(const ProgramSpec& spec, const std::vector<uint64_t>& bound_bytes);

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
  static Status create(ProgramSpec spec, std::vector<std::shared_ptr<MemoryBlock>> bound, int threads, std::unique_ptr<Program>* out);

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
  Status step(ThreadPool& pool, RunControl* control);
  void append_outputs(RunResult* result) const;
  int32_t while_value() const;

  ProgramSpec spec_;
  std::vector<std::shared_ptr<MemoryBlock>> bound_;
  std::shared_ptr<MemoryBlock> arena_;
  std::shared_ptr<MemoryBlock> workspace_;
  int workspace_threads_ = 0;
  std::vector<TensorView> views_;     // resolved for extents_
  std::vector<TensorView> operands_;  // views in instruction order, ready for the kernels
  std::vector<int64_t> extents_;      // of views_ and operands_
  bool resolved_ = false;
  bool profiling_ = false;
  std::vector<std::pair<int64_t, int64_t>> times_;  // calls and nanoseconds per op
};

}  // namespace heddle
