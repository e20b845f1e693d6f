// Tensor cores: d += a b for a 16 x 16 block of a, 16 x 8 of b, f32 sums. Fragments as PTX defines for mma.m16n8k16.
//
// With lane = 4 group + pair (group 0..7, pair 0..3), each register holding two elements side by side, the lower first:
//   a[0]: row group,     k 2 pair, 2 pair + 1     a[1]: row group + 8, the same k
//   a[2]: row group,     k 2 pair + 8, + 9        a[3]: row group + 8, k 2 pair + 8, + 9
//   b[0]: k 2 pair, 2 pair + 1, column group      b[1]: k 2 pair + 8, + 9, column group
//   d[0], d[1]: row group, columns 2 pair, 2 pair + 1      d[2], d[3]: row group + 8, the same columns
#pragma once
#include "cuda/shared.cuh"

namespace heddle {

#if defined(HEDDLE_CUDA_EMULATOR)

template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  emulator::mma_m16n8k16(d, a, b, [](uint16_t bits) { return to_f32(T{bits}); });
}

// Four 8 x 8 matrices of 16-bit elements; lane l names the row (16 bytes, aligned) l % 8 of matrix l / 8, and gets of each matrix
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
template <class T>
void load_matrix_x4(uint32_t (&to)[4], SharedPointer<T> row) {
  emulator::load_matrix(to, 4, row.address());
}
// The same with every matrix transposed: a lane gets elements of column l / 4.
template <class T>
void load_matrix_x4_transposed(uint32_t (&to)[4], SharedPointer<T> row) {
  emulator::load_matrix_transposed(to, 4, row.address());
}
// Two matrices; lanes 0 to 15 name the rows, the others' addresses must be valid but are not used.
template <class T>
void load_matrix_x2(uint32_t (&to)[2], SharedPointer<T> row) {
  emulator::load_matrix(to, 2, row.address());
}

#else

template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
__device__ __forceinline__ void mma_m16n8k16<BF16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <>
__device__ __forceinline__ void mma_m16n8k16<F16>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <class T>
__device__ __forceinline__ void load_matrix_x4(uint32_t (&to)[4], const T* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address) : "memory");
}
template <class T>
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&to)[4], const T* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(address) : "memory");
}
template <class T>
__device__ __forceinline__ void load_matrix_x2(uint32_t (&to)[2], const T* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(to[0]), "=r"(to[1]) : "r"(address) : "memory");
}

#endif

}  // namespace heddle
