// Reading JavaScript arguments, with one wording of errors. TypeScript has checked meaning; this keeps memory safe.
#pragma once
#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>

namespace heddle {

[[noreturn]] inline void bad_argument(const Napi::CallbackInfo& info, size_t index, const char* expected) {
  throw Napi::TypeError::New(info.Env(), "argument " + std::to_string(index + 1) + ": expected " + expected);
}

inline int64_t integer_argument(const Napi::CallbackInfo& info, size_t index, int64_t lowest = 0, int64_t highest = (int64_t{1} << 53)) {
  if (!info[index].IsNumber()) bad_argument(info, index, "a number");
  const double value = info[index].As<Napi::Number>().DoubleValue();
  if (!(value >= static_cast<double>(lowest) && value <= static_cast<double>(highest)) || value != std::floor(value))
    bad_argument(info, index, ("an integer from " + std::to_string(lowest) + " to " + std::to_string(highest)).c_str());
  return static_cast<int64_t>(value);
}

inline std::string string_argument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsString()) bad_argument(info, index, "a string");
  return info[index].As<Napi::String>().Utf8Value();
}

// The bytes behind a typed array or DataView; valid until JavaScript runs again.
struct Bytes {
  const std::byte* data;
  uint64_t size;
};

inline Bytes bytes_of(const Napi::Value& value) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    return {static_cast<const std::byte*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
  }
  return {nullptr, UINT64_MAX};
}

inline Bytes bytes_argument(const Napi::CallbackInfo& info, size_t index) {
  const Bytes bytes = bytes_of(info[index]);
  if (bytes.size == UINT64_MAX) bad_argument(info, index, "a typed array");
  return bytes;
}

// Symbol.dispose, also on runtimes that only have the polyfilled symbol.
inline Napi::Symbol dispose_symbol(Napi::Env env) {
  const Napi::Value symbol = env.Global().Get("Symbol").As<Napi::Object>().Get("dispose");
  return symbol.IsSymbol() ? symbol.As<Napi::Symbol>() : Napi::Symbol::For(env, "Symbol.dispose");
}

}  // namespace heddle
