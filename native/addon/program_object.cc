#include "addon/program_object.h"

#include <cstring>
#include <vector>

#include "addon/arguments.h"
#include "addon/buffer_object.h"
#include "addon/device_argument.h"
#include "addon/environment.h"
#include "executor/engine.h"

namespace heddle {

void RunControlObject::install(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "RunControl",
                                           {
                                               InstanceMethod<&RunControlObject::abort>("abort"),
                                               InstanceMethod<&RunControlObject::interrupt>("interrupt"),
                                               InstanceMethod<&RunControlObject::reset>("reset"),
                                           });
  Environment::of(env).control_constructor = Napi::Persistent(constructor);
  exports.Set("RunControl", constructor);
}

RunControlObject::RunControlObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<RunControlObject>(info) {}

void RunControlObject::abort(const Napi::CallbackInfo&) { control_->abort.store(true, std::memory_order_relaxed); }

void RunControlObject::interrupt(const Napi::CallbackInfo&) { control_->interrupt.store(true, std::memory_order_relaxed); }

void RunControlObject::reset(const Napi::CallbackInfo&) {
  control_->abort.store(false, std::memory_order_relaxed);
  control_->interrupt.store(false, std::memory_order_relaxed);
}

void ProgramObject::install(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "Program",
                                           {
                                               InstanceMethod<&ProgramObject::run>("run"),
                                               InstanceMethod<&ProgramObject::dispose>("dispose"),
                                               InstanceMethod<&ProgramObject::dispose>(dispose_symbol(env)),
                                               InstanceAccessor<&ProgramObject::disposed>("disposed"),
                                               InstanceAccessor<&ProgramObject::arena_bytes>("arenaBytes"),
                                               InstanceAccessor<&ProgramObject::workspace_bytes>("workspaceBytes"),
                                               InstanceMethod<&ProgramObject::set_profiling>("setProfiling"),
                                               InstanceMethod<&ProgramObject::profile>("profile"),
                                           });
  Environment::of(env).program_constructor = Napi::Persistent(constructor);
  exports.Set("Program", constructor);
}

// new Program(encoded: Uint8Array, buffers: Buffer[], device?)
ProgramObject::ProgramObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ProgramObject>(info) {
  const Bytes encoded = bytes_argument(info, 0);
  if (!info[1].IsArray()) bad_argument(info, 1, "an array of native Buffers");
  const auto list = info[1].As<Napi::Array>();
  const std::shared_ptr<Device> device = device_argument(info, 2);
  std::vector<std::shared_ptr<MemoryBlock>> bound;
  for (uint32_t i = 0; i < list.Length(); i++) bound.push_back(BufferObject::unwrap(info.Env(), list.Get(i)).block(info.Env()));
  ProgramSpec spec;
  std::unique_ptr<Program> program;
  Status status = decode_program(reinterpret_cast<const uint8_t*>(encoded.data), encoded.size, &spec);
  if (status.ok()) status = Program::create(std::move(spec), std::move(bound), device, Engine::instance().threads(), &program);
  if (!status.ok()) throw to_error(info.Env(), status);
  program_ = std::move(program);
  counted_bytes_ = static_cast<int64_t>(program_->arena_bytes() + program_->workspace_bytes());
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), counted_bytes_);
}

ProgramObject::~ProgramObject() { release(Env()); }

void ProgramObject::release(Napi::Env env) {
  if (!program_) return;
  Napi::MemoryManagement::AdjustExternalMemory(env, -counted_bytes_);
  program_.reset();
}

void ProgramObject::dispose(const Napi::CallbackInfo& info) { release(info.Env()); }

Napi::Value ProgramObject::disposed(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), !program_); }

Napi::Value ProgramObject::arena_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), program_ ? static_cast<double>(program_->arena_bytes()) : 0.0);
}

Napi::Value ProgramObject::workspace_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), program_ ? static_cast<double>(program_->workspace_bytes()) : 0.0);
}

void ProgramObject::set_profiling(const Napi::CallbackInfo& info) {
  if (program_) program_->set_profiling(info[0].ToBoolean());
}

Napi::Value ProgramObject::profile(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto list = Napi::Array::New(env);
  if (!program_) return list;
  for (const Program::OpTime& time : program_->profile()) {
    auto entry = Napi::Object::New(env);
    entry.Set("op", Napi::String::New(env, time.name));
    entry.Set("calls", Napi::Number::New(env, static_cast<double>(time.calls)));
    entry.Set("nanoseconds", Napi::Number::New(env, static_cast<double>(time.nanoseconds)));
    list.Set(list.Length(), entry);
  }
  return list;
}

static Napi::Object to_object(Napi::Env env, const RunResult& run) {
  auto data = Napi::ArrayBuffer::New(env, run.data.size());
  if (!run.data.empty()) std::memcpy(data.Data(), run.data.data(), run.data.size());
  auto bytes = Napi::Array::New(env, run.output_bytes.size());
  for (uint32_t i = 0; i < run.output_bytes.size(); i++) bytes.Set(i, Napi::Number::New(env, static_cast<double>(run.output_bytes[i])));
  auto result = Napi::Object::New(env);
  result.Set("steps", Napi::Number::New(env, static_cast<double>(run.steps)));
  result.Set("nanoseconds", Napi::Number::New(env, static_cast<double>(run.kernel_nanoseconds)));
  result.Set("bytes", bytes);
  result.Set("data", data);
  return result;
}

// run(extents: number[], inputs: TypedArray[], steps, control?, partMilliseconds?)
//   → Promise<{ steps, nanoseconds, bytes: number[], data: ArrayBuffer, rest?: Promise of the same }>
Napi::Value ProgramObject::run(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!program_) {
    Napi::Error error = Napi::Error::New(env, "Program: used after dispose()");
    error.Set("code", Napi::String::New(env, "ERR_HEDDLE_DISPOSED"));
    throw error;
  }
  struct Call {
    RunRequest request;
    RunResult result;
    std::vector<std::byte> staging;
    std::shared_ptr<RunControl> control;
  };
  auto call = std::make_shared<Call>();
  if (!info[0].IsArray() || !info[1].IsArray()) bad_argument(info, 0, "an array of extents and an array of typed arrays");
  const auto extents = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < extents.Length(); i++) call->request.extents.push_back(extents.Get(i).ToNumber().Int64Value());
  const auto inputs = info[1].As<Napi::Array>();
  uint64_t total = 0;
  std::vector<Bytes> sources;
  for (uint32_t i = 0; i < inputs.Length(); i++) {
    sources.push_back(bytes_of(inputs.Get(i)));
    if (sources.back().size == UINT64_MAX) bad_argument(info, 1, "an array of typed arrays");
    total += sources.back().size;
  }
  call->staging.resize(total);
  std::byte* to = call->staging.data();
  for (const Bytes& source : sources) {
    if (source.size != 0) std::memcpy(to, source.data, source.size);
    call->request.inputs.emplace_back(to, source.size);
    to += source.size;
  }
  call->request.steps = integer_argument(info, 2, 1, 1 << 20);
  if (info[3].IsObject()) {
    if (!info[3].As<Napi::Object>().InstanceOf(Environment::of(env).control_constructor.Value())) bad_argument(info, 3, "a RunControl");
    call->control = Napi::ObjectWrap<RunControlObject>::Unwrap(info[3].As<Napi::Object>())->control();
    call->request.control = call->control.get();
  }
  const bool parts = info[4].IsNumber();
  if (parts) call->request.part_nanoseconds = integer_argument(info, 4, 0, 1 << 20) * 1'000'000;
  return Environment::of(env).run_in_parts(
      [program = program_, call, parts](ThreadPool& pool, const Environment::GivePart& give) {
        if (parts) {
          call->request.wanted_elsewhere = [] { return Engine::instance().wanted(); };
          call->request.take_part = [&give](RunResult&& part) {
            give([part = std::move(part)](Napi::Env to, Napi::Promise rest) -> Napi::Value {
              Napi::Object result = to_object(to, part);
              result.Set("rest", rest);
              return result;
            });
          };
        }
        return program->run(call->request, pool, &call->result);
      },
      [call](Napi::Env done) -> Napi::Value { return to_object(done, call->result); });
}

}  // namespace heddle
