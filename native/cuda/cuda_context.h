// What the host side of a CUDA kernel may use besides its operands: launching, scratch memory, refusals.
//
// Include this first in a *_cuda.cu file, after its own generated header; vocabulary.cuh has the device side.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "core/check.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "cuda/device_limits.h"
#include "cuda/failure.h"
#if defined(HEDDLE_CUDA_EMULATOR)
#include "cuda/emulator/emulated_launch.h"
#endif

namespace heddle {

// A cudaError_t as a Status: out of memory, device lost, or a failed launch. `what` names the op or the call.
Status cuda_status(cudaError_t error, const char* what);

#define HEDDLE_CUDA_TRY(call, what)                                                        \
  do {                                                                                     \
    const cudaError_t heddle_error_ = (call);                                              \
    if (heddle_error_ != cudaSuccess) return ::heddle::cuda_status(heddle_error_, (what)); \
  } while (0)

struct LaunchShape {
  dim3 grid;
  unsigned threads;              // per block: all kernels use one-dimensional blocks
  size_t dynamic_shared = 0;     // bytes
  bool cooperative = false;      // every block is resident at once: blocks may wait for each other
};

inline constexpr int kCounters = 1 << 16;

struct CudaContext {
  cudaStream_t stream = nullptr;
  // At least <op>_cuda_workspace(args at the largest extents, limits) bytes, aligned to 256; contents undefined.
  std::byte* workspace = nullptr;
  size_t workspace_bytes = 0;
  // kCounters integers for blocks of one launch that count each other. Zero when a kernel begins; a kernel leaves zeros.
  int32_t* counters = nullptr;
  DeviceLimits limits;
  FailureSlot* failure_slot = nullptr;

  // A refusal for kernels of this launch. `message` is a string literal in which {0} to {5} stand for the reported values:
  // "[embedding] id {0} of token {1}: expected below {2}". {0f} to {5f} stand for floats, reported as their bits.
  Failure failure(const char* message) const;

  // Launches kernel(arguments...). An empty grid launches nothing. Dynamic shared memory beyond what a block has anyway is asked for here.
  template <class... Parameters, class... Arguments>
  Status launch(const char* op, void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... arguments) const {
    if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return Status::success();
    std::tuple<std::decay_t<Parameters>...> values(static_cast<Parameters>(std::forward<Arguments>(arguments))...);
#if defined(HEDDLE_CUDA_EMULATOR)
    const auto body = [kernel, values]() { std::apply(kernel, values); };
    HEDDLE_CUDA_TRY(emulator::launch(op, shape.grid, shape.threads, shape.dynamic_shared, shape.cooperative, stream, body), op);
#else
    HEDDLE_TRY(allow_shared(op, reinterpret_cast<const void*>(kernel), shape.dynamic_shared));
    using Start = cudaError_t (*)(const void*, dim3, dim3, void**, size_t, cudaStream_t);
    const Start start = shape.cooperative ? static_cast<Start>(cudaLaunchCooperativeKernel) : static_cast<Start>(cudaLaunchKernel);
    const cudaError_t started = std::apply(
        [&](auto&... value) {
          void* pointers[] = {static_cast<void*>(&value)..., nullptr};
          return start(reinterpret_cast<const void*>(kernel), shape.grid, dim3(shape.threads), pointers, shape.dynamic_shared, stream);
        },
        values);
    HEDDLE_CUDA_TRY(started, op);
#endif
    return Status::success();
  }

  // Blocks of a cooperative kernel that are resident at once on the whole device.
  Status resident_blocks(const char* op, const void* kernel, unsigned threads, size_t dynamic_shared, int* blocks) const;

  // Stores zeros, in order with the launches.
  Status zero(const char* op, void* to, size_t bytes) const;
  // Copies within device memory, in order with the launches; the two may not overlap.
  Status copy(const char* op, void* to, const void* from, size_t bytes) const;

 private:
  static Status allow_shared(const char* op, const void* kernel, size_t dynamic_shared);
};

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A grid of at most `most` blocks for kernels that stride over their work.
inline dim3 strided_grid(int64_t blocks, int64_t most) { return dim3(static_cast<unsigned>(blocks < most ? blocks : most)); }

}  // namespace heddle
