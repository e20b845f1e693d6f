// A device for tests of the emulator: fresh each time, with what a kernel's host side has.
#pragma once
#include <cstdlib>
#include <string>
#include <vector>

#include "../check.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"

namespace heddle {

// As the library's, for programs that are linked without it.
inline Status cuda_status(cudaError_t error, const char* what) { return fail(StatusCode::kIo, std::string(what) + ": " + cudaGetErrorString(error)); }

}  // namespace heddle

namespace heddle::test {

class EmulatedDevice {
 public:
  EmulatedDevice() {
    cudaDeviceReset();
    cudaStreamCreateWithFlags(&context.stream, cudaStreamNonBlocking);
  }
  ~EmulatedDevice() {
    cudaStreamDestroy(context.stream);
    cudaDeviceReset();
  }

  template <class T>
  T* allocate(size_t count) {
    T* pointer = nullptr;
    cudaMalloc(&pointer, count * sizeof(T));
    return pointer;
  }
  template <class T>
  T* upload(const std::vector<T>& values) {
    T* pointer = allocate<T>(values.size());
    cudaMemcpyAsync(pointer, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, context.stream);
    return pointer;
  }
  // Empty when the device has failed.
  template <class T>
  std::vector<T> download(const T* from, size_t count) {
    std::vector<T> values(count);
    if (cudaMemcpyAsync(values.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost, context.stream) != cudaSuccess) values.clear();
    return values;
  }

  // Launches and waits; "" or the error's text.
  template <class... Parameters, class... Arguments>
  std::string run(void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... arguments) {
    const Status status = context.launch("kernel", kernel, shape, std::forward<Arguments>(arguments)...);
    if (!status.ok()) return status.message;
    const cudaError_t error = cudaStreamSynchronize(context.stream);
    return error == cudaSuccess ? "" : cudaGetErrorString(error);
  }

  CudaContext context;
};

inline void check_contains(const char* file, int line, const std::string& text, const std::string& part) {
  if (text.find(part) == std::string::npos) report(file, line, "\"" + text + "\": expected it to contain \"" + part + "\"");
}
#define CHECK_CONTAINS(text, part) ::heddle::test::check_contains(__FILE__, __LINE__, (text), (part))

// An environment variable for one scope.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) { setenv(name, value.c_str(), 1); }
  ~Environment() { unsetenv(name_); }

 private:
  const char* name_;
};

}  // namespace heddle::test
