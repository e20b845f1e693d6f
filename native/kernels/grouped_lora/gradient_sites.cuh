// What the gradient kernels ask of an entry and of the rows they add to, by whole warps.
#pragma once
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.cuh"
#include "kernels/grouped_lora/adapter_tokens.cuh"
#include "kernels/grouped_lora/gradient_rows.h"
#include "kernels/grouped_lora/pool_rows.cuh"

namespace heddle {

struct GradientRefusals {
  PoolRefusals pool;
  Failure dense;  // slot, site
  Failure gain;   // slot, site
};

#define HEDDLE_GRADIENT_REFUSALS(context, op)                                                                                        \
  ::heddle::GradientRefusals {                                                                                                       \
    HEDDLE_POOL_REFUSALS(context, op, "0, 1 or 2"),                                                                                  \
        HEDDLE_ENTRY_REFUSAL(context, op, "replaces the whole weight: only low-rank entries have gradients here"),                   \
        HEDDLE_ENTRY_REFUSAL(context, op, "has a gain: only low-rank entries without one have gradients here")                       \
  }

// Of ops that add to rows of gradients.
struct TrainingRefusals {
  Failure f16;      // slot, site
  Failure bf16;     // slot, site
  Failure outside;  // slot, site, first row, end
  Failure overlap;  // slot, site, the other slot, its site
};

#define HEDDLE_TRAINING_REFUSALS(context, op)                                                                                        \
  ::heddle::TrainingRefusals {                                                                                                       \
    HEDDLE_ENTRY_REFUSAL(context, op, "has factors in f16: gradients are of f32 factors"),                                           \
        HEDDLE_ENTRY_REFUSAL(context, op, "has factors in bf16: gradients are of f32 factors"),                                      \
        HEDDLE_ENTRY_REFUSAL(context, op, "has rows {2} to {3} whose gradients do not all lie inside gradients"),                    \
        HEDDLE_ENTRY_REFUSAL(context, op, "has a row that overlaps one of slot {2} at site {3}: their gradients would mix")          \
  }

// Where the gradients of all rows lie, and which of them somebody will add to.
struct GradientSpace {
  float* at;
  int64_t elements;
  uint32_t* claimed;  // one bit per unit of the pool
};

inline int64_t claimed_words(const TensorView& gradients) { return ceil_div(ceil_div(gradients.dims[0], kUnitFloats), 32); }

__device__ inline float* gradient_of(const AdapterPool& pool, const GradientSpace& gradients, int64_t row) {
  return gradients.at + pool.rows[row] * kUnitFloats;
}

// What check_gradient_site checks.
__device__ inline bool sound_gradient_site(const AdapterPool& pool, const GradientRefusals& refusals, const AdapterEntry& entry, int64_t slot,
                                           int64_t site, int64_t inputs, int64_t outputs) {
  if (!sound_entry(pool, refusals.pool, entry, slot, site, outputs)) return false;
  if (entry.kind == EntryKind::kDense) {
    refusals.dense.report(slot, site);
    return false;
  }
  if (entry.gain >= 0) {
    refusals.gain.report(slot, site);
    return false;
  }
  const bool inside_a = rows_inside(pool, entry.first_a, entry.rank, row_bytes(entry.dtype, inputs), pool.byte_count);
  const bool inside_b = rows_inside(pool, entry.first_b, entry.rank, row_bytes(entry.dtype, outputs), pool.byte_count);
  if (inside_a && inside_b) return true;
  const int64_t first = inside_a ? entry.first_b : entry.first_a;
  refusals.pool.rows.report(slot, site, first, first + entry.rank);
  return false;
}

// Looks at every entry of the batch, a warp to each: `ranks_of(entry, slot, s)` gives its rows in the passes over ranks, or -1 where it
// is unsound.
template <class RanksOf>
__device__ __forceinline__ void check_sites(const GroupedTokens& tokens, const AdapterPool& pool, const GroupedColumns& columns, int32_t warps_of_block,
                                            const RanksOf& ranks_of) {
  const int32_t sites = columns.sites, items = tokens.state->runs * sites, warps = static_cast<int32_t>(gridDim.x) * warps_of_block;
  for (int32_t item = static_cast<int32_t>(blockIdx.x) * warps_of_block + static_cast<int32_t>(threadIdx.x) / kWarp; item < items; item += warps) {
    const int64_t slot = tokens.runs[item / sites].key % pool.slots, s = item % sites;
    const AdapterEntry entry = load_entry(pool, slot, columns.first_site + s);
    if (entry.kind == EntryKind::kNone) continue;
    const int32_t ranks = ranks_of(entry, slot, s);
    if (ranks < 0)
      atomicExch(&tokens.state->unsound, 1);
    else
      atomicMax(&tokens.state->largest_rank, ranks);
  }
}

__device__ inline bool is_trainable(const TrainingRefusals& refusals, const AdapterEntry& entry, int64_t slot, int64_t site) {
  if (entry.dtype == static_cast<int32_t>(DType::kF32)) return true;
  (entry.dtype == static_cast<int32_t>(DType::kF16) ? refusals.f16 : refusals.bf16).report(slot, site);
  return false;
}

__device__ inline int64_t units_of(int64_t width) { return (width + kUnitFloats - 1) / kUnitFloats; }

struct RowOwner {
  int64_t slot;
  int64_t site;
};

// A row of the table whose gradient somebody else claimed too, and the units where it lies.
struct MixedRow {
  RowOwner owner;
  int64_t row;
  int64_t begin;
  int64_t end;
};

// By a whole warp: whether one of rows[first .. first + count), which belong to `owner`, lies there too.
__device__ inline bool meets(const AdapterPool& pool, const RowOwner& owner, int64_t first, int64_t count, int64_t width, const MixedRow& mixed) {
  if (!rows_exist(pool, first, count)) return false;
  const bool same = owner.slot == mixed.owner.slot && owner.site == mixed.owner.site;
  bool found = false;
  for (int64_t i = first + threadIdx.x % kWarp; i < first + count; i += kWarp)
    found = found || ((i != mixed.row || !same) && pool.rows[i] < mixed.end && mixed.begin < pool.rows[i] + units_of(width));
  return __any_sync(kFullWarp, found) != 0;
}

// rows[first .. first + count) of `width` floats, known to lie in the pool, belong to `owner` from now on; false when their gradients
// do not exist or somebody has them. find_other(MixedRow) gives the RowOwner of the row that is met.
template <class FindOther>
__device__ inline bool claim_rows(const AdapterPool& pool, const GradientSpace& gradients, const TrainingRefusals& refusals, const RowOwner& owner,
                                  int64_t first, int64_t count, int64_t width, const FindOther& find_other) {
  if (count == 0 || width == 0) return true;
  if (!rows_inside(pool, first, count, width * 4, gradients.elements * 4)) {
    refusals.outside.report(owner.slot, owner.site, first, first + count);
    return false;
  }
  int32_t mixed = -1;
  for (int64_t r = threadIdx.x % kWarp; r < count; r += kWarp) {
    int64_t unit = pool.rows[first + r];
    const int64_t end = unit + units_of(width);
    while (unit < end) {
      const int64_t word = unit / 32, stop = (word + 1) * 32 < end ? (word + 1) * 32 : end;
      const uint32_t bits = (stop - unit == 32 ? 0xffffffffu : (1u << (stop - unit)) - 1) << (unit % 32);
      if ((atomicOr(&gradients.claimed[word], bits) & bits) != 0) mixed = static_cast<int32_t>(first + r);
      unit = stop;
    }
  }
  const unsigned lanes = __ballot_sync(kFullWarp, mixed >= 0);
  if (lanes == 0) return true;
  const int64_t row = __shfl_sync(kFullWarp, mixed, __ffs(static_cast<int>(lanes)) - 1), begin = pool.rows[row];
  const RowOwner other = find_other(MixedRow{owner, row, begin, begin + units_of(width)});
  refusals.overlap.report(owner.slot, owner.site, other.slot, other.site);
  return false;
}

}  // namespace heddle
