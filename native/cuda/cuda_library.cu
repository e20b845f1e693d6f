// What libheddle_cuda.so hands to the addon: which devices there are, and one of them opened.
#include <cuda_runtime.h>

#include "cuda/cublas_lt.h"
#include "cuda/cuda_device.h"
#include "cuda/cuda_op_info.h"
#include "executor/cuda_library.h"

namespace heddle {

namespace {

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// The number of devices, or what stands in the way in words that say what to do.
Status count_devices(int* count) {
  int driver = 0, runtime = 0;
  cudaRuntimeGetVersion(&runtime);
  const cudaError_t known = cudaDriverGetVersion(&driver);
  if (known != cudaSuccess || driver == 0) {
    cudaGetLastError();
    return fail(StatusCode::kCudaDriver, "no NVIDIA driver: heddle needs one for CUDA " + version_text(runtime) + " or newer (580 or newer)");
  }
  const cudaError_t error = cudaGetDeviceCount(count);
  if (error == cudaErrorInsufficientDriver) {
    cudaGetLastError();
    return fail(StatusCode::kCudaDriverTooOld, "the NVIDIA driver is too old: it is for CUDA " + version_text(driver) + ", heddle needs " +
                                                   version_text(runtime) + " (driver 580 or newer)");
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && *count == 0)) {
    cudaGetLastError();
    return fail(StatusCode::kCudaNoDevice, "there is an NVIDIA driver (CUDA " + version_text(driver) + ") but no CUDA device, or CUDA_VISIBLE_DEVICES hides it");
  }
  HEDDLE_CUDA_TRY(error, "cudaGetDeviceCount");
  return Status::success();
}

Status describe_devices(bool details, std::vector<CudaDeviceDescription>* devices) {
  int count = 0;
  HEDDLE_TRY(count_devices(&count));
  for (int ordinal = 0; ordinal < count; ordinal++) {
    cudaDeviceProp properties;
    HEDDLE_CUDA_TRY(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
    CudaDeviceDescription device;
    device.name = properties.name;
    device.compute_major = properties.major;
    device.compute_minor = properties.minor;
    device.multiprocessors = properties.multiProcessorCount;
    device.total_bytes = properties.totalGlobalMem;
    HEDDLE_CUDA_TRY(cudaDriverGetVersion(&device.driver_version), "cudaDriverGetVersion");
    HEDDLE_CUDA_TRY(cudaRuntimeGetVersion(&device.runtime_version), "cudaRuntimeGetVersion");
#if defined(HEDDLE_CUDA_EMULATOR)
    device.emulated = std::getenv("HEDDLE_EMULATOR_AS_REAL") == nullptr;  // tests of what a real device would do
#endif
    if (details) {
      HEDDLE_CUDA_TRY(cudaSetDevice(ordinal), "cudaSetDevice");
      size_t available = 0, total = 0;
      HEDDLE_CUDA_TRY(cudaMemGetInfo(&available, &total), "cudaMemGetInfo");
      device.free_bytes = available;
      const std::string library = cublas_lt_name();
      device.linear_library = library.empty() ? "own kernels" : library;
    }
    devices->push_back(std::move(device));
  }
  return Status::success();
}

Status open_device(int ordinal, std::shared_ptr<Device>* device) {
  int count = 0;
  HEDDLE_TRY(count_devices(&count));
  if (ordinal < 0 || ordinal >= count)
    return fail(StatusCode::kCudaNoDevice, "there is no CUDA device " + std::to_string(ordinal) + ": this machine has " + std::to_string(count));
  cudaDeviceProp properties;
  HEDDLE_CUDA_TRY(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  if (properties.major < 8)
    return fail(StatusCode::kCudaNoDevice, std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
                                               std::to_string(properties.minor) + ": heddle needs 8.0 or newer");
  return CudaDevice::create(ordinal, properties, device);
}

}  // namespace

}  // namespace heddle

extern "C" __attribute__((visibility("default"))) const heddle::CudaLibrary* heddle_cuda_library() {
  static const heddle::CudaLibrary library = {heddle::CudaLibrary::kVersion, heddle::cuda_op_table_hash(), &heddle::describe_devices, &heddle::open_device};
  return &library;
}
