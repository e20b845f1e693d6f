// Where programs run: the processor, or a device of a library opened at run time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "executor/op_info.h"
#include "executor/program_spec.h"

namespace heddle {

class ThreadPool;
struct RunControl;

// Between the processor's memory and the device's.
struct Transfer {
  std::byte* device;
  std::byte* host;
  uint64_t bytes;
};

// One step of a program: all its instructions in order.
struct Step {
  const ProgramSpec& spec;
  const TensorView* operands;  // in instruction order
  const std::vector<int64_t>& extents;
  std::byte* workspace;
  uint64_t workspace_bytes;
  RunControl* control;                               // may be nullptr
  std::vector<std::pair<int64_t, int64_t>>* times;   // calls and nanoseconds per op; nullptr: not profiled
};

// What a device keeps for one program between its steps, such as captured graphs. Freed before the program's memory.
class StepCache {
 public:
  virtual ~StepCache() = default;
};

class Device {
 public:
  virtual ~Device() = default;

  // nullptr: the processor's own memory.
  virtual std::shared_ptr<DeviceMemory> memory() = 0;
  virtual bool has_kernel(Op op) const = 0;
  virtual const char* name() const = 0;
  // Scratch memory of one instruction at these dimensions; the operands have no data.
  virtual uint64_t workspace_bytes(Op op, const TensorView* operands, const AttributeValue* attributes, int threads) const = 0;
  virtual std::unique_ptr<StepCache> make_step_cache() = 0;

  // Called on the engine thread, in this order: inputs, then per step run, outputs and feeds.
  virtual Status write_inputs(const std::vector<Transfer>& inputs) = 0;
  virtual Status run(const Step& step, StepCache* cache, ThreadPool& pool) = 0;
  // Waits for the step and gives what it refused; the hosts' bytes are then there. Called with an empty list too.
  virtual Status read_outputs(const std::vector<Transfer>& outputs) = 0;
  virtual Status copy(std::byte* to, const std::byte* from, uint64_t bytes) = 0;
};

// The processor. Never destroyed.
const std::shared_ptr<Device>& cpu_device();

}  // namespace heddle
