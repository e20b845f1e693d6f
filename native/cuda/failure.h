// How a kernel refuses data that it meets on the device: an index outside its table, a page that the pool lacks.
//
// A kernel never follows such a value: it reports it and goes on as if the value were absent. The host reads the slot
// after the step and turns the first report into a Status.
#pragma once
#include <cstdint>

namespace heddle {

// In device memory, one per device; zero: nothing was reported.
struct FailureSlot {
  int32_t code;
  int32_t reserved;
  int64_t values[6];
};

// Made by CudaContext::failure, passed to a kernel by value.
struct Failure {
  FailureSlot* slot = nullptr;
  int32_t code = 0;

#if defined(__CUDACC__) || defined(HEDDLE_CUDA_EMULATOR)
  // The first report of a step wins; the others are dropped.
  __device__ void report(int64_t a = 0, int64_t b = 0, int64_t c = 0, int64_t d = 0, int64_t e = 0, int64_t f = 0) const {
    if (atomicCAS(&slot->code, 0, code) != 0) return;
    slot->values[0] = a;
    slot->values[1] = b;
    slot->values[2] = c;
    slot->values[3] = d;
    slot->values[4] = e;
    slot->values[5] = f;
  }
#endif
};

}  // namespace heddle
