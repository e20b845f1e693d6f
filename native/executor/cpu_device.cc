#include <chrono>
#include <cstring>

#include "cpu/cpu_context.h"
#include "executor/device.h"
#include "executor/program.h"

namespace heddle {

namespace {

int64_t now_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class CpuDevice : public Device {
 public:
  std::shared_ptr<DeviceMemory> memory() override { return nullptr; }
  bool has_kernel(Op op) const override { return op_info(op).run != nullptr; }
  const char* name() const override { return "the CPU"; }

  uint64_t workspace_bytes(Op op, const TensorView* operands, const AttributeValue* attributes, int threads) const override {
    const OpInfo& info = op_info(op);
    return info.workspace == nullptr ? 0 : info.workspace(operands, attributes, threads);
  }

  std::unique_ptr<StepCache> make_step_cache() override { return nullptr; }

  Status write_inputs(const std::vector<Transfer>& inputs) override {
    for (const Transfer& input : inputs)
      if (input.bytes != 0) std::memcpy(input.device, input.host, input.bytes);
    return Status::success();
  }

  Status run(const Step& step, StepCache*, ThreadPool& pool) override {
    CpuContext context{pool, step.workspace, step.workspace_bytes};
    for (const Instruction& instruction : step.spec.instructions) {
      if (step.control != nullptr && step.control->abort.load(std::memory_order_relaxed))
        return fail(StatusCode::kAborted, "The operation was aborted");
      const int64_t begin = step.times != nullptr ? now_nanoseconds() : 0;
      HEDDLE_TRY(op_info(instruction.op)
                     .run(step.operands + instruction.first_operand, step.spec.attributes.data() + instruction.first_attribute, context));
      if (step.times != nullptr) {
        auto& time = (*step.times)[static_cast<size_t>(instruction.op)];
        time.first++;
        time.second += now_nanoseconds() - begin;
      }
    }
    return Status::success();
  }

  Status read_outputs(const std::vector<Transfer>& outputs) override {
    for (const Transfer& output : outputs)
      if (output.bytes != 0) std::memcpy(output.host, output.device, output.bytes);
    return Status::success();
  }

  Status copy(std::byte* to, const std::byte* from, uint64_t bytes) override {
    if (bytes != 0) std::memmove(to, from, bytes);
    return Status::success();
  }
};

}  // namespace

const std::shared_ptr<Device>& cpu_device() {
  static const auto* device = new std::shared_ptr<Device>(std::make_shared<CpuDevice>());
  return *device;
}

}  // namespace heddle
