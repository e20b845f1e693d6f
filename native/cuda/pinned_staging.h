// Page-locked host memory that grows as needed: copies to and from the device run beside the processor only out of such memory.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "core/status.h"
#include "cuda/cuda_context.h"

namespace heddle {

class PinnedStaging {
 public:
  PinnedStaging() = default;
  ~PinnedStaging() {
    if (data_ != nullptr) cudaFreeHost(data_);
  }
  PinnedStaging(const PinnedStaging&) = delete;
  PinnedStaging& operator=(const PinnedStaging&) = delete;

  // At least `bytes`; what it held before is lost, so nothing may still be copying.
  Status reserve(uint64_t bytes) {
    if (bytes <= bytes_) return Status::success();
    if (data_ != nullptr) cudaFreeHost(data_);
    data_ = nullptr;
    bytes_ = 0;
    const uint64_t rounded = (bytes + 65535) / 65536 * 65536;
    void* made = nullptr;
    HEDDLE_CUDA_TRY(cudaHostAlloc(&made, rounded, cudaHostAllocDefault), "page-locked staging memory");
    data_ = static_cast<std::byte*>(made);
    bytes_ = rounded;
    return Status::success();
  }

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace heddle
