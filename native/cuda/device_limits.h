// What kernels need to know of a device to size their grids and scratch memory.
#pragma once
#include <cstddef>

namespace heddle {

struct DeviceLimits {
  int compute_major = 0;
  int compute_minor = 0;
  int multiprocessors = 1;
  int threads_per_multiprocessor = 1024;
  size_t shared_per_block = 48 << 10;           // the most a kernel may ask for
  size_t shared_per_multiprocessor = 64 << 10;
  size_t l2_bytes = 0;
};

}  // namespace heddle
