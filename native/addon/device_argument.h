// Which device a buffer or program is for: undefined is the processor, a number a CUDA device.
#pragma once
#include <napi.h>

#include <memory>

#include "executor/device.h"

namespace heddle {

// Opens the device where it is not open yet; throws into JavaScript where it cannot be.
std::shared_ptr<Device> device_argument(const Napi::CallbackInfo& info, size_t index);

// cudaDevices(), cudaLibraryPath()
void install_devices(Napi::Env env, Napi::Object exports);

}  // namespace heddle
