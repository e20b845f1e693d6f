#include "executor/cuda_library.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "executor/op_info.h"

namespace heddle {

namespace {

struct Opened {
  std::mutex mutex;
  const CudaLibrary* library = nullptr;
  std::vector<std::shared_ptr<Device>> devices;
};

// Never destroyed: devices outlive static destruction.
Opened& opened() {
  static auto* state = new Opened;
  return *state;
}

Status no_library(const std::string& message) { return fail(StatusCode::kCudaLibrary, message); }

// A library that failed to load is tried again: it may have been built since.
Status load(Opened& state) {
  if (state.library != nullptr) return Status::success();
  const std::string path = cuda_library_path();
  if (access(path.c_str(), R_OK) != 0)
    return no_library("this installation has no CUDA library: " + path + " is not there. It is left out where heddle is built without nvcc");
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    return no_library("the CUDA library does not load: " + std::string(reason == nullptr ? path : reason));
  }
  using Entry = const CudaLibrary* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, "heddle_cuda_library"));
  if (entry == nullptr) return no_library(path + " is no CUDA library of heddle");
  const CudaLibrary* library = entry();
  if (library->version != CudaLibrary::kVersion || std::strcmp(library->op_table_hash, op_table_hash()) != 0)
    return no_library(path + " is of another build than the addon: its op table is " + library->op_table_hash + ", expected " + op_table_hash());
  state.library = library;
  return Status::success();
}

}  // namespace

std::string cuda_library_path() {
  if (const char* chosen = std::getenv("HEDDLE_CUDA_LIBRARY"); chosen != nullptr && *chosen != 0) return chosen;
  Dl_info self{};
  std::string path;
  if (dladdr(reinterpret_cast<void*>(&cuda_library_path), &self) != 0 && self.dli_fname != nullptr) path = self.dli_fname;
  const size_t slash = path.rfind('/');
  return (slash == std::string::npos ? std::string(".") : path.substr(0, slash)) + "/libheddle_cuda.so";
}

Status describe_cuda_devices(bool details, std::vector<CudaDeviceDescription>* devices) {
  Opened& state = opened();
  std::lock_guard<std::mutex> lock(state.mutex);
  HEDDLE_TRY(load(state));
  return state.library->describe(details, devices);
}

Status cuda_device(int ordinal, std::shared_ptr<Device>* device) {
  Opened& state = opened();
  std::lock_guard<std::mutex> lock(state.mutex);
  HEDDLE_TRY(load(state));
  const auto index = static_cast<size_t>(ordinal);
  if (index >= state.devices.size()) state.devices.resize(index + 1);
  if (!state.devices[index]) HEDDLE_TRY(state.library->open(ordinal, &state.devices[index]));
  *device = state.devices[index];
  return Status::success();
}

std::vector<std::shared_ptr<Device>> opened_cuda_devices() {
  Opened& state = opened();
  std::lock_guard<std::mutex> lock(state.mutex);
  return state.devices;
}

}  // namespace heddle
