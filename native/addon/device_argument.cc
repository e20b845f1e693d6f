#include "addon/device_argument.h"

#include <vector>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "executor/cuda_library.h"

namespace heddle {

std::shared_ptr<Device> device_argument(const Napi::CallbackInfo& info, size_t index) {
  if (info[index].IsUndefined()) return cpu_device();
  const int ordinal = static_cast<int>(integer_argument(info, index, 0, 1023));
  std::shared_ptr<Device> device;
  const Status status = cuda_device(ordinal, &device);
  if (!status.ok()) throw to_error(info.Env(), status);
  return device;
}

namespace {

// cudaDevices(details?): a list of what there is; throws what stands in the way where there is nothing.
Napi::Value cuda_devices(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<CudaDeviceDescription> found;
  const Status status = describe_cuda_devices(info[0].ToBoolean(), &found);
  if (!status.ok()) throw to_error(env, status);
  auto list = Napi::Array::New(env, found.size());
  for (uint32_t i = 0; i < found.size(); i++) {
    const CudaDeviceDescription& device = found[i];
    auto entry = Napi::Object::New(env);
    const auto number = [&](const char* name, double value) { entry.Set(name, Napi::Number::New(env, value)); };
    entry.Set("name", Napi::String::New(env, device.name));
    number("ordinal", i);
    number("computeMajor", device.compute_major);
    number("computeMinor", device.compute_minor);
    number("multiprocessors", device.multiprocessors);
    number("totalBytes", static_cast<double>(device.total_bytes));
    number("freeBytes", static_cast<double>(device.free_bytes));
    number("driverVersion", device.driver_version);
    number("runtimeVersion", device.runtime_version);
    entry.Set("emulated", Napi::Boolean::New(env, device.emulated));
    entry.Set("linearLibrary", Napi::String::New(env, device.linear_library));
    list.Set(i, entry);
  }
  return list;
}

// Of the devices that were opened. Those that are lost have no freeBytes and totalBytes.
Napi::Value device_memory(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto list = Napi::Array::New(env);
  const auto opened = opened_cuda_devices();
  for (uint32_t i = 0; i < opened.size(); i++) {
    if (!opened[i]) continue;
    const MemoryCounters counters = opened[i]->memory()->counter.read();
    auto entry = Napi::Object::New(env);
    entry.Set("ordinal", Napi::Number::New(env, i));
    entry.Set("bytes", Napi::Number::New(env, static_cast<double>(counters.bytes)));
    entry.Set("peakBytes", Napi::Number::New(env, static_cast<double>(counters.peak_bytes)));
    entry.Set("blocks", Napi::Number::New(env, static_cast<double>(counters.blocks)));
    uint64_t free_bytes = 0, total_bytes = 0;
    if (opened[i]->memory()->room(&free_bytes, &total_bytes).ok()) {
      entry.Set("freeBytes", Napi::Number::New(env, static_cast<double>(free_bytes)));
      entry.Set("totalBytes", Napi::Number::New(env, static_cast<double>(total_bytes)));
    }
    list.Set(list.Length(), entry);
  }
  return list;
}

Napi::Value library_path(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), cuda_library_path()); }

}  // namespace

void install_devices(Napi::Env env, Napi::Object exports) {
  exports.Set("cudaDevices", Napi::Function::New(env, cuda_devices));
  exports.Set("deviceMemory", Napi::Function::New(env, device_memory));
  exports.Set("cudaLibraryPath", Napi::Function::New(env, library_path));
}

}  // namespace heddle
