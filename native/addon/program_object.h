// class Program: a verified program. class RunControl: what stops a run from another thread.
#pragma once
#include <napi.h>

#include <memory>

#include "executor/program.h"

namespace heddle {

class RunControlObject : public Napi::ObjectWrap<RunControlObject> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit RunControlObject(const Napi::CallbackInfo& info);
  std::shared_ptr<RunControl> control() const { return control_; }

 private:
  void abort(const Napi::CallbackInfo& info);
  void interrupt(const Napi::CallbackInfo& info);
  void reset(const Napi::CallbackInfo& info);

  std::shared_ptr<RunControl> control_ = std::make_shared<RunControl>();
};

class ProgramObject : public Napi::ObjectWrap<ProgramObject> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit ProgramObject(const Napi::CallbackInfo& info);
  ~ProgramObject() override;

 private:
  void release(Napi::Env env);
  Napi::Value run(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value arena_bytes(const Napi::CallbackInfo& info);
  Napi::Value workspace_bytes(const Napi::CallbackInfo& info);
  void set_profiling(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);

  std::shared_ptr<Program> program_;
  int64_t counted_bytes_ = 0;
};

}  // namespace heddle
