// Shared memory. Under the emulator every access is checked: bounds, reads of what nobody wrote, races between threads.
//
//   HEDDLE_SHARED(float, tile, 32 * 33);        // static: `tile` is a SharedPointer<float> to 32 * 33 elements
//   HEDDLE_DYNAMIC_SHARED(buffer);              // dynamic: `buffer` is a SharedPointer<std::byte>, 16-byte aligned
//   auto rows = shared_at<float>(buffer, 512);  // elements of another type from byte 512 on
//
// Pass SharedPointer<T> to device functions, never T*. tile[i] reads and writes; load_pack and store_pack move vectors.
#pragma once
#include <cstddef>

#include "cuda/elements.cuh"
#if defined(HEDDLE_CUDA_EMULATOR)
#include "cuda/emulator/emulated_shared.h"
#endif

namespace heddle {

#if defined(HEDDLE_CUDA_EMULATOR)

template <class T>
using SharedPointer = emulator::SharedPointer<T>;

// One place per declaration and block, as __shared__ has; the lambda's type tells the declarations apart.
#define HEDDLE_SHARED(type, name, count) const ::heddle::SharedPointer<type> name = ::heddle::emulator::static_shared<type>(count, [] {})
#define HEDDLE_DYNAMIC_SHARED(name) const ::heddle::SharedPointer<std::byte> name = ::heddle::emulator::dynamic_shared()

template <class T>
SharedPointer<T> shared_at(SharedPointer<std::byte> base, size_t byte_offset) {
  return base.template at<T>(byte_offset);
}

#else

template <class T>
using SharedPointer = T*;

#define HEDDLE_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define HEDDLE_DYNAMIC_SHARED(name) extern __shared__ __align__(16) std::byte name[]

template <class T>
__device__ __forceinline__ T* shared_at(std::byte* base, size_t byte_offset) {
  return reinterpret_cast<T*>(base + byte_offset);
}

#endif

}  // namespace heddle
