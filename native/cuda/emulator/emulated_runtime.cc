// Devices, errors, memory and launches of the emulated runtime.
#include "cuda/emulator/emulated_runtime.h"

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cuda/emulator/block.h"
#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/device_state.h"
#include "cuda/emulator/emulated_launch.h"
#include "cuda/emulator/shared_memory.h"

namespace heddle::emulator {

namespace {

constexpr int kMultiprocessors = 4;
constexpr int kThreadsPerMultiprocessor = 2048;
constexpr int kBlocksPerMultiprocessor = 32;
constexpr size_t kSharedPerMultiprocessor = 233472;
constexpr size_t kReservedShared = 1024;  // of every block, by the system
constexpr int kVersion = 13000;

uint64_t seed() {
  const char* text = std::getenv("HEDDLE_EMULATOR_SEED");
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}

int blocks_per_multiprocessor(unsigned threads, size_t dynamic_shared) {
  if (threads == 0 || threads > 1024) return 0;
  if (dynamic_shared > most_shared()) return 0;
  const size_t by_shared = kSharedPerMultiprocessor / (dynamic_shared + kReservedShared);
  return static_cast<int>(std::min<size_t>({kThreadsPerMultiprocessor / ((threads + 31) / 32 * 32), by_shared, kBlocksPerMultiprocessor}));
}

cudaError_t run_queued(const Launch& launch) {
  uint64_t count = 0;
  if (asked_fault(&count) == Fault::kLost && device().launches >= count) {
    device().message = "the device was lost";
    return cudaErrorUnknown;
  }
  device().launches++;
  const DeviceAccess access;
  if (run_launch(launch, seed())) return cudaSuccess;
  device().message = scheduler.message;
  fprintf(stderr, "emulated CUDA device: %s\n", scheduler.message);
  return scheduler.bad_access ? cudaErrorIllegalAddress : cudaErrorLaunchFailure;
}

}  // namespace

DeviceState& device() {
  static DeviceState* state = new DeviceState();  // outlives everything that may still call at the process's end
  return *state;
}

Fault asked_fault(uint64_t* count) {
  const char* text = std::getenv("HEDDLE_EMULATOR_FAULT");
  if (text == nullptr) return Fault::kNone;
  const struct {
    const char* name;
    Fault fault;
  } known[] = {{"no-driver", Fault::kNoDriver}, {"old-driver", Fault::kOldDriver}, {"no-device", Fault::kNoDevice},
               {"out-of-memory:", Fault::kOutOfMemory}, {"lost:", Fault::kLost}};
  for (const auto& [name, fault] : known) {
    if (std::strncmp(text, name, std::strlen(name)) != 0) continue;
    *count = std::strtoull(text + std::strlen(name), nullptr, 10);
    return fault;
  }
  return Fault::kNone;
}

cudaError_t check_device() {
  if (device().sticky != cudaSuccess) return device().sticky;
  uint64_t count = 0;
  switch (asked_fault(&count)) {
    case Fault::kNoDriver:
    case Fault::kOldDriver:
      return cudaErrorInsufficientDriver;
    case Fault::kNoDevice:
      return cudaErrorNoDevice;
    default:
      return cudaSuccess;
  }
}

cudaError_t finish_call(cudaError_t error) {
  if (device().sticky != cudaSuccess) error = device().sticky;
  if (error != cudaSuccess) device().last = error;
  return error;
}

int most_resident_blocks(unsigned threads, size_t dynamic_shared) { return kMultiprocessors * blocks_per_multiprocessor(threads, dynamic_shared); }

cudaError_t enqueue_launch(const char* op, dim3 grid, unsigned threads, size_t dynamic_shared, bool cooperative, cudaStream_t stream,
                           std::function<void()> body) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  if (const cudaError_t refused = check_device(); refused != cudaSuccess) return finish_call(refused);
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > INT_MAX || grid.y > 65535 || grid.z > 65535)
    return finish_call(cudaErrorInvalidConfiguration);
  if (dynamic_shared > most_shared()) return finish_call(cudaErrorInvalidValue);
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  if (cooperative && blocks > static_cast<uint64_t>(most_resident_blocks(threads, dynamic_shared)))
    return finish_call(cudaErrorCooperativeLaunchTooLarge);
  Launch launch{op, grid, threads, dynamic_shared, cooperative, std::move(body)};
  return finish_call(enqueue(stream, [launch = std::move(launch)] { return run_queued(launch); }));
}

}  // namespace heddle::emulator

using namespace heddle::emulator;

#define HEDDLE_EMULATED_CALL                                          \
  const std::lock_guard<std::recursive_mutex> guard(device().lock);   \
  if (const cudaError_t refused = check_device(); refused != cudaSuccess) return finish_call(refused)

// ---- errors ----

namespace {

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
#define HEDDLE_EMULATED_ERROR(error, text) {error, #error, text}
const ErrorText kErrorTexts[] = {
    HEDDLE_EMULATED_ERROR(cudaSuccess, "no error"),
    HEDDLE_EMULATED_ERROR(cudaErrorInvalidValue, "invalid argument"),
    HEDDLE_EMULATED_ERROR(cudaErrorMemoryAllocation, "out of memory"),
    HEDDLE_EMULATED_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    HEDDLE_EMULATED_ERROR(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    HEDDLE_EMULATED_ERROR(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    HEDDLE_EMULATED_ERROR(cudaErrorInvalidDevice, "invalid device ordinal"),
    HEDDLE_EMULATED_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    HEDDLE_EMULATED_ERROR(cudaErrorNotReady, "device not ready"),
    HEDDLE_EMULATED_ERROR(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    HEDDLE_EMULATED_ERROR(cudaErrorMisalignedAddress, "misaligned address"),
    HEDDLE_EMULATED_ERROR(cudaErrorLaunchFailure, "unspecified launch failure"),
    HEDDLE_EMULATED_ERROR(cudaErrorCooperativeLaunchTooLarge, "too many blocks in cooperative launch"),
    HEDDLE_EMULATED_ERROR(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    HEDDLE_EMULATED_ERROR(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    HEDDLE_EMULATED_ERROR(cudaErrorStreamCaptureUnmatched, "capture was not initiated in this stream"),
    HEDDLE_EMULATED_ERROR(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
    HEDDLE_EMULATED_ERROR(cudaErrorStreamCaptureIsolation, "dependency created on uncaptured work in another stream"),
    HEDDLE_EMULATED_ERROR(cudaErrorStreamCaptureImplicit, "operation would make the legacy stream depend on a capturing blocking stream"),
    HEDDLE_EMULATED_ERROR(cudaErrorCapturedEvent, "operation not permitted on an event last recorded in a capturing stream"),
    HEDDLE_EMULATED_ERROR(cudaErrorUnknown, "unknown error"),
};
#undef HEDDLE_EMULATED_ERROR

const ErrorText* find_error(cudaError_t error) {
  for (const ErrorText& known : kErrorTexts) {
    if (known.error == error) return &known;
  }
  return nullptr;
}

}  // namespace

const char* cudaGetErrorName(cudaError_t error) {
  const ErrorText* known = find_error(error);
  return known == nullptr ? "unrecognized error code" : known->name;
}

// With what the emulator knows more than a device would say.
const char* cudaGetErrorString(cudaError_t error) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  const ErrorText* known = find_error(error);
  if (known == nullptr) return "unrecognized error code";
  if (error == cudaSuccess || error != device().sticky || device().message.empty()) return known->text;
  static std::string text;
  text = std::string(known->text) + " (" + device().message + ")";
  return text.c_str();
}

cudaError_t cudaGetLastError() {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  const cudaError_t error = device().last;
  device().last = device().sticky;
  return error;
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  return device().last;
}

// ---- devices ----

cudaError_t cudaDriverGetVersion(int* version) {
  if (version == nullptr) return cudaErrorInvalidValue;
  uint64_t count = 0;
  const Fault fault = asked_fault(&count);
  *version = fault == Fault::kNoDriver ? 0 : fault == Fault::kOldDriver ? 11040 : kVersion;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  if (version == nullptr) return cudaErrorInvalidValue;
  *version = kVersion;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  HEDDLE_EMULATED_CALL;
  *count = 1;
  return finish_call(cudaSuccess);
}

cudaError_t cudaSetDevice(int number) {
  HEDDLE_EMULATED_CALL;
  return finish_call(number == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int* number) {
  HEDDLE_EMULATED_CALL;
  *number = 0;
  return finish_call(cudaSuccess);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
  HEDDLE_EMULATED_CALL;
  if (number != 0) return finish_call(cudaErrorInvalidDevice);
  *properties = {};
  std::strcpy(properties->name, "emulated CUDA device");
  properties->totalGlobalMem = device_bytes_total();
  properties->sharedMemPerBlock = kMostStaticShared;
  properties->sharedMemPerBlockOptin = most_shared();
  properties->sharedMemPerMultiprocessor = kSharedPerMultiprocessor;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
  properties->maxThreadsDim[2] = 64;
  properties->maxGridSize[0] = INT_MAX;
  properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
  properties->major = 9;
  properties->multiProcessorCount = kMultiprocessors;
  properties->maxThreadsPerMultiProcessor = kThreadsPerMultiprocessor;
  properties->l2CacheSize = 1 << 20;
  properties->cooperativeLaunch = 1;
  return finish_call(cudaSuccess);
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, number); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = properties.maxThreadsPerBlock; break;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = static_cast<int>(properties.sharedMemPerBlock); break;
    case cudaDevAttrWarpSize: *value = properties.warpSize; break;
    case cudaDevAttrMultiProcessorCount: *value = properties.multiProcessorCount; break;
    case cudaDevAttrIntegrated: *value = 0; break;
    case cudaDevAttrL2CacheSize: *value = properties.l2CacheSize; break;
    case cudaDevAttrMaxThreadsPerMultiProcessor: *value = properties.maxThreadsPerMultiProcessor; break;
    case cudaDevAttrComputeCapabilityMajor: *value = properties.major; break;
    case cudaDevAttrComputeCapabilityMinor: *value = properties.minor; break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = static_cast<int>(properties.sharedMemPerMultiprocessor); break;
    case cudaDevAttrCooperativeLaunch: *value = 1; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(properties.sharedMemPerBlockOptin); break;
    default: return finish_call(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  HEDDLE_EMULATED_CALL;
  if (device().capture != nullptr) return finish_call(refuse_in_capture());
  return finish_call(drain_all());
}

cudaError_t cudaDeviceReset() {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  drop_streams();
  free_all_device();
  device().sticky = device().last = cudaSuccess;
  device().message.clear();
  device().launches = 0;
  device().strict_capture = false;
  device().strict_thread = {};
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  HEDDLE_EMULATED_CALL;
  if (kernel == nullptr) return finish_call(cudaErrorInvalidDeviceFunction);
  if (attribute == cudaFuncAttributeMaxDynamicSharedMemorySize && (value < 0 || static_cast<uint32_t>(value) > most_shared()))
    return finish_call(cudaErrorInvalidValue);
  return finish_call(cudaSuccess);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads, size_t dynamic_shared) {
  HEDDLE_EMULATED_CALL;
  if (blocks == nullptr || threads < 1) return finish_call(cudaErrorInvalidValue);
  if (kernel == nullptr) return finish_call(cudaErrorInvalidDeviceFunction);
  *blocks = blocks_per_multiprocessor(static_cast<unsigned>(threads), dynamic_shared);
  return finish_call(cudaSuccess);
}
