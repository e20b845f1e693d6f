// class Buffer: a block of native memory owned by JavaScript, written and read in order with the engine's jobs.
#pragma once
#include <napi.h>

#include <memory>

#include "core/memory.h"

namespace heddle {

class BufferObject : public Napi::ObjectWrap<BufferObject> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit BufferObject(const Napi::CallbackInfo& info);
  ~BufferObject() override;

  // The block, for jobs to hold; throws into JavaScript after dispose().
  std::shared_ptr<MemoryBlock> block(Napi::Env env) const;
  // The native side of a JavaScript Buffer; throws when `value` is something else.
  static BufferObject& unwrap(Napi::Env env, const Napi::Value& value);

 private:
  void release(Napi::Env env);
  Napi::Value byte_length(const Napi::CallbackInfo& info);
  Napi::Value held_bytes(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);

  std::shared_ptr<MemoryBlock> block_;
};

}  // namespace heddle
