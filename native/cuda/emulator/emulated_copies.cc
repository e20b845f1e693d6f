// Allocation and copies of the emulated runtime.
#include <cstring>
#include <vector>

#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/device_state.h"

using namespace heddle::emulator;

#define HEDDLE_EMULATED_CALL                                          \
  const std::lock_guard<std::recursive_mutex> guard(device().lock);   \
  if (const cudaError_t refused = check_device(); refused != cudaSuccess) return finish_call(refused)

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  HEDDLE_EMULATED_CALL;
  *total = device_bytes_total();
  *free = *total > device_bytes_used() ? *total - device_bytes_used() : 0;
  return finish_call(cudaSuccess);
}

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  HEDDLE_EMULATED_CALL;
  if (pointer == nullptr) return finish_call(cudaErrorInvalidValue);
  if (may_not_wait()) return finish_call(refuse_in_capture());
  uint64_t most = 0;
  if (asked_fault(&most) == Fault::kOutOfMemory && device_bytes_used() + bytes > most) {
    *pointer = nullptr;
    return finish_call(cudaErrorMemoryAllocation);
  }
  return finish_call(allocate_device(pointer, bytes));
}

cudaError_t cudaFree(void* pointer) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  if (pointer == nullptr) return finish_call(cudaSuccess);
  if (may_not_wait()) return finish_call(refuse_in_capture());
  drain_all();
  const cudaError_t error = free_device(pointer);
  if (error == cudaErrorIllegalAddress && device().sticky == cudaSuccess) device().sticky = error;
  return finish_call(error);
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  HEDDLE_EMULATED_CALL;
  if (pointer == nullptr) return finish_call(cudaErrorInvalidValue);
  return finish_call(allocate_pinned(pointer, bytes));
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) { return cudaMallocHost(pointer, bytes); }

cudaError_t cudaFreeHost(void* pointer) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  if (pointer == nullptr) return finish_call(cudaSuccess);
  drain_all();
  return finish_call(free_pinned(pointer));
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned) {
  HEDDLE_EMULATED_CALL;
  return finish_call(register_pinned(pointer, bytes));
}

cudaError_t cudaHostUnregister(void* pointer) {
  HEDDLE_EMULATED_CALL;
  drain_all();
  return finish_call(unregister_pinned(pointer));
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  HEDDLE_EMULATED_CALL;
  if (attributes == nullptr) return finish_call(cudaErrorInvalidValue);
  const bool on_device = is_device(pointer);
  const bool on_host = is_pinned(pointer);
  attributes->type = on_device ? cudaMemoryTypeDevice : on_host ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  attributes->device = on_device || on_host ? 0 : -2;
  attributes->devicePointer = on_device || on_host ? const_cast<void*>(pointer) : nullptr;
  attributes->hostPointer = on_device ? nullptr : const_cast<void*>(pointer);
  return finish_call(cudaSuccess);
}

namespace {

cudaError_t check_copy(const void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = is_device(to), from_device = is_device(from);
  if (to_device && check_device_range(to, bytes) != cudaSuccess) return cudaErrorInvalidValue;
  if (from_device && check_device_range(from, bytes) != cudaSuccess) return cudaErrorInvalidValue;
  switch (kind) {
    case cudaMemcpyHostToHost: return to_device || from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyHostToDevice: return !to_device || from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDeviceToHost: return to_device || !from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDeviceToDevice: return !to_device || !from_device ? cudaErrorInvalidValue : cudaSuccess;
    case cudaMemcpyDefault: return cudaSuccess;
  }
  return cudaErrorInvalidMemcpyDirection;
}

Work copy_work(void* to, const void* from, size_t bytes) {
  return [to, from, bytes] {
    const DeviceAccess access;
    std::memmove(to, from, bytes);
    return cudaSuccess;
  };
}

}  // namespace

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  HEDDLE_EMULATED_CALL;
  if (bytes == 0) return finish_call(cudaSuccess);
  if (to == nullptr || from == nullptr) return finish_call(cudaErrorInvalidValue);
  if (const cudaError_t error = check_copy(to, from, bytes, kind); error != cudaSuccess) return finish_call(error);
  if (is_capturing(stream)) return finish_call(enqueue(stream, copy_work(to, from, bytes)));
  // Pageable memory is read before the call returns, and written before it returns.
  if (!is_device(from) && !is_pinned(from) && is_device(to)) {
    const auto* first = static_cast<const std::byte*>(from);
    std::vector<std::byte> staged(first, first + bytes);
    return finish_call(enqueue(stream, [to, staged = std::move(staged)] {
      const DeviceAccess access;
      std::memcpy(to, staged.data(), staged.size());
      return cudaSuccess;
    }));
  }
  const cudaError_t error = enqueue(stream, copy_work(to, from, bytes));
  if (error != cudaSuccess || is_device(to) || is_pinned(to)) return finish_call(error);
  return finish_call(drain(stream));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  HEDDLE_EMULATED_CALL;
  if (device().capture != nullptr) return finish_call(refuse_in_capture());
  if (const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr); error != cudaSuccess) return error;
  return finish_call(drain(nullptr));
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  HEDDLE_EMULATED_CALL;
  if (bytes == 0) return finish_call(cudaSuccess);
  if (!is_device(to) || check_device_range(to, bytes) != cudaSuccess) return finish_call(cudaErrorInvalidValue);
  return finish_call(enqueue(stream, [to, value, bytes] {
    const DeviceAccess access;
    std::memset(to, value, bytes);
    return cudaSuccess;
  }));
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }
