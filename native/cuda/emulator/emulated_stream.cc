// Streams, events and graphs. Work waits in its stream until somebody waits for the stream.
#include <algorithm>
#include <chrono>

#include "cuda/emulator/device_memory.h"
#include "cuda/emulator/device_state.h"

using namespace heddle::emulator;

struct CUstream_st {
  std::deque<StreamItem> queue;
  bool blocking = true;            // waits for the default stream and it for this one
  Capture* capture = nullptr;
  bool joined = false;             // the capture's origin has waited for what this forked stream did last
};
struct CUevent_st {
  std::shared_ptr<EventState> state = std::make_shared<EventState>();
  bool timing = true;
};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace heddle::emulator {

namespace {

CUstream_st* default_stream() {
  static CUstream_st stream;
  return &stream;
}

CUstream_st* resolve(CUstream_st* stream) { return stream == nullptr ? default_stream() : stream; }

bool is_stream(CUstream_st* stream) {
  const auto& all = device().streams;
  return stream == nullptr || stream == default_stream() || std::find(all.begin(), all.end(), stream) != all.end();
}

double now() { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Carries out the stream's first item, after what it waits for.
void step(CUstream_st* stream) {
  StreamItem item = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (item.wait) {
    while (item.event->done < item.version && !item.wait_stream->queue.empty()) step(item.wait_stream);
  } else if (item.event != nullptr) {
    item.event->done = std::max(item.event->done, item.version);
    item.event->time = now();
  } else if (device().sticky == cudaSuccess) {
    const cudaError_t error = item.work();
    if (error != cudaSuccess) device().sticky = error;
  }
}

void complete(EventState& event) {
  CUstream_st* stream = event.stream;
  if (event.done == event.recorded) return;
  const DeviceAccess access;
  while (event.done < event.recorded && !stream->queue.empty()) step(stream);
}

// The default stream and the blocking streams see each other's work as done.
void settle_default(CUstream_st* stream) {
  if (stream == default_stream()) {
    for (CUstream_st* other : device().streams) {
      if (other->blocking && other->capture == nullptr) drain(other);
    }
  } else if (stream->blocking && !default_stream()->queue.empty()) {
    drain(default_stream());
  }
}

void leave_capture(Capture* capture) {
  for (CUstream_st* stream : device().streams) {
    if (stream->capture == capture) stream->capture = nullptr;
  }
  if (device().capture == capture) device().capture = nullptr;
  device().strict_capture = false;
  device().strict_thread = {};
  delete capture;
}

}  // namespace

cudaError_t drain(CUstream_st* stream) {
  stream = resolve(stream);
  if (stream->queue.empty()) return device().sticky;
  const DeviceAccess access;  // opening device memory takes time: once for everything that runs now
  while (!stream->queue.empty()) step(stream);
  return device().sticky;
}

cudaError_t drain_all() {
  drain(nullptr);
  for (size_t i = 0; i < device().streams.size(); i++) drain(device().streams[i]);
  return device().sticky;
}

bool is_capturing(CUstream_st* stream) { return resolve(stream)->capture != nullptr; }

cudaError_t refuse_in_capture() {
  if (device().capture != nullptr && device().capture->invalid == cudaSuccess) device().capture->invalid = cudaErrorStreamCaptureInvalidated;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t enqueue(CUstream_st* stream, Work work) {
  if (!is_stream(stream)) return cudaErrorInvalidResourceHandle;
  stream = resolve(stream);
  if (stream->capture != nullptr) {
    if (stream->capture->invalid != cudaSuccess) return stream->capture->invalid;
    stream->capture->work.push_back(std::move(work));
    stream->joined = false;
    return cudaSuccess;
  }
  if (stream == default_stream() && device().capture != nullptr) {
    refuse_in_capture();
    return cudaErrorStreamCaptureImplicit;
  }
  settle_default(stream);
  StreamItem item;
  item.work = std::move(work);
  stream->queue.push_back(std::move(item));
  return cudaSuccess;
}

void drop_streams() {
  default_stream()->queue.clear();
  for (CUstream_st* stream : device().streams) {
    stream->queue.clear();
    stream->capture = nullptr;
  }
  delete device().capture;
  device().capture = nullptr;
}

}  // namespace heddle::emulator

namespace {

// The start of every function below.
#define HEDDLE_EMULATED_CALL                                          \
  const std::lock_guard<std::recursive_mutex> guard(device().lock);   \
  if (const cudaError_t refused = check_device(); refused != cudaSuccess) return finish_call(refused)

}  // namespace

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  HEDDLE_EMULATED_CALL;
  if (stream == nullptr || flags > cudaStreamNonBlocking) return finish_call(cudaErrorInvalidValue);
  *stream = new CUstream_st();
  (*stream)->blocking = flags != cudaStreamNonBlocking;
  device().streams.push_back(*stream);
  return finish_call(cudaSuccess);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) { return cudaStreamCreateWithFlags(stream, flags); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  if (stream == nullptr || !is_stream(stream)) return finish_call(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) leave_capture(stream->capture);
  drain(stream);
  auto& all = device().streams;
  all.erase(std::find(all.begin(), all.end(), stream));
  delete stream;
  return finish_call(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  HEDDLE_EMULATED_CALL;
  if (!is_stream(stream)) return finish_call(cudaErrorInvalidResourceHandle);
  if (is_capturing(stream)) return finish_call(refuse_in_capture());
  settle_default(resolve(stream));
  return finish_call(drain(stream));
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  HEDDLE_EMULATED_CALL;
  if (!is_stream(stream) || event == nullptr) return finish_call(cudaErrorInvalidResourceHandle);
  CUstream_st* waiting = resolve(stream);
  EventState& state = *event->state;
  if (state.capture != nullptr && state.capture == device().capture) {
    Capture* capture = device().capture;
    if (waiting->capture == nullptr) {
      waiting->capture = capture;
      waiting->joined = true;
      capture->forked.push_back(waiting);
    } else if (waiting == capture->origin && state.stream != nullptr) {
      state.stream->joined = true;
    }
    return finish_call(cudaSuccess);
  }
  if (waiting->capture != nullptr) {  // waits for something outside: has no place in a graph
    if (state.recorded == state.done) return finish_call(cudaSuccess);
    refuse_in_capture();
    return finish_call(cudaErrorStreamCaptureIsolation);
  }
  if (state.recorded == 0) return finish_call(cudaSuccess);
  StreamItem item;
  item.event = event->state;
  item.version = state.recorded;
  item.wait_stream = state.stream;
  item.wait = true;
  waiting->queue.push_back(std::move(item));
  return finish_call(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  HEDDLE_EMULATED_CALL;
  if (event == nullptr) return finish_call(cudaErrorInvalidValue);
  *event = new CUevent_st();
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return finish_call(cudaSuccess);
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  if (event == nullptr) return finish_call(cudaErrorInvalidResourceHandle);
  delete event;
  return finish_call(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  HEDDLE_EMULATED_CALL;
  if (!is_stream(stream) || event == nullptr) return finish_call(cudaErrorInvalidResourceHandle);
  CUstream_st* in = resolve(stream);
  EventState& state = *event->state;
  state.stream = in;
  state.capture = in->capture;
  if (in->capture != nullptr) return finish_call(in->capture->invalid);
  StreamItem item;
  item.event = event->state;
  item.version = ++state.recorded;
  in->queue.push_back(std::move(item));
  return finish_call(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  HEDDLE_EMULATED_CALL;
  if (event == nullptr) return finish_call(cudaErrorInvalidResourceHandle);
  if (event->state->capture != nullptr && event->state->capture == device().capture) {
    refuse_in_capture();
    return finish_call(cudaErrorCapturedEvent);
  }
  if (may_not_wait()) return finish_call(refuse_in_capture());
  if (event->state->recorded > 0) complete(*event->state);
  return finish_call(device().sticky);
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  HEDDLE_EMULATED_CALL;
  if (milliseconds == nullptr) return finish_call(cudaErrorInvalidValue);
  if (from == nullptr || to == nullptr || !from->timing || !to->timing || from->state->recorded == 0 || to->state->recorded == 0)
    return finish_call(cudaErrorInvalidResourceHandle);
  if (from->state->done < from->state->recorded || to->state->done < to->state->recorded) return finish_call(cudaErrorNotReady);
  *milliseconds = static_cast<float>(to->state->time - from->state->time);
  return finish_call(cudaSuccess);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  HEDDLE_EMULATED_CALL;
  if (!is_stream(stream)) return finish_call(cudaErrorInvalidResourceHandle);
  if (stream == nullptr) return finish_call(cudaErrorStreamCaptureUnsupported);
  if (device().capture != nullptr) return finish_call(cudaErrorStreamCaptureUnsupported);
  auto* capture = new Capture();
  capture->origin = stream;
  stream->capture = device().capture = capture;
  device().strict_capture = mode == cudaStreamCaptureModeGlobal;
  if (mode == cudaStreamCaptureModeThreadLocal) device().strict_thread = std::this_thread::get_id();
  return finish_call(cudaSuccess);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  HEDDLE_EMULATED_CALL;
  if (!is_stream(stream) || stream == nullptr || graph == nullptr) return finish_call(cudaErrorInvalidValue);
  *graph = nullptr;
  Capture* capture = stream->capture;
  if (capture == nullptr) return finish_call(cudaErrorInvalidValue);
  if (capture->origin != stream) return finish_call(cudaErrorStreamCaptureUnmatched);
  cudaError_t error = capture->invalid;
  for (CUstream_st* forked : capture->forked) {
    if (!forked->joined && error == cudaSuccess) error = cudaErrorStreamCaptureUnjoined;
  }
  if (error == cudaSuccess) *graph = new CUgraph_st{std::move(capture->work)};
  leave_capture(capture);
  return finish_call(error);
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  HEDDLE_EMULATED_CALL;
  if (!is_stream(stream) || status == nullptr) return finish_call(cudaErrorInvalidValue);
  const Capture* capture = resolve(stream)->capture;
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->invalid != cudaSuccess ? cudaStreamCaptureStatusInvalidated : cudaStreamCaptureStatusActive;
  return finish_call(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  HEDDLE_EMULATED_CALL;
  if (executable == nullptr || graph == nullptr) return finish_call(cudaErrorInvalidValue);
  *executable = new CUgraphExec_st{graph->work};
  return finish_call(cudaSuccess);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  HEDDLE_EMULATED_CALL;
  if (executable == nullptr) return finish_call(cudaErrorInvalidValue);
  for (const Work& work : executable->work) {
    if (const cudaError_t error = enqueue(stream, work); error != cudaSuccess) return finish_call(error);
  }
  return finish_call(cudaSuccess);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  delete executable;
  return finish_call(executable == nullptr ? cudaErrorInvalidValue : cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::lock_guard<std::recursive_mutex> guard(device().lock);
  delete graph;
  return finish_call(graph == nullptr ? cudaErrorInvalidValue : cudaSuccess);
}
