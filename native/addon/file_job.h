// Work on a file or a bus, done on Node's own thread pool so that neither the event loop nor the engine waits for it.
#pragma once
#include <napi.h>

#include <functional>

#include "core/status.h"

namespace heddle {

// Runs `work` off this thread, then resolves the promise with what `finish` makes of it on this thread; a failed Status
// rejects it. Neither may hold JavaScript values except through `keep`, which stays alive until then. Environments that go
// away wait for `work` and drop the rest.
Napi::Promise run_file_job(Napi::Env env, std::function<Status()> work, std::function<Napi::Value(Napi::Env, Napi::Value keep)> finish, Napi::Value keep = {});

}  // namespace heddle
