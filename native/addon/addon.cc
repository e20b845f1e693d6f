// The exports, and nothing else.
#include <napi.h>

#include "addon/arguments.h"
#include "addon/buffer_object.h"
#include "addon/device_argument.h"
#include "addon/environment.h"
#include "addon/packing.h"
#include "addon/program_object.h"
#include "addon/safetensors_object.h"
#include "core/memory.h"
#include "cpu/targets.h"
#include "executor/engine.h"
#include "executor/op_info.h"

namespace heddle {
namespace {

Napi::Value memory(const Napi::CallbackInfo& info) {
  const MemoryCounters counters = memory_counters();
  auto result = Napi::Object::New(info.Env());
  result.Set("bytes", Napi::Number::New(info.Env(), static_cast<double>(counters.bytes)));
  result.Set("peakBytes", Napi::Number::New(info.Env(), static_cast<double>(counters.peak_bytes)));
  result.Set("blocks", Napi::Number::New(info.Env(), static_cast<double>(counters.blocks)));
  return result;
}

Napi::Value cpu(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto supported = Napi::Array::New(env);
  for (int i = 0; i < kCpuTargetCount; i++) {
    const auto target = static_cast<CpuTarget>(i);
    if (cpu_target_supported(target)) supported.Set(supported.Length(), Napi::String::New(env, cpu_target_name(target)));
  }
  auto result = Napi::Object::New(env);
  result.Set("target", Napi::String::New(env, cpu_target_name(cpu_target())));
  result.Set("targets", supported);
  result.Set("threads", Napi::Number::New(env, Engine::instance().threads()));
  return result;
}

// Both take effect between jobs: what was posted before still runs as it was.
Napi::Value set_target(const Napi::CallbackInfo& info) {
  const std::string name = string_argument(info, 0);
  for (int i = 0; i < kCpuTargetCount; i++) {
    const auto target = static_cast<CpuTarget>(i);
    if (name == cpu_target_name(target) && cpu_target_supported(target)) {
      return Environment::of(info.Env())
          .run(
              [target](ThreadPool&) {
                set_cpu_target(target);
                return Status::success();
              },
              [](Napi::Env env) { return env.Undefined(); });
    }
  }
  throw Napi::Error::New(info.Env(), "this machine has no CPU target \"" + name + "\"");
}

void set_threads(const Napi::CallbackInfo& info) { Engine::instance().set_threads(static_cast<int>(integer_argument(info, 0, 1, 1024))); }

Napi::Object install(Napi::Env env, Napi::Object exports) {
  Environment::install(env);
  BufferObject::install(env, exports);
  RunControlObject::install(env, exports);
  ProgramObject::install(env, exports);
  SafetensorsObject::install(env, exports);
  install_packing(env, exports);
  install_devices(env, exports);
  exports.Set("opTableHash", Napi::String::New(env, op_table_hash()));
  exports.Set("memory", Napi::Function::New(env, memory));
  exports.Set("cpu", Napi::Function::New(env, cpu));
  exports.Set("setCpuTarget", Napi::Function::New(env, set_target));
  exports.Set("setThreads", Napi::Function::New(env, set_threads));
  return exports;
}

}  // namespace
}  // namespace heddle

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return heddle::install(env, exports); }

NODE_API_MODULE(NODE_GYP_MODULE_NAME, Init)
