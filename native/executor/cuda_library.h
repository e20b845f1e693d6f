// The CUDA backend, in a library of its own that is opened at run time: one package serves machines with and without a GPU.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/status.h"
#include "executor/device.h"

namespace heddle {

struct CudaDeviceDescription {
  std::string name;
  int compute_major = 0;
  int compute_minor = 0;
  int multiprocessors = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // with details only
  int driver_version = 0;   // as CUDA counts: 13000 is 13.0
  int runtime_version = 0;
  bool emulated = false;    // on the processor, for tests
  std::string linear_library;  // with details only: what multiplies large matrices, "cuBLASLt 13.1.0" or "own kernels"
};

// What the library hands out. Its first two fields never change their place: they say whether the rest may be used.
struct CudaLibrary {
  static constexpr uint32_t kVersion = 2;
  uint32_t version;
  const char* op_table_hash;
  Status (*describe)(bool details, std::vector<CudaDeviceDescription>* devices);
  Status (*open)(int ordinal, std::shared_ptr<Device>* device);
};

// All devices. Details take memory on every one of them: what is free is known to those alone who use a device. Fails with kCudaLibrary, kCudaDriver, kCudaDriverTooOld or kCudaNoDevice where there is none.
Status describe_cuda_devices(bool details, std::vector<CudaDeviceDescription>* devices);

// One device, opened on first use and kept. Fails as above.
Status cuda_device(int ordinal, std::shared_ptr<Device>* device);

// Devices that were opened, by ordinal; an empty pointer where one was not.
std::vector<std::shared_ptr<Device>> opened_cuda_devices();

// The file that was or would be opened: HEDDLE_CUDA_LIBRARY, or libheddle_cuda.so beside this library.
std::string cuda_library_path();

}  // namespace heddle
