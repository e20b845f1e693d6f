// A CUDA device as the executor sees it.
#pragma once
#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "cuda/cuda_context.h"
#include "cuda/cuda_memory.h"
#include "executor/device.h"

namespace heddle {

class StepGraphs;

class CudaDevice : public Device {
 public:
  static Status create(int ordinal, const cudaDeviceProp& properties, std::shared_ptr<Device>* out);
  ~CudaDevice() override;

  std::shared_ptr<DeviceMemory> memory() override { return memory_; }
  bool has_kernel(Op op) const override;
  const char* name() const override { return name_.c_str(); }
  uint64_t workspace_bytes(Op op, const TensorView* operands, const AttributeValue* attributes, int threads) const override;
  std::unique_ptr<StepCache> make_step_cache() override;

  Status write_inputs(const std::vector<Transfer>& inputs) override;
  Status run(const Step& step, StepCache* cache, ThreadPool& pool) override;
  Status read_outputs(const std::vector<Transfer>& outputs) override;
  Status copy(std::byte* to, const std::byte* from, uint64_t bytes) override;

 private:
  CudaDevice() = default;
  Status begin();
  Status launch(const Step& step, StepGraphs& graphs);
  Status launch_all(const Step& step);
  Status launch_timed(const Step& step);
  Status capture(const Step& step, cudaGraphExec_t* out);
  CudaContext context_for(const Step& step) const;

  int ordinal_ = 0;
  std::string name_;
  DeviceLimits limits_;
  std::shared_ptr<CudaMemory> memory_;
  cudaStream_t stream_ = nullptr;
  FailureSlot* failure_slot_ = nullptr;
  int32_t* counters_ = nullptr;
  PinnedStaging inputs_;
  PinnedStaging outputs_;
};

}  // namespace heddle
