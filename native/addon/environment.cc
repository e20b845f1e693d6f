#include "addon/environment.h"

#include <utility>

#include "executor/engine.h"

namespace heddle {

Napi::Error to_error(Napi::Env env, const Status& status) {
  Napi::Error error = Napi::Error::New(env, status.message);
  error.Set("code", Napi::String::New(env, status_code_name(status.code)));
  return error;
}

struct Environment::Job {
  Napi::Promise::Deferred deferred;  // touched on the environment's thread only
  std::function<Status(ThreadPool&, const GivePart&)> work;
  std::function<Napi::Value(Napi::Env)> finish;
  Status status;
};

struct Environment::Message {
  std::shared_ptr<Job> job;
  Part part;  // empty: the job is done
};

struct Environment::Channel {
  std::mutex mutex;
  bool closing = false;  // set under the mutex before the thread-safe function may die
  napi_threadsafe_function deliver = nullptr;
  int pending = 0;  // touched on the environment's thread only

  void send(Message message) {
    std::lock_guard<std::mutex> lock(mutex);
    if (closing) return;
    auto* data = new Message(std::move(message));
    if (napi_call_threadsafe_function(deliver, data, napi_tsfn_nonblocking) != napi_ok) delete data;
  }
};

void Environment::install(Napi::Env env) {
  auto* environment = new Environment();
  environment->channel_ = std::make_shared<Channel>();
  env.SetInstanceData(environment);  // deleted with the environment
  auto* context = new std::shared_ptr<Channel>(environment->channel_);
  napi_value name;
  napi_create_string_utf8(env, "heddle", NAPI_AUTO_LENGTH, &name);
  const napi_status made = napi_create_threadsafe_function(
      env, nullptr, nullptr, name, 0, 1, context,
      [](napi_env, void*, void* data) { delete static_cast<std::shared_ptr<Channel>*>(data); }, context, deliver, &environment->channel_->deliver);
  if (made != napi_ok) throw Napi::Error::New(env, "heddle: could not create a thread-safe function");
  napi_unref_threadsafe_function(env, environment->channel_->deliver);
  env.AddCleanupHook([channel = environment->channel_] {
    std::lock_guard<std::mutex> lock(channel->mutex);
    channel->closing = true;
  });
}

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

Napi::Promise Environment::run(std::function<Status(ThreadPool&)> work, std::function<Napi::Value(Napi::Env)> finish) {
  return run_in_parts([work = std::move(work)](ThreadPool& pool, const GivePart&) { return work(pool); }, std::move(finish));
}

Napi::Promise Environment::run_in_parts(std::function<Status(ThreadPool&, const GivePart&)> work,
                                        std::function<Napi::Value(Napi::Env)> finish) {
  Napi::Env env = buffer_constructor.Env();
  auto job = std::make_shared<Job>(Job{Napi::Promise::Deferred::New(env), std::move(work), std::move(finish), Status::success()});
  const Napi::Promise promise = job->deferred.Promise();
  if (channel_->pending++ == 0) napi_ref_threadsafe_function(env, channel_->deliver);
  Engine::instance().post([channel = channel_, job](ThreadPool& pool) mutable {
    {
      std::lock_guard<std::mutex> lock(channel->mutex);
      if (channel->closing) return;
    }
    try {
      job->status = job->work(pool, [&](Part part) { channel->send({job, std::move(part)}); });
    } catch (const std::bad_alloc&) {
      job->status = fail(StatusCode::kOutOfMemory, "out of memory");
    } catch (const std::exception& error) {
      job->status = fail(StatusCode::kInvalidArgument, error.what());
    }
    job->work = nullptr;
    channel->send({std::move(job), nullptr});
  });
  return promise;
}

void Environment::deliver(napi_env raw, napi_value, void* context, void* data) {
  const std::unique_ptr<Message> message(static_cast<Message*>(data));
  if (raw == nullptr) return;  // the environment is going away
  Napi::Env env(raw);
  Napi::HandleScope scope(env);
  Channel& channel = **static_cast<std::shared_ptr<Channel>*>(context);
  Job& job = *message->job;
  try {
    if (message->part) {
      const Napi::Promise::Deferred now = job.deferred;
      job.deferred = Napi::Promise::Deferred::New(env);
      now.Resolve(message->part(env, job.deferred.Promise()));
    } else if (job.status.ok()) {
      job.deferred.Resolve(job.finish(env));
    } else {
      job.deferred.Reject(to_error(env, job.status).Value());
    }
  } catch (const Napi::Error&) {
    // The environment is being terminated: there is nobody left to tell.
  }
  if (!message->part && --channel.pending == 0) napi_unref_threadsafe_function(raw, channel.deliver);
}

}  // namespace heddle
