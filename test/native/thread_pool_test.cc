// thread_pool_test [loops]: also meant to run under ThreadSanitizer.
#include "cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "check.h"

using heddle::ThreadPool;

namespace {

int loops() { return heddle::test::program_arguments().empty() ? 100'000 : std::atoi(heddle::test::program_arguments()[0].c_str()); }

// Runs one loop and says whether every chunk ran exactly once.
bool runs_each_chunk_once(ThreadPool& pool, int64_t chunks) {
  std::vector<int> hits(static_cast<size_t>(chunks), 0);  // not atomic: the end of the loop must publish them
  pool.parallel(chunks, [&](int64_t chunk, int) { hits[static_cast<size_t>(chunk)]++; });
  for (const int count : hits) {
    if (count != 1) return false;
  }
  return true;
}

}  // namespace

TEST("every chunk runs once, whatever the number of threads and chunks") {
  for (const int threads : {0, 1, 2, 3, 8, 33}) {
    ThreadPool pool(threads);
    CHECK_EQUAL(pool.threads(), threads < 1 ? 1 : threads);
    for (const int64_t chunks : {0, 1, 2, 3, 7, 64, 1000, 100'000}) CHECK(runs_each_chunk_once(pool, chunks));
  }
}

TEST("negative counts run nothing") {
  ThreadPool pool(2);
  pool.parallel(-5, [](int64_t, int) { heddle::test::report(__FILE__, __LINE__, "a chunk of an empty loop ran"); });
}

// A worker that is late from a short loop must not take a chunk of the long one that follows, nor the other way round.
TEST("loops of changing length, one right after the other") {
  for (const int threads : {2, 4}) {
    ThreadPool pool(threads);
    const int64_t lengths[] = {2, 61, 3, 2, 17, 200, 5};
    int wrong = 0;
    for (int i = 0; i < loops(); i++) wrong += !runs_each_chunk_once(pool, lengths[i % 7]);
    CHECK_EQUAL(wrong, 0);
  }
}

// Nothing but the loops, so that the next one is prepared while a worker still leaves the last.
TEST("short and long loops with no gap between them") {
  ThreadPool pool(2);
  std::atomic<int> hits[8] = {};
  int wrong = 0;
  for (int i = 0; i < loops(); i++) {
    const int chunks = i % 2 == 0 ? 8 : 2;
    for (int chunk = 0; chunk < chunks; chunk++) hits[chunk].store(0, std::memory_order_relaxed);
    pool.parallel(chunks, [&hits](int64_t chunk, int) { hits[chunk].fetch_add(1, std::memory_order_relaxed); });
    for (int chunk = 0; chunk < chunks; chunk++) wrong += hits[chunk].load(std::memory_order_relaxed) != 1;
  }
  CHECK_EQUAL(wrong, 0);
}

TEST("what a loop writes is there when it returns, and what it reads is its own") {
  ThreadPool pool(3);
  int wrong = 0;
  for (int i = 0; i < loops() / 10; i++) {
    const int64_t chunks = 2 + i % 13;
    auto input = std::make_unique<std::vector<int64_t>>(static_cast<size_t>(chunks), i);  // freed at once: a late reader shows under ASan
    std::vector<int64_t> output(static_cast<size_t>(chunks), -1);
    pool.parallel(chunks, [&input, &output](int64_t chunk, int) { output[static_cast<size_t>(chunk)] = (*input)[static_cast<size_t>(chunk)] + chunk; });
    input.reset();
    for (int64_t chunk = 0; chunk < chunks; chunk++) wrong += output[static_cast<size_t>(chunk)] != i + chunk;
  }
  CHECK_EQUAL(wrong, 0);
}

TEST("a worker's number is in range and never in use twice at a time") {
  ThreadPool pool(4);
  std::atomic<int> wrong{0};
  std::atomic<bool> busy[4] = {};
  pool.parallel(5000, [&](int64_t, int worker) {
    if (worker < 0 || worker >= 4 || busy[worker].exchange(true)) wrong++;
    std::this_thread::yield();
    if (worker >= 0 && worker < 4) busy[worker] = false;
  });
  CHECK_EQUAL(wrong.load(), 0);
}

TEST("a slow chunk does not keep the others waiting, and the loop waits for it") {
  ThreadPool pool(2);
  std::atomic<int> done{0};
  pool.parallel(50, [&](int64_t chunk, int) {
    if (chunk == 0) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    done++;
  });
  CHECK_EQUAL(done.load(), 50);
}

TEST("loops after the workers have gone to sleep") {
  ThreadPool pool(2);
  for (int i = 0; i < 30; i++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    CHECK(runs_each_chunk_once(pool, 16));
  }
}

TEST("pools come and go") {
  for (int i = 0; i < 200; i++) {
    ThreadPool pool(1 + i % 5);
    if (i % 3 != 0) CHECK(runs_each_chunk_once(pool, i % 20));
  }
}

TEST("several pools at once, more threads than cores") {
  std::vector<std::thread> owners;
  std::atomic<int> wrong{0};
  for (int owner = 0; owner < 4; owner++) {
    owners.emplace_back([&wrong] {
      ThreadPool pool(4);
      for (int i = 0; i < 300; i++) wrong += !runs_each_chunk_once(pool, 2 + i % 40);
    });
  }
  for (auto& owner : owners) owner.join();
  CHECK_EQUAL(wrong.load(), 0);
}

TEST("at least one core may be used") { CHECK(heddle::usable_cores() >= 1); }

int main(int count, char** arguments) { return heddle::test::run_all(count, arguments); }
