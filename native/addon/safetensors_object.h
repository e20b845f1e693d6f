// class SafetensorsFile: an open file whose header obeyed every rule of the format.
#pragma once
#include <napi.h>

#include <memory>

#include "core/mapped_file.h"
#include "core/safetensors.h"

namespace heddle {

class SafetensorsObject : public Napi::ObjectWrap<SafetensorsObject> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit SafetensorsObject(const Napi::CallbackInfo& info);

  // The file, for jobs to hold; throws into JavaScript after close(). Offsets of entries are offsets into it.
  std::shared_ptr<const MappedFile> file(Napi::Env env) const;
  // The native side of a JavaScript SafetensorsFile; throws when `value` is something else.
  static SafetensorsObject& unwrap(Napi::Env env, const Napi::Value& value);

  struct Opened;

 private:
  static Napi::Value open(const Napi::CallbackInfo& info);
  Napi::Value disposed(const Napi::CallbackInfo& info);
  Napi::Value entries(const Napi::CallbackInfo& info);
  Napi::Value metadata(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);

  std::shared_ptr<Opened> opened_;
};

}  // namespace heddle
