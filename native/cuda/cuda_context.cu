// The host side that all kernels share: errors, refusals, launches with much shared memory.
#include "cuda/cuda_context.h"

#include <mutex>
#include <string>
#include <vector>

#include "core/float16.h"
#include "cuda/refusals.h"

namespace heddle {

namespace {

// Messages of all refusals, by code - 1. Codes stay valid for captured graphs, so nothing is ever removed.
struct Messages {
  std::mutex mutex;
  std::vector<const char*> texts;
};

Messages& messages() {
  static auto* all = new Messages;
  return *all;
}

}  // namespace

Status cuda_status(cudaError_t error, const char* what) {
  cudaGetLastError();  // a failed call leaves its error behind for the next to trip over
  const std::string text = std::string(what) + ": " + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorMemoryAllocation:
      return fail(StatusCode::kOutOfMemory, text);
    case cudaErrorNoDevice:
    case cudaErrorInvalidDevice:
      return fail(StatusCode::kCudaNoDevice, text);
    case cudaErrorInsufficientDriver:
      return fail(StatusCode::kCudaDriverTooOld, text);
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorCooperativeLaunchTooLarge:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorStreamCaptureUnsupported:  // these and those below: the step cannot be captured, the device is well
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureImplicit:
      return fail(StatusCode::kInvalidProgram, text);
    default:
      return fail(StatusCode::kDeviceLost, text + ". The device cannot be used any more in this process");
  }
}

Failure CudaContext::failure(const char* message) const {
  Messages& all = messages();
  std::lock_guard<std::mutex> lock(all.mutex);
  for (size_t i = 0; i < all.texts.size(); i++)
    if (all.texts[i] == message) return {failure_slot, static_cast<int32_t>(i + 1)};
  all.texts.push_back(message);
  return {failure_slot, static_cast<int32_t>(all.texts.size())};
}

std::string refusal_message(const FailureSlot& slot) {
  Messages& all = messages();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (slot.code < 1 || static_cast<size_t>(slot.code) > all.texts.size()) return "a kernel reported the unknown failure " + std::to_string(slot.code);
  std::string text;
  for (const char* at = all.texts[static_cast<size_t>(slot.code) - 1]; *at != 0; at++) {
    if (at[0] == '{' && at[1] >= '0' && at[1] <= '5' && at[2] == '}') {
      text += std::to_string(slot.values[at[1] - '0']);
      at += 2;
    } else if (at[0] == '{' && at[1] >= '0' && at[1] <= '5' && at[2] == 'f' && at[3] == '}') {
      text += std::to_string(bits_float(static_cast<uint32_t>(slot.values[at[1] - '0'])));
      at += 3;
    } else {
      text += *at;
    }
  }
  return text;
}

Status CudaContext::allow_shared([[maybe_unused]] const char* op, [[maybe_unused]] const void* kernel, [[maybe_unused]] size_t dynamic_shared) {
#if !defined(HEDDLE_CUDA_EMULATOR)
  if (dynamic_shared == 0) return Status::success();
  // Without asking a block has 48 KiB, its static shared memory included. What a captured launch was given is not taken back.
  cudaFuncAttributes attributes;
  HEDDLE_CUDA_TRY(cudaFuncGetAttributes(&attributes, kernel), op);
  if (static_cast<size_t>(attributes.maxDynamicSharedSizeBytes) < dynamic_shared)
    HEDDLE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(dynamic_shared)), op);
#endif
  return Status::success();
}

Status CudaContext::resident_blocks(const char* op, const void* kernel, unsigned threads, size_t dynamic_shared, int* blocks) const {
  HEDDLE_TRY(allow_shared(op, kernel, dynamic_shared));
  int per_multiprocessor = 0;
  HEDDLE_CUDA_TRY(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, kernel, static_cast<int>(threads), dynamic_shared), op);
  *blocks = per_multiprocessor * limits.multiprocessors;
  // An empty grid would launch nothing, and nobody would know.
  HEDDLE_CHECK(*blocks > 0, op, "no block of " + std::to_string(threads) + " threads with " + std::to_string(dynamic_shared) + " bytes of shared memory fits on a multiprocessor");
  return Status::success();
}

Status CudaContext::zero(const char* op, void* to, size_t bytes) const {
  if (bytes != 0) HEDDLE_CUDA_TRY(cudaMemsetAsync(to, 0, bytes, stream), op);
  return Status::success();
}

Status CudaContext::copy(const char* op, void* to, const void* from, size_t bytes) const {
  if (bytes != 0) HEDDLE_CUDA_TRY(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), op);
  return Status::success();
}

}  // namespace heddle
