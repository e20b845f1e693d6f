// Jobs that fill weights in native memory from a checkpoint: packing for `linear`, and plain conversion.
#pragma once
#include <napi.h>

namespace heddle {

void install_packing(Napi::Env env, Napi::Object exports);

}  // namespace heddle
