#include "executor/engine.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

namespace heddle {

struct Engine::State {
  std::mutex mutex;
  std::condition_variable ready;
  std::deque<std::function<void(ThreadPool&)>> jobs;
  int threads = 1;
  bool started = false;
  std::atomic<int> wishes{0};  // jobs that wait, and changes of `threads` since the last job began

  void loop() {
    std::unique_ptr<ThreadPool> pool;
    for (;;) {
      std::function<void(ThreadPool&)> job;
      int wanted;
      {
        std::unique_lock<std::mutex> lock(mutex);
        ready.wait(lock, [this] { return !jobs.empty(); });
        job = std::move(jobs.front());
        jobs.pop_front();
        wanted = threads;
        wishes.store(static_cast<int>(jobs.size()), std::memory_order_relaxed);
      }
      if (!pool || pool->threads() != wanted) {
        pool.reset();
        pool = std::make_unique<ThreadPool>(wanted);
      }
      job(*pool);
    }
  }
};

Engine::Engine() : state_(new State) {
  state_->threads = usable_cores();
  if (const char* text = std::getenv("HEDDLE_THREADS")) {
    const int wanted = std::atoi(text);
    if (wanted >= 1 && wanted <= 1024) state_->threads = wanted;
  }
}

Engine& Engine::instance() {
  static Engine* engine = new Engine;
  return *engine;
}

void Engine::post(std::function<void(ThreadPool&)> job) {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->jobs.push_back(std::move(job));
    state_->wishes.fetch_add(1, std::memory_order_relaxed);
    if (!state_->started) {
      state_->started = true;
      std::thread([state = state_] { state->loop(); }).detach();
    }
  }
  state_->ready.notify_one();
}

bool Engine::wanted() const { return state_->wishes.load(std::memory_order_relaxed) != 0; }

int Engine::threads() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->threads;
}

void Engine::set_threads(int threads) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  state_->threads = threads < 1 ? 1 : threads;
  state_->wishes.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace heddle
