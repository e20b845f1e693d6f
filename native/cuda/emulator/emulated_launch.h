// What the launching side (native/cuda/cuda_context.h) and the vocabulary (load.cuh) use of the emulator.
#pragma once
#include <functional>
#include <utility>

#include "cuda/emulator/emulated_runtime.h"
#include "cuda/emulator/emulated_types.h"
#include "cuda/emulator/warp_exchange.h"

namespace heddle::emulator {

cudaError_t enqueue_launch(const char* op, dim3 grid, unsigned threads, size_t dynamic_shared, bool cooperative, cudaStream_t stream,
                           std::function<void()> body);

// Puts a launch into the stream: `body` runs once per thread, when the stream is waited for.
template <class Body>
cudaError_t launch(const char* op, dim3 grid, unsigned threads, size_t dynamic_shared, bool cooperative, cudaStream_t stream, const Body& body) {
  return enqueue_launch(op, grid, threads, dynamic_shared, cooperative, stream, std::function<void()>(body));
}

// The number of blocks that a cooperative launch may have.
int most_resident_blocks(unsigned threads, size_t dynamic_shared);

void copy_async_commit();
void copy_async_wait(int pending);

int32_t load_acquire(const int32_t* from);
void store_release(int32_t* to, int32_t value);
int32_t add_release(int32_t* to, int32_t value);

[[noreturn]] void fail_global_alignment(const void* at, size_t bytes);
// Vector accesses to global memory need an address that is a multiple of their size.
inline void check_aligned(const void* at, size_t bytes) {
  if (__builtin_expect(reinterpret_cast<uintptr_t>(at) % bytes != 0, 0)) fail_global_alignment(at, bytes);
}

}  // namespace heddle::emulator
