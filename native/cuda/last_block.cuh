// Blocks of a launch that count each other, so that the last one to finish combines what all of them left in memory.
#pragma once
#include "cuda/vocabulary.cuh"

namespace heddle {

// Whether the calling block is the last of `count` to come here; it sees everything that the others' threads wrote before they came.
// Every thread of the block calls it. The counter is zero before and after.
__device__ __forceinline__ bool last_block(int32_t* counter, int32_t count, SharedPointer<int32_t> shared) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool last = add_release(counter, 1) == count - 1;
    if (last) *counter = 0;
    shared[0] = last ? 1 : 0;
  }
  __syncthreads();
  return shared[0] != 0;
}

}  // namespace heddle
