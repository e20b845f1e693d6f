// Device memory: every allocation ends at a page that may not be touched, and only kernels and copies may touch the rest.
#pragma once
#include <cstddef>

#include "cuda/emulator/emulated_runtime.h"

namespace heddle::emulator {

cudaError_t allocate_device(void** pointer, size_t bytes);
cudaError_t free_device(void* pointer);
void free_all_device();
size_t device_bytes_total();
size_t device_bytes_used();

// cudaErrorInvalidValue when the bytes lie in device memory, but not within one allocation.
cudaError_t check_device_range(const void* from, size_t bytes);
bool is_device(const void* pointer);

cudaError_t allocate_pinned(void** pointer, size_t bytes);
cudaError_t free_pinned(void* pointer);
cudaError_t register_pinned(void* pointer, size_t bytes);
cudaError_t unregister_pinned(void* pointer);
bool is_pinned(const void* pointer);

// While one lives, faults in device memory become errors of the launch, and device memory may be touched.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
};

}  // namespace heddle::emulator
