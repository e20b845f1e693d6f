// One per JavaScript environment (the main thread and each worker): how finished engine jobs get back to it.
//
// A job runs on the engine thread and then settles its promise through the environment's thread-safe function. Jobs hold
// native data only, never JavaScript values; an environment that goes away drops their results.
#pragma once
#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>

#include "core/status.h"
#include "cpu/thread_pool.h"

namespace heddle {

// A JavaScript Error with `code` set.
Napi::Error to_error(Napi::Env env, const Status& status);

class Environment {
 public:
  static void install(Napi::Env env);
  static Environment& of(Napi::Env env);

  // Runs `work` on the engine thread, then resolves the returned promise with what `finish` makes of it on this thread.
  // A failed Status rejects it. The process stays alive while such jobs are pending.
  Napi::Promise run(std::function<Status(ThreadPool&)> work, std::function<Napi::Value(Napi::Env)> finish);

  // As `run`, for work that has parts of its result ready earlier: a part resolves the promise with what its function makes of a
  // new promise, which stands for the rest.
  using Part = std::function<Napi::Value(Napi::Env, Napi::Promise rest)>;
  using GivePart = std::function<void(Part)>;
  Napi::Promise run_in_parts(std::function<Status(ThreadPool&, const GivePart&)> work, std::function<Napi::Value(Napi::Env)> finish);

  // Constructors of this environment's native classes, kept alive by it.
  Napi::FunctionReference buffer_constructor;
  Napi::FunctionReference program_constructor;
  Napi::FunctionReference control_constructor;
  Napi::FunctionReference safetensors_constructor;

 private:
  struct Job;
  struct Message;
  struct Channel;  // what the engine thread may touch: outlives the environment

  static void deliver(napi_env env, napi_value callback, void* context, void* data);

  std::shared_ptr<Channel> channel_;
};

}  // namespace heddle
