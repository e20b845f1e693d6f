// Loads and stores of vectors, streaming loads, copies from global to shared memory that run beside the arithmetic, and
// what blocks use to wait for each other.
#pragma once
#include "cuda/shared.cuh"

namespace heddle {

// One access of sizeof(Pack) bytes to global memory.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
#if defined(HEDDLE_CUDA_EMULATOR)
  emulator::check_aligned(from, sizeof(Pack<T, N>));
#endif
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
// Vectors of 8 and 16 bytes as PTX: the compiler may take a plain store of a Pack apart again. The test for shared memory is folded
// away wherever the compiler knows what memory a pointer is to.
template <int N, class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
#if defined(HEDDLE_CUDA_EMULATOR)
  emulator::check_aligned(to, sizeof(Pack<T, N>));
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
#else
  if constexpr (sizeof(pack) == 16 || sizeof(pack) == 8) {
    uint32_t words[sizeof(pack) / 4];
    memcpy(words, &pack, sizeof(pack));
    const bool shared = __isShared(to);
    const unsigned address = shared ? static_cast<unsigned>(__cvta_generic_to_shared(to)) : 0;
    if constexpr (sizeof(pack) == 16) {
      if (shared)
        asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
      else
        asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]) : "memory");
    } else {
      if (shared)
        asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(address), "r"(words[0]), "r"(words[1]) : "memory");
      else
        asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(to), "r"(words[0]), "r"(words[1]) : "memory");
    }
  } else {
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
  }
#endif
}

// 16 bytes that are read once: through the read-only path, without a place in L1.
template <class T>
__device__ __forceinline__ Pack<T, kPackWidth<T>> load_streaming(const T* from) {
#if defined(HEDDLE_CUDA_EMULATOR)
  return load_pack<kPackWidth<T>>(from);
#else
  uint4 words;
  asm("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w) : "l"(from));
  Pack<T, kPackWidth<T>> pack;
  memcpy(&pack, &words, 16);
  return pack;
#endif
}

// Whether 16-byte accesses at `pointer` + multiples of `stride` elements are aligned.
template <class T>
__host__ __device__ inline bool is_aligned16(const T* pointer, int64_t stride = 0) {
  return reinterpret_cast<uintptr_t>(pointer) % 16 == 0 && (static_cast<uint64_t>(stride) * sizeof(T)) % 16 == 0;
}

#if defined(HEDDLE_CUDA_EMULATOR)

template <int N, class T>
Pack<std::remove_const_t<T>, N> load_pack(SharedPointer<T> from) {
  return from.template load<Pack<std::remove_const_t<T>, N>>();
}
template <int N, class T>
void store_pack(SharedPointer<T> to, const Pack<T, N>& pack) {
  to.store(pack);
}

// The copies land when they are waited for, as late as the hardware may do it.
template <class T>
void copy_async16(SharedPointer<T> to, const T* from, bool valid = true) {
  emulator::copy_async(to.address(), from, 16, valid);
}
inline void copy_async_commit() { emulator::copy_async_commit(); }
template <int Pending>
void copy_async_wait() {
  emulator::copy_async_wait(Pending);
}

inline int32_t load_acquire(const int32_t* from) { return emulator::load_acquire(from); }
inline void store_release(int32_t* to, int32_t value) { emulator::store_release(to, value); }
inline int32_t add_release(int32_t* to, int32_t value) { return emulator::add_release(to, value); }
inline void wait_a_little() { emulator::yield(); }

#else

// 16 bytes from global to shared memory without passing through registers; with valid == false 16 zeros are stored and nothing is
// read. Both addresses are multiples of 16. A thread's own copies are complete after copy_async_wait; others need a barrier after it.
template <class T>
__device__ __forceinline__ void copy_async16(T* to, const T* from, bool valid = true) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
}
__device__ __forceinline__ void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most `Pending` of this thread's committed groups are still under way.
template <int Pending>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// For counters and flags between the blocks of a cooperative launch.
__device__ __forceinline__ int32_t load_acquire(const int32_t* from) {
  int32_t value;
  asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
  return value;
}
__device__ __forceinline__ void store_release(int32_t* to, int32_t value) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
// Adds and returns what was there, after everything that this thread wrote before.
__device__ __forceinline__ int32_t add_release(int32_t* to, int32_t value) {
  int32_t before;
  asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], %2;" : "=r"(before) : "l"(to), "r"(value) : "memory");
  return before;
}
// Inside a loop that waits for another block.
__device__ __forceinline__ void wait_a_little() { __nanosleep(40); }

#endif

}  // namespace heddle
