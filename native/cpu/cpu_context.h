// What a CPU kernel may use besides its operands: the thread pool and a workspace that was sized when the program was compiled.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cpu/thread_pool.h"

namespace heddle {

struct CpuContext {
  ThreadPool& pool;
  // At least <op>_cpu_workspace(args at the largest extents, threads) bytes, aligned to 64; contents undefined.
  std::byte* workspace = nullptr;
  size_t workspace_bytes = 0;

  int threads() const { return pool.threads(); }
  template <class Body>
  void parallel(int64_t chunks, const Body& body) {
    pool.parallel(chunks, body);
  }
};

}  // namespace heddle
