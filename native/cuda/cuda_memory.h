// Memory of one CUDA device, and the copies between it and the processor that do not belong to a run.
#pragma once
#include <cuda_runtime.h>

#include <mutex>
#include <string>

#include "core/memory.h"
#include "cuda/pinned_staging.h"

namespace heddle {

class CudaMemory : public DeviceMemory {
 public:
  static Status create(int ordinal, const std::string& name, std::shared_ptr<CudaMemory>* out);
  ~CudaMemory() override;

  Status allocate(uint64_t bytes, std::byte** out) override;
  void release(std::byte* data) override;
  // On the copy stream, beside a run that is under way: an adapter crosses the bus while others are served.
  Status write(std::byte* to, const void* from, uint64_t bytes) override;
  Status read(void* to, const std::byte* from, uint64_t bytes) override;

  Status room(uint64_t* free_bytes, uint64_t* total_bytes) override;

  // Makes `stream` wait for all writes so far.
  Status order_after_writes(cudaStream_t stream);

 private:
  CudaMemory() = default;
  cudaError_t record_written();

  // Two halves, so that one fills while the other is on the bus.
  static constexpr uint64_t kPieceBytes = 4 << 20;
  int ordinal_ = 0;
  std::string name_;
  std::mutex mutex_;
  cudaStream_t copies_ = nullptr;
  cudaEvent_t half_free_[2] = {nullptr, nullptr};
  std::mutex order_mutex_;  // of the two below alone: a step may begin while a long write is under way
  cudaEvent_t written_ = nullptr;
  bool any_written_ = false;
  PinnedStaging staging_;
};

}  // namespace heddle
