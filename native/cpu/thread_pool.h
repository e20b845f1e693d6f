// Worker threads for one parallel loop at a time, driven by the engine thread.
//
// Chunks are claimed from an atomic counter, and a loop ends when all chunks are done, not when all threads have
// arrived: a thread that lost its core costs the chunk it holds, never the loop. Idle threads spin for some
// microseconds, then sleep in the kernel, so that a busy neighbour or the event loop gets the core.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>

namespace heddle {

class ThreadPool {
 public:
  // `threads` counts the calling thread: 1 means no workers.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(chunk, worker) once for every chunk in [0, chunks); worker is in [0, threads()). Returns when all are done.
  // The order and the worker of a chunk are not defined, so a chunk's result must not depend on them.
  template <class Body>
  void parallel(int64_t chunks, const Body& body) {
    if (chunks <= 0) return;
    if (chunks == 1 || threads_ == 1) {
      for (int64_t chunk = 0; chunk < chunks; chunk++) body(chunk, 0);
      return;
    }
    run([](const void* context, int64_t chunk, int worker) { (*static_cast<const Body*>(context))(chunk, worker); }, &body, chunks);
  }

 private:
  using Invoke = void (*)(const void* context, int64_t chunk, int worker);
  struct Shared;

  void run(Invoke invoke, const void* context, int64_t chunks);
  static void work(Shared* shared, int worker);

  int threads_;
  Shared* shared_;
};

// Cores this process may really use: its affinity mask, capped by its cgroup's quota.
int usable_cores();

}  // namespace heddle
