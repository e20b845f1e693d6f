// Device side of adapter_pool.h: entries and rows of adapters, checked where a kernel follows them, and loads of rows.
//
//   const PoolRefusals refusals = HEDDLE_POOL_REFUSALS(context, "grouped_norm", "0, 1 or 2");   // on the host
//   const int32_t slot = route_slot(pool, refusals, index[i]);                                 // in the kernel
//   const AdapterEntry entry = load_entry(pool, slot, site);
//   if (entry.kind == EntryKind::kNone || !sound_entry(pool, refusals, entry, slot, site, outputs)) ...
//   const auto* row = pool_row<BF16>(pool, first, width);   // null: not inside the pool, say so with refusals.rows
#pragma once
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.h"

namespace heddle {

// What kernels of the family refuse, with the words of adapter_pool.h. Values: slot, site, and what was found.
struct PoolRefusals {
  Failure slot;     // the slot, the last slot
  Failure kind;     // slot, site, kind
  Failure dtype;    // slot, site, dtype
  Failure rank;     // slot, site, rank
  Failure vectors;  // slot, site, gain, shift
  Failure rows;     // slot, site, first row, end
};

#define HEDDLE_ENTRY_REFUSAL(context, op, words) (context).failure("[" op "] the adapter in slot {0} at site {1} " words)

// `kinds`: the kinds that the op knows, as words.
#define HEDDLE_POOL_REFUSALS(context, op, kinds)                                                                                      \
  ::heddle::PoolRefusals {                                                                                                            \
    (context).failure("[" op "] index holds slot {0}: expected -1 to {1}"),                                                           \
        HEDDLE_ENTRY_REFUSAL(context, op, "is of kind {2}: expected " kinds),                                                         \
        HEDDLE_ENTRY_REFUSAL(context, op, "has dtype {2}: expected f32, f16 or bf16"),                                                \
        HEDDLE_ENTRY_REFUSAL(context, op, "has rank {2}"),                                                                            \
        HEDDLE_ENTRY_REFUSAL(context, op, "has gain row {2} and shift row {3}: expected -1 or a row inside the pool"),                \
        HEDDLE_ENTRY_REFUSAL(context, op, "has rows {2} to {3} that do not all lie inside the pool")                                  \
  }

// read_adapter_pool, and what the vector loads of this file need.
inline Status read_device_pool(const char* op, const TensorView& entries, const TensorView& rows, const TensorView& pool, AdapterPool* out) {
  HEDDLE_TRY(read_adapter_pool(op, entries, rows, pool, out));
  HEDDLE_CHECK(is_aligned16(out->bytes) && is_aligned16(entries.as<int32_t>()), op, "entries and pool do not begin at multiples of 16 bytes");
  return Status::success();
}

// `slot` as found in index; -1 also for one that does not exist, which is refused.
__device__ __forceinline__ int32_t route_slot(const AdapterPool& pool, const PoolRefusals& refusals, int32_t slot) {
  if (slot >= -1 && slot < pool.slots) return slot;
  refusals.slot.report(slot, pool.slots - 1);
  return -1;
}

__device__ __forceinline__ AdapterEntry load_entry(const AdapterPool& pool, int64_t slot, int64_t site) {
  const int32_t* from = reinterpret_cast<const int32_t*>(pool.entries + slot * pool.sites + site);
  const Pack<int32_t, 4> low = load_pack<4>(from), high = load_pack<4>(from + 4);
  return {static_cast<EntryKind>(low.v[0]), low.v[1], low.v[2], low.v[3], high.v[0], high.v[1], high.v[2], __int_as_float(high.v[3])};
}

// rows[first .. first + count) exist; where they point to is checked by pool_row.
__device__ __forceinline__ bool rows_exist(const AdapterPool& pool, int64_t first, int64_t count) {
  return first >= 0 && count >= 0 && first <= pool.row_count - count;
}

// Row number `row` of the table, `width` elements of T wide; null where the table or the pool ends before.
template <class T>
__device__ __forceinline__ const T* pool_row(const AdapterPool& pool, int64_t row, int64_t width) {
  if (row < 0 || row >= pool.row_count) return nullptr;
  const int64_t at = static_cast<int64_t>(pool.rows[row]) * kRowUnit;
  if (at < 0 || at > pool.byte_count - width * static_cast<int64_t>(sizeof(T))) return nullptr;
  return reinterpret_cast<const T*>(pool.bytes + at);
}

// What check_entry checks. An unsound entry has been refused; take it for absent.
__device__ inline bool sound_entry(const AdapterPool& pool, const PoolRefusals& refusals, const AdapterEntry& entry, int64_t slot, int64_t site, int64_t outputs) {
  if (entry.kind != EntryKind::kLowRank && entry.kind != EntryKind::kDense) {
    refusals.kind.report(slot, site, static_cast<int32_t>(entry.kind));
    return false;
  }
  if (!is_row_dtype(entry.dtype)) {
    refusals.dtype.report(slot, site, entry.dtype);
    return false;
  }
  if (entry.rank < 0) {
    refusals.rank.report(slot, site, entry.rank);
    return false;
  }
  const bool gain = entry.gain == -1 || pool_row<float>(pool, entry.gain, outputs) != nullptr;
  const bool shift = entry.shift == -1 || pool_row<float>(pool, entry.shift, outputs) != nullptr;
  if (!gain || !shift) refusals.vectors.report(slot, site, entry.gain, entry.shift);
  return gain && shift;
}

__device__ __forceinline__ int64_t row_bytes(int32_t dtype, int64_t width) { return dtype == static_cast<int32_t>(DType::kF32) ? 4 * width : 2 * width; }

// 16 bytes of a row from element `at` on, a multiple of kPackWidth<T>; elements from `width` on are zero and not read. The row may be
// null: all zero.
template <class T>
__device__ __forceinline__ Pack<T, kPackWidth<T>> load_row_pack(const T* row, int at, int width) {
  if (row != nullptr && at + kPackWidth<T> <= width) return load_streaming(row + at);
  Pack<T, kPackWidth<T>> pack = {};
  if (row == nullptr) return pack;
#pragma unroll
  for (int i = 0; i < kPackWidth<T>; i++)
    if (at + i < width) pack.v[i] = row[at + i];
  return pack;
}

// Eight elements of a row under the same conditions, `at` a multiple of 8.
template <class T>
__device__ __forceinline__ void load_row_elements(T (&to)[8], const T* row, int at, int width) {
#pragma unroll
  for (int part = 0; part < 8 / kPackWidth<T>; part++) {
    const Pack<T, kPackWidth<T>> pack = load_row_pack(row, at + part * kPackWidth<T>, width);
#pragma unroll
    for (int i = 0; i < kPackWidth<T>; i++) to[part * kPackWidth<T> + i] = pack.v[i];
  }
}

// The same as f32.
template <class T>
__device__ __forceinline__ void load_row_eight(float (&to)[8], const T* row, int at, int width) {
  T elements[8];
  load_row_elements(elements, row, at, width);
#pragma unroll
  for (int i = 0; i < 8; i++) to[i] = to_f32(elements[i]);
}

// Calls body(float{}), body(BF16{}) or body(F16{}) by the dtype of an entry's rows.
template <class Body>
__device__ __forceinline__ void with_device_rows(int32_t dtype, const Body& body) {
  if (dtype == static_cast<int32_t>(DType::kBF16)) {
    body(BF16{});
  } else if (dtype == static_cast<int32_t>(DType::kF16)) {
    body(F16{});
  } else {
    body(float{});
  }
}

}  // namespace heddle
