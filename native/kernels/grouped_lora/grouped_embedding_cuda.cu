// Adapters on the embedding table: a low-rank addition to a token's row, or the adapter's own row. A block per token and part of its
// columns; each element of y has one owner, so every route sees the base as it was and y is written once.
#include "generated/grouped_lora_ops.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.cuh"
#include "kernels/grouped_lora/operand_checks.h"
#include "kernels/grouped_lora/pool_rows.cuh"

namespace heddle {

namespace {

#define HEDDLE_OP "grouped_embedding"
constexpr const char* kOp = HEDDLE_OP;
constexpr int kThreads = 256;
constexpr int64_t kColumns = 4 * kThreads;

struct EmbeddingWork {
  AdapterPool pool;
  const int32_t* ids;
  const int32_t* index;
  const float* weight;
  float* y;
  int64_t tokens, routes, width, y_stride;
  int32_t site;
};

struct EmbeddingRefusals {
  PoolRefusals pool;
  Failure no_row;  // slot, site, rows, id
};

// By whole warps: whether the entry is one that may change a token of this id; an unsound one is refused.
__device__ __forceinline__ bool is_sound(const EmbeddingWork& work, const EmbeddingRefusals& refusals, const AdapterEntry& entry, int32_t slot, int64_t id) {
  if (!sound_entry(work.pool, refusals.pool, entry, slot, work.site, work.width)) return false;
  int64_t first = entry.first_a, count = 1, bytes = row_bytes(entry.dtype, work.width);
  if (entry.kind == EntryKind::kDense) {
    if (id >= entry.rank || first < 0) {
      refusals.no_row.report(slot, work.site, entry.rank, id);
      return false;
    }
    first += id;
  } else {
    count = entry.rank;
    if (!rows_inside(work.pool, entry.first_b, count, bytes, work.pool.byte_count)) {
      refusals.pool.rows.report(slot, work.site, entry.first_b, entry.first_b + count);
      return false;
    }
    first += first < 0 ? 0 : id / kEmbeddingPiece * count;
    bytes = row_bytes(entry.dtype, id % kEmbeddingPiece + 1);
  }
  if (rows_inside(work.pool, first, count, bytes, work.pool.byte_count)) return true;
  refusals.pool.rows.report(slot, work.site, first, first + count);
  return false;
}

// The entry of a route, of no kind where there is nothing or something was refused.
__device__ __forceinline__ AdapterEntry find_entry(const EmbeddingWork& work, const EmbeddingRefusals& refusals, int32_t found, int64_t id) {
  const int32_t slot = route_slot(work.pool, refusals.pool, found);
  AdapterEntry entry = {};
  if (slot >= 0) entry = load_entry(work.pool, slot, work.site);
  if (entry.kind != EntryKind::kNone && !is_sound(work, refusals, entry, slot, id)) entry.kind = EntryKind::kNone;
  return entry;
}

template <class T>
__device__ __forceinline__ const T* row_of(const AdapterPool& pool, int64_t row) {
  return reinterpret_cast<const T*>(pool.bytes + pool.rows[row] * kRowUnit);
}

// Elements n to n + 4 of B A[:, id] times scale, or of the own row. The whole block comes here.
template <class T>
__device__ __forceinline__ Pack<float, 4> product_of(const EmbeddingWork& work, const AdapterEntry& entry, int64_t id, int64_t n,
                                                     SharedPointer<float> values) {
  if (entry.kind == EntryKind::kDense) return load_four(row_of<T>(work.pool, entry.first_a + id), n, work.width);
  const int64_t piece = entry.first_a + id / kEmbeddingPiece * entry.rank;
  Pack<float, 4> sum = {};
  for (int32_t done = 0; done < entry.rank; done += kThreads) {
    const int count = entry.rank - done < kThreads ? entry.rank - done : kThreads, thread = static_cast<int>(threadIdx.x);
    __syncthreads();
    if (thread < count) values[thread] = entry.scale * to_f32(row_of<T>(work.pool, piece + done + thread)[id % kEmbeddingPiece]);
    __syncthreads();
#pragma unroll 4
    for (int r = 0; r < count; r++) {
      const Pack<float, 4> b = load_four(row_of<T>(work.pool, static_cast<int64_t>(entry.first_b) + done + r), n, work.width);
      const float v = values[r];
#pragma unroll
      for (int e = 0; e < 4; e++) sum.v[e] = fmaf(v, b.v[e], sum.v[e]);
    }
  }
  return sum;
}

__device__ void join_token(const EmbeddingWork& work, const EmbeddingRefusals& refusals, int64_t token, int64_t from, SharedPointer<float> values) {
  const int64_t id = work.ids[token], n = from + threadIdx.x * int64_t{4};
  if (id < 0) return;  // not a token: its request has ended within a burst
  const int32_t* slots = work.index + token * work.routes;
  int active = 0;
  for (int64_t j = 0; j < work.routes; j++) active += find_entry(work, refusals, slots[j], id).kind != EntryKind::kNone;
  if (active == 0) return;
  float* y = work.y + token * work.y_stride;
  const bool aligned = is_aligned16(y);
  const Pack<float, 4> base = load_four_at(y, n, work.width, aligned);
  Pack<float, 4> result = base;
  for (int64_t j = 0; j < work.routes; j++) {
    const AdapterEntry entry = find_entry(work, refusals, slots[j], id);
    if (entry.kind == EntryKind::kNone) continue;
    const float weight = work.weight[token * work.routes + j];
    Pack<float, 4> product = {};
    with_device_rows(entry.dtype, [&](auto kind) { product = product_of<decltype(kind)>(work, entry, id, n, values); });
    const bool has_gain = entry.kind != EntryKind::kDense && entry.gain >= 0, own = has_gain || entry.kind == EntryKind::kDense;
    const auto vector = [&](int32_t row) { return load_four(row < 0 ? nullptr : pool_row<float>(work.pool, row, work.width), n, work.width); };
    const Pack<float, 4> gain = vector(has_gain ? entry.gain : -1), shift = vector(entry.shift);
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const float value = (has_gain ? gain.v[e] * (base.v[e] + product.v[e]) : product.v[e]) + shift.v[e];
      result.v[e] = own && active == 1 && weight == 1.0f ? value : fmaf(weight, own ? value - base.v[e] : value, result.v[e]);
    }
  }
  store_four_at(y, n, work.width, aligned, result);
}

__global__ void __launch_bounds__(kThreads, 2) embed_tokens(EmbeddingWork work, EmbeddingRefusals refusals) {
  HEDDLE_SHARED(float, values, kThreads);
  const uint32_t parts = static_cast<uint32_t>((work.width + kColumns - 1) / kColumns);
  join_token(work, refusals, blockIdx.x / parts, blockIdx.x % parts * kColumns, values);
}

}  // namespace

Status grouped_embedding_cuda(const GroupedEmbeddingArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  const EmbeddingWork work = {pool,
                              args.ids.as<int32_t>(),
                              args.index.as<int32_t>(),
                              args.weight.as<float>(),
                              args.y.as<float>(),
                              args.ids.dims[0],
                              args.index.dims[1],
                              args.y.dims[1],
                              args.y.leading_stride,
                              args.site};
  const EmbeddingRefusals refusals = {HEDDLE_POOL_REFUSALS(context, HEDDLE_OP, "0, 1 or 2"),
                                      HEDDLE_ENTRY_REFUSAL(context, HEDDLE_OP, "has {2} rows, none for token id {3}")};
  const int64_t blocks = work.tokens * ceil_div(work.width, kColumns);
  HEDDLE_CHECK(blocks <= INT32_MAX, kOp, "base is " + describe(args.base) + ": too large");
  return context.launch(kOp, embed_tokens, {dim3(static_cast<unsigned>(blocks)), kThreads}, work, refusals);
}

}  // namespace heddle
