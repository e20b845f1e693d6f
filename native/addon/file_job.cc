#include "addon/file_job.h"

#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "addon/environment.h"

namespace heddle {
namespace {

struct FileJob {
  napi_async_work handle = nullptr;
  napi_deferred deferred = nullptr;
  napi_ref keep = nullptr;
  std::function<Status()> work;
  std::function<Napi::Value(Napi::Env, Napi::Value)> finish;
  Status status;
};

void execute(napi_env, void* data) {
  auto* job = static_cast<FileJob*>(data);
  try {
    job->status = job->work();
  } catch (const std::bad_alloc&) {
    job->status.code = StatusCode::kOutOfMemory;
  } catch (const std::exception&) {
    job->status.code = StatusCode::kIo;
  }
}

void complete(napi_env raw, napi_status, void* data) {
  const std::unique_ptr<FileJob> job(static_cast<FileJob*>(data));
  job->work = nullptr;
  Napi::Env env(raw);
  try {
    Napi::HandleScope scope(env);
    napi_value keep = nullptr;
    if (job->keep != nullptr) {
      napi_get_reference_value(raw, job->keep, &keep);
      napi_delete_reference(raw, job->keep);
    }
    if (job->status.ok()) {
      try {
        napi_resolve_deferred(raw, job->deferred, job->finish(env, Napi::Value(raw, keep)));
      } catch (const Napi::Error& error) {
        napi_reject_deferred(raw, job->deferred, error.Value());
      }
    } else {
      napi_reject_deferred(raw, job->deferred, to_error(env, job->status).Value());
    }
  } catch (const Napi::Error&) {
    // The environment is being terminated: there is nobody left to tell.
  }
  napi_delete_async_work(raw, job->handle);
}

}  // namespace

Napi::Promise run_file_job(Napi::Env env, std::function<Status()> work, std::function<Napi::Value(Napi::Env, Napi::Value keep)> finish, Napi::Value keep) {
  auto job = std::make_unique<FileJob>();
  job->work = std::move(work);
  job->finish = std::move(finish);
  napi_value promise, name;
  if (napi_create_promise(env, &job->deferred, &promise) != napi_ok || napi_create_string_utf8(env, "heddle.file", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      (!keep.IsEmpty() && napi_create_reference(env, keep, 1, &job->keep) != napi_ok) ||
      napi_create_async_work(env, nullptr, name, execute, complete, job.get(), &job->handle) != napi_ok)
    throw Napi::Error::New(env);
  if (napi_queue_async_work(env, job->handle) != napi_ok) {
    napi_delete_async_work(env, job->handle);
    throw Napi::Error::New(env);
  }
  job.release();  // complete() owns it now
  return Napi::Promise(env, promise);
}

}  // namespace heddle
