#include "addon/safetensors_object.h"

#include <utility>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/file_job.h"

namespace heddle {

struct SafetensorsObject::Opened {
  std::shared_ptr<const MappedFile> file;
  SafetensorsHeader header;
};

void SafetensorsObject::install(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "SafetensorsFile",
                                           {
                                               StaticMethod<&SafetensorsObject::open>("open"),
                                               InstanceAccessor<&SafetensorsObject::disposed>("disposed"),
                                               InstanceMethod<&SafetensorsObject::entries>("entries"),
                                               InstanceMethod<&SafetensorsObject::metadata>("metadata"),
                                               InstanceMethod<&SafetensorsObject::read>("read"),
                                               InstanceMethod<&SafetensorsObject::close>("close"),
                                               InstanceMethod<&SafetensorsObject::close>(dispose_symbol(env)),
                                           });
  Environment::of(env).safetensors_constructor = Napi::Persistent(constructor);
  exports.Set("SafetensorsFile", constructor);
}

namespace {
// Only open() makes instances: it leaves here what the constructor takes.
thread_local std::shared_ptr<SafetensorsObject::Opened>* handed_over = nullptr;
}  // namespace

SafetensorsObject::SafetensorsObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SafetensorsObject>(info) {
  if (handed_over == nullptr) throw Napi::TypeError::New(info.Env(), "SafetensorsFile: use SafetensorsFile.open(path)");
  opened_ = std::move(*handed_over);
  handed_over = nullptr;
}

std::shared_ptr<const MappedFile> SafetensorsObject::file(Napi::Env env) const {
  if (!opened_) {
    Napi::Error error = Napi::Error::New(env, "SafetensorsFile: used after close()");
    error.Set("code", Napi::String::New(env, "ERR_HEDDLE_DISPOSED"));
    throw error;
  }
  return opened_->file;
}

SafetensorsObject& SafetensorsObject::unwrap(Napi::Env env, const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(Environment::of(env).safetensors_constructor.Value()))
    throw Napi::TypeError::New(env, "expected a SafetensorsFile");
  return *Napi::ObjectWrap<SafetensorsObject>::Unwrap(value.As<Napi::Object>());
}

// open(path, maxHeaderBytes?)
Napi::Value SafetensorsObject::open(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const uint64_t max_header = info[1].IsUndefined() ? kSafetensorsDefaultMaxHeader : static_cast<uint64_t>(integer_argument(info, 1));
  auto opened = std::make_shared<Opened>();
  return run_file_job(
      info.Env(),
      [path, max_header, opened] {
        HEDDLE_TRY(MappedFile::open(path, &opened->file));
        return read_safetensors_header(*opened->file, max_header, &opened->header);
      },
      [opened](Napi::Env env, Napi::Value) -> Napi::Value {
        auto parcel = opened;
        handed_over = &parcel;
        Napi::Value file;
        try {
          file = Environment::of(env).safetensors_constructor.New({});
        } catch (const Napi::Error&) {
          handed_over = nullptr;
          throw;
        }
        return file;
      });
}

Napi::Value SafetensorsObject::disposed(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), !opened_); }

void SafetensorsObject::close(const Napi::CallbackInfo&) { opened_.reset(); }  // running jobs hold their own references

// entries(): [{ name, dtype, shape, begin, end }] in the order of their bytes; begin and end count from the file's start.
Napi::Value SafetensorsObject::entries(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  file(env);
  const auto& entries = opened_->header.entries;
  auto result = Napi::Array::New(env, entries.size());
  for (uint32_t i = 0; i < entries.size(); i++) {
    Napi::HandleScope scope(env);
    const SafetensorsEntry& entry = entries[i];
    auto shape = Napi::Array::New(env, entry.shape.size());
    for (uint32_t k = 0; k < entry.shape.size(); k++) shape.Set(k, Napi::Number::New(env, static_cast<double>(entry.shape[k])));
    auto item = Napi::Object::New(env);
    item.Set("name", Napi::String::New(env, entry.name));
    item.Set("dtype", Napi::String::New(env, safetensors_dtype_name(entry.dtype)));
    item.Set("shape", shape);
    item.Set("begin", Napi::Number::New(env, static_cast<double>(entry.begin)));
    item.Set("end", Napi::Number::New(env, static_cast<double>(entry.end)));
    result.Set(i, item);
  }
  return result;
}

// metadata(): properties are defined, not assigned, so that a key such as "__proto__" is only a key.
Napi::Value SafetensorsObject::metadata(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  file(env);
  auto result = Napi::Object::New(env);
  for (const auto& [key, value] : opened_->header.metadata) {
    Napi::HandleScope scope(env);
    result.DefineProperty(Napi::PropertyDescriptor::Value(Napi::String::New(env, key), Napi::String::New(env, value),
                                                          static_cast<napi_property_attributes>(napi_enumerable | napi_configurable | napi_writable)));
  }
  return result;
}

// read(begin, end): a copy of these bytes of the file.
Napi::Value SafetensorsObject::read(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto source = file(env);
  const auto begin = static_cast<uint64_t>(integer_argument(info, 0));
  const auto end = static_cast<uint64_t>(integer_argument(info, 1));
  if (begin > end || end > source->size())
    throw Napi::RangeError::New(env, "SafetensorsFile.read: bytes " + std::to_string(begin) + " to " + std::to_string(end) + " do not lie in the " +
                                         std::to_string(source->size()) + " of " + source->path());
  // Filled off this thread; JavaScript sees it only once it is complete.
  auto target = Napi::ArrayBuffer::New(env, end - begin);
  void* data = target.Data();
  return run_file_job(
      env, [source, begin, end, data] { return source->read(begin, end - begin, data); }, [](Napi::Env, Napi::Value keep) { return keep; }, target);
}

}  // namespace heddle
