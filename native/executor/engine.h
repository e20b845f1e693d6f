// The one engine thread of the process: programs run on it one after another, with the thread pool beside it.
#pragma once
#include <functional>

#include "cpu/thread_pool.h"

namespace heddle {

class Engine {
 public:
  // Never destroyed: a detached thread waits inside it when the process exits.
  static Engine& instance();

  // Appends a job; jobs run in order. A job must not throw.
  void post(std::function<void(ThreadPool&)> job);

  // Whether a job waits or the number of threads is about to change: a long job then ends when it can.
  bool wanted() const;

  // Threads of the pool, the engine thread included. A change takes effect before the next job.
  int threads();
  void set_threads(int threads);

 private:
  Engine();
  struct State;
  State* state_;
};

}  // namespace heddle
