#include "addon/buffer_object.h"

#include <cstring>
#include <vector>

#include "addon/arguments.h"
#include "addon/device_argument.h"
#include "addon/environment.h"
#include "addon/file_job.h"

namespace heddle {

void BufferObject::install(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor = DefineClass(env, "Buffer",
                                           {
                                               InstanceAccessor<&BufferObject::byte_length>("byteLength"),
                                               InstanceAccessor<&BufferObject::held_bytes>("heldBytes"),
                                               InstanceAccessor<&BufferObject::disposed>("disposed"),
                                               InstanceMethod<&BufferObject::dispose>("dispose"),
                                               InstanceMethod<&BufferObject::dispose>(dispose_symbol(env)),
                                               InstanceMethod<&BufferObject::write>("write"),
                                               InstanceMethod<&BufferObject::read>("read"),
                                           });
  Environment::of(env).buffer_constructor = Napi::Persistent(constructor);
  exports.Set("Buffer", constructor);
}

// new Buffer(bytes, device?)
BufferObject::BufferObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BufferObject>(info) {
  const auto bytes = static_cast<uint64_t>(integer_argument(info, 0));
  const std::shared_ptr<Device> device = device_argument(info, 1);
  const Status status = MemoryBlock::allocate(bytes, device->memory(), &block_);
  if (!status.ok()) throw to_error(info.Env(), status);
  Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<int64_t>(block_->bytes()));
}

BufferObject::~BufferObject() { release(Env()); }

void BufferObject::release(Napi::Env env) {
  if (!block_) return;
  Napi::MemoryManagement::AdjustExternalMemory(env, -static_cast<int64_t>(block_->bytes()));
  block_.reset();  // running jobs hold their own references
}

std::shared_ptr<MemoryBlock> BufferObject::block(Napi::Env env) const {
  if (!block_) {
    Napi::Error error = Napi::Error::New(env, "Buffer: used after dispose()");
    error.Set("code", Napi::String::New(env, "ERR_HEDDLE_DISPOSED"));
    throw error;
  }
  return block_;
}

BufferObject& BufferObject::unwrap(Napi::Env env, const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(Environment::of(env).buffer_constructor.Value()))
    throw Napi::TypeError::New(env, "expected a native Buffer");
  return *Napi::ObjectWrap<BufferObject>::Unwrap(value.As<Napi::Object>());
}

Napi::Value BufferObject::byte_length(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), block_ ? static_cast<double>(block_->bytes()) : 0.0);
}

Napi::Value BufferObject::held_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), block_ ? static_cast<double>(block_->held_bytes()) : 0.0);
}

Napi::Value BufferObject::disposed(const Napi::CallbackInfo& info) { return Napi::Boolean::New(info.Env(), !block_); }

void BufferObject::dispose(const Napi::CallbackInfo& info) { release(info.Env()); }

// write(offset, typedArray, beside?): copies now, stores before any job that is posted later. Beside jobs, for a device's memory only, it
// waits for none of them; whoever starts a job that reads the bytes waits for the promise first.
Napi::Value BufferObject::write(const Napi::CallbackInfo& info) {
  auto target = block(info.Env());
  const uint64_t offset = static_cast<uint64_t>(integer_argument(info, 0));
  const Bytes source = bytes_argument(info, 1);
  if (offset > target->bytes() || source.size > target->bytes() - offset)
    throw Napi::RangeError::New(info.Env(), "Buffer.write: " + std::to_string(source.size) + " bytes at " + std::to_string(offset) +
                                                " do not fit into " + std::to_string(target->bytes()));
  auto data = std::make_shared<std::vector<std::byte>>(source.data, source.data + source.size);
  if (target->device() != nullptr && info[2].ToBoolean())
    return run_file_job(
        info.Env(), [target, offset, data] { return target->write(offset, data->data(), data->size()); },
        [](Napi::Env env, Napi::Value) { return env.Undefined(); });
  return Environment::of(info.Env()).run(
      [target, offset, data](ThreadPool&) {
        return target->write(offset, data->data(), data->size());
      },
      [](Napi::Env env) { return env.Undefined(); });
}

// read(offset, bytes): a copy of what all earlier jobs left there.
Napi::Value BufferObject::read(const Napi::CallbackInfo& info) {
  auto source = block(info.Env());
  const uint64_t offset = static_cast<uint64_t>(integer_argument(info, 0));
  const uint64_t bytes = static_cast<uint64_t>(integer_argument(info, 1));
  if (offset > source->bytes() || bytes > source->bytes() - offset)
    throw Napi::RangeError::New(info.Env(), "Buffer.read: " + std::to_string(bytes) + " bytes at " + std::to_string(offset) +
                                                " do not lie in " + std::to_string(source->bytes()));
  auto data = std::make_shared<std::vector<std::byte>>(bytes);
  return Environment::of(info.Env()).run(
      [source, offset, data](ThreadPool&) {
        return source->read(offset, data->data(), data->size());
      },
      [data](Napi::Env env) -> Napi::Value {
        auto copy = Napi::ArrayBuffer::New(env, data->size());
        if (!data->empty()) std::memcpy(copy.Data(), data->data(), data->size());
        return copy;
      });
}

}  // namespace heddle
