// The result of everything below the addon. Nothing in native/ throws across a file, aborts or asserts.
#pragma once
#include <string>
#include <utility>

namespace heddle {

enum class StatusCode {
  kOk,
  kInvalidArgument,  // the caller passed something impossible; TypeScript should have caught it
  kInvalidProgram,   // the encoded program would touch memory it does not own
  kInvalidFile,      // a file breaks its format's rules
  kIo,               // the operating system refused
  kOutOfMemory,
  kAborted,
  kCudaLibrary,       // libheddle_cuda.so is missing, does not load, or is of another build
  kCudaDriver,        // no NVIDIA driver
  kCudaDriverTooOld,
  kCudaNoDevice,      // a driver, but no device, or none of that number
  kDeviceLost,        // a kernel faulted or the device fell off the bus: nothing on it can be used any more
};

constexpr const char* status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kInvalidArgument:
      return "ERR_HEDDLE_ARGUMENT";
    case StatusCode::kInvalidProgram:
      return "ERR_HEDDLE_PROGRAM";
    case StatusCode::kInvalidFile:
      return "ERR_HEDDLE_FILE";
    case StatusCode::kIo:
      return "ERR_HEDDLE_IO";
    case StatusCode::kOutOfMemory:
      return "ERR_HEDDLE_OUT_OF_MEMORY";
    case StatusCode::kAborted:
      return "ABORT_ERR";
    case StatusCode::kCudaLibrary:
      return "ERR_HEDDLE_CUDA_LIBRARY";
    case StatusCode::kCudaDriver:
      return "ERR_HEDDLE_CUDA_DRIVER";
    case StatusCode::kCudaDriverTooOld:
      return "ERR_HEDDLE_CUDA_DRIVER_TOO_OLD";
    case StatusCode::kCudaNoDevice:
      return "ERR_HEDDLE_CUDA_NO_DEVICE";
    case StatusCode::kDeviceLost:
      return "ERR_HEDDLE_DEVICE_LOST";
  }
  return "ERR_HEDDLE_INTERNAL";
}

struct [[nodiscard]] Status {
  StatusCode code = StatusCode::kOk;
  std::string message;

  bool ok() const { return code == StatusCode::kOk; }
  static Status success() { return {}; }
};

inline Status fail(StatusCode code, std::string message) { return {code, std::move(message)}; }

}  // namespace heddle

// Returns from the calling function when `expression` is a failed Status.
#define HEDDLE_TRY(expression)                             \
  do {                                                     \
    ::heddle::Status heddle_status_ = (expression);        \
    if (!heddle_status_.ok()) return heddle_status_;       \
  } while (0)
