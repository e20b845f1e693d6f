#include "cpu/thread_pool.h"

#include <chrono>
#include <climits>
#include <cstdio>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace heddle {

namespace {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 20 microseconds of pauses: longer than the gap between two operators of a step, shorter than a scheduler slice.
constexpr int kSpins = 600;

#if defined(__linux__)
void sleep_while_equal(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}
#else
void sleep_while_equal(std::atomic<uint32_t>& word, uint32_t value) {
  while (word.load(std::memory_order_acquire) == value) std::this_thread::sleep_for(std::chrono::microseconds(50));
}
void wake_all(std::atomic<uint32_t>&) {}
#endif

}  // namespace

// One loop is described by `generation`: workers read it, claim chunks while the claim word still carries that
// generation, and so a late worker can never take a chunk of a loop that it has not read.
struct ThreadPool::Shared {
  alignas(64) std::atomic<uint32_t> generation{0};
  std::atomic<uint32_t> sleepers{0};
  alignas(64) std::atomic<uint64_t> claim{0};  // generation << 32 | next chunk
  alignas(64) std::atomic<uint32_t> finished{0};
  std::atomic<uint32_t> owner_sleeps{0};
  alignas(64) std::atomic<Invoke> invoke{nullptr};
  std::atomic<const void*> context{nullptr};
  std::atomic<uint32_t> chunks{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;

  // Takes chunks of loop `mine` until none is left. The claim compares the generation, so stale reads fail.
  void drain(uint32_t mine, int worker) {
    for (;;) {
      uint64_t seen = claim.load(std::memory_order_acquire);
      if (static_cast<uint32_t>(seen >> 32) != mine) return;
      const Invoke function = invoke.load(std::memory_order_acquire);
      const void* argument = context.load(std::memory_order_acquire);
      const uint32_t total = chunks.load(std::memory_order_acquire);
      const uint32_t chunk = static_cast<uint32_t>(seen);
      if (chunk >= total) return;
      if (!claim.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
      function(argument, chunk, worker);
      if (finished.fetch_add(1, std::memory_order_seq_cst) + 1 == total && owner_sleeps.load(std::memory_order_seq_cst) != 0) wake_all(finished);
    }
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads < 1 ? 1 : threads), shared_(new Shared) {
  for (int worker = 1; worker < threads_; worker++) shared_->workers.emplace_back(work, shared_, worker);
}

ThreadPool::~ThreadPool() {
  shared_->stop.store(true, std::memory_order_seq_cst);
  shared_->generation.fetch_add(1, std::memory_order_seq_cst);
  wake_all(shared_->generation);
  for (auto& worker : shared_->workers) worker.join();
  delete shared_;
}

void ThreadPool::work(Shared* shared, int worker) {
  uint32_t seen = 0;
  for (;;) {
    uint32_t now = shared->generation.load(std::memory_order_acquire);
    for (int spin = 0; now == seen && spin < kSpins; spin++) {
      relax();
      now = shared->generation.load(std::memory_order_acquire);
    }
    while (now == seen) {
      shared->sleepers.fetch_add(1, std::memory_order_seq_cst);
      if (shared->generation.load(std::memory_order_seq_cst) == seen) sleep_while_equal(shared->generation, seen);
      shared->sleepers.fetch_sub(1, std::memory_order_seq_cst);
      now = shared->generation.load(std::memory_order_acquire);
    }
    if (shared->stop.load(std::memory_order_acquire)) return;
    seen = now;
    shared->drain(now, worker);
  }
}

void ThreadPool::run(Invoke invoke, const void* context, int64_t chunks) {
  Shared& shared = *shared_;
  // More chunks than the counter holds: fold several into one call (no real kernel comes near).
  if (chunks > INT32_MAX) {
    for (int64_t chunk = 0; chunk < chunks; chunk++) invoke(context, chunk, 0);
    return;
  }
  const uint32_t mine = shared.generation.load(std::memory_order_relaxed) + 1;
  const uint32_t total = static_cast<uint32_t>(chunks);
  // A worker late from the loop before may still read these fields. It must not claim with the new ones: the old claim
  // word goes first, and whoever sees a new field (acquire) also sees that it is gone.
  shared.claim.store(static_cast<uint64_t>(mine) << 32 | UINT32_MAX, std::memory_order_relaxed);
  shared.finished.store(0, std::memory_order_relaxed);
  shared.invoke.store(invoke, std::memory_order_release);
  shared.context.store(context, std::memory_order_release);
  shared.chunks.store(total, std::memory_order_release);
  shared.claim.store(static_cast<uint64_t>(mine) << 32, std::memory_order_release);
  shared.generation.store(mine, std::memory_order_seq_cst);
  if (shared.sleepers.load(std::memory_order_seq_cst) != 0) wake_all(shared.generation);
  shared.drain(mine, 0);
  uint32_t done = shared.finished.load(std::memory_order_acquire);
  for (int spin = 0; done != total && spin < kSpins; spin++) {
    relax();
    done = shared.finished.load(std::memory_order_acquire);
  }
  while (done != total) {
    shared.owner_sleeps.store(1, std::memory_order_seq_cst);
    done = shared.finished.load(std::memory_order_seq_cst);
    if (done != total) sleep_while_equal(shared.finished, done);
    shared.owner_sleeps.store(0, std::memory_order_relaxed);
    done = shared.finished.load(std::memory_order_acquire);
  }
}

int usable_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    long long quota = 0, period = 0;
    if (std::fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
      const int limit = static_cast<int>((quota + period - 1) / period);
      if (limit < cores) cores = limit;
    }
    std::fclose(file);
  }
#endif
  return cores < 1 ? 1 : cores;
}

}  // namespace heddle
