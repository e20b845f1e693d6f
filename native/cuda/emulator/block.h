// The threads of the launch that runs: who is ready, who waits for what.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/emulator/emulated_types.h"
#include "cuda/emulator/fiber.h"
#include "cuda/emulator/warp_exchange.h"

namespace heddle::emulator {

struct Launch {
  std::string op;
  dim3 grid;
  unsigned threads = 0;
  size_t dynamic_shared = 0;
  bool cooperative = false;
  std::function<void()> body;
};

// What a lane brought to an exchange.
struct Request {
  uint64_t value = 0;
  uint64_t result = 0;
  int64_t argument = 0;
  uint32_t mask = 0;
  WarpKind kind = WarpKind::kSync;
  Site site = {};
};

struct AsyncCopy {
  const void* from;
  uint32_t to;
  uint32_t group;
  bool valid;
};

enum class ThreadState : uint8_t { kNew, kReady, kBarrier, kWarp, kYielded, kExited };

struct Block;

struct alignas(64) Thread {
  Context context;
  Stack* stack = nullptr;
  Block* block = nullptr;
  uint32_t index = 0;
  ThreadState state = ThreadState::kNew;
  Request request;
  std::vector<AsyncCopy> copies;  // that have not landed, the oldest first
  uint32_t copy_groups = 0;       // committed so far
};

// [a][b]: when lane a last met lane b.
using LaneTimes = std::array<std::array<uint32_t, 32>, 32>;

struct Warp {
  uint32_t ready = 0, waiting = 0, yielded = 0, exited = 0;
  uint32_t sync_time = 0;          // of the last __syncwarp of the whole warp
  std::unique_ptr<LaneTimes> met;  // through a __syncwarp of some lanes; absent before the first
};

struct SharedMemory;

struct Block {
  uint3 index = {};
  std::vector<Thread> threads;
  Warp warps[32];
  uint32_t ready_warps = 0;
  uint32_t thread_count = 0, warp_count = 0;
  uint32_t alive = 0, exited = 0;
  BarrierKind barrier_kind = BarrierKind::kPlain;
  Site barrier_site = {};
  uint32_t arrived = 0;
  int arrived_true = 0, barrier_result = 0;
  SharedMemory* shared = nullptr;
};

struct Scheduler {
  const Launch* launch = nullptr;
  Block* block = nullptr;      // of `thread`
  Thread* thread = nullptr;    // that runs; nullptr: the host's own code does
  uint32_t warp = 0;
  Context host;
  uint64_t progress = 0;       // counts what a waiting block may be waiting for
  uint32_t acquires = 0;
  uint64_t random = 0;         // 0: in order
  bool failed = false;
  bool bad_access = false;     // failed by touching memory that is not there
  char message[1024] = {};
};

extern __attribute__((visibility("hidden"))) Scheduler scheduler;

// Runs all blocks; false: scheduler.message says what went wrong.
bool run_launch(const Launch& launch, uint64_t seed);

// The current thread has been marked as waiting: the next one runs, and this one goes on when somebody makes it ready.
void leave_thread();
void make_ready(Block* block, uint32_t warp, uint32_t lanes);

}  // namespace heddle::emulator
