// The emulated device as a whole: its lock, the error that sticks, faults that tests ask for, and its streams.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cuda/emulator/emulated_runtime.h"

namespace heddle::emulator {

using Work = std::function<cudaError_t()>;

struct EventState {
  CUstream_st* stream = nullptr;  // of the last record
  uint64_t recorded = 0, done = 0;
  double time = 0;                // of the last record that was carried out, milliseconds
  const void* capture = nullptr;  // recorded inside this capture
};

struct StreamItem {
  Work work;                          // or, without one:
  std::shared_ptr<EventState> event;  // to record, or to wait for in `wait_stream`
  uint64_t version = 0;
  CUstream_st* wait_stream = nullptr;
  bool wait = false;
};

struct Capture {
  std::vector<Work> work;
  CUstream_st* origin = nullptr;
  std::vector<CUstream_st*> forked;
  cudaError_t invalid = cudaSuccess;
};

struct DeviceState {
  std::recursive_mutex lock;
  cudaError_t sticky = cudaSuccess;  // an error of a kernel: every call gives it from then on
  cudaError_t last = cudaSuccess;
  std::string message;               // of the sticky error
  uint64_t launches = 0;
  std::vector<CUstream_st*> streams;
  Capture* capture = nullptr;        // the one that is going on
  bool strict_capture = false;       // calls that may wait are refused meanwhile, whoever makes them
  std::thread::id strict_thread;     // or those of this thread alone
};

DeviceState& device();

enum class Fault { kNone, kNoDriver, kOldDriver, kNoDevice, kOutOfMemory, kLost };
Fault asked_fault(uint64_t* count);

// Every call passes its result through here: it becomes cudaGetLastError's, and a sticky error takes its place.
cudaError_t finish_call(cudaError_t error);
// What a call starts with: driver and device are there, and no error sticks.
cudaError_t check_device();

// Puts work into a stream, or into the capture that the stream belongs to.
cudaError_t enqueue(CUstream_st* stream, Work work);
cudaError_t drain(CUstream_st* stream);
cudaError_t drain_all();
bool is_capturing(CUstream_st* stream);
// A call that a capture does not allow: the capture becomes invalid.
cudaError_t refuse_in_capture();
// Whether a capture forbids this thread the calls that may wait.
inline bool may_not_wait() { return device().strict_capture || device().strict_thread == std::this_thread::get_id(); }
void drop_streams();

}  // namespace heddle::emulator
