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
  Failure overlap;  // slot, site
};

#define HEDDLE_TRAINING_REFUSALS(context, op)                                                                                        \
  ::heddle::TrainingRefusals {                                                                                                       \
    HEDDLE_ENTRY_REFUSAL(context, op, "has factors in f16: gradients are of f32 factors"),                                           \
        HEDDLE_ENTRY_REFUSAL(context, op, "has factors in bf16: gradients are of f32 factors"),                                      \
        HEDDLE_ENTRY_REFUSAL(context, op, "has rows {2} to {3} whose gradients do not all lie inside gradients"),                    \
        HEDDLE_ENTRY_REFUSAL(context, op, "has a row that overlaps another one of the batch: their gradients would mix")             \
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

__device__ inline bool is_trainable(const TrainingRefusals& refusals, const AdapterEntry& entry, int64_t slot, int64_t site) {
  if (entry.dtype == static_cast<int32_t>(DType::kF32)) return true;
  (entry.dtype == static_cast<int32_t>(DType::kF16) ? refusals.f16 : refusals.bf16).report(slot, site);
  return false;
}

// rows[first .. first + count) of `width` floats, known to lie in the pool, belong to this entry from now on; false when their
// gradients do not exist or somebody has them.
__device__ inline bool claim_rows(const AdapterPool& pool, const GradientSpace& gradients, const TrainingRefusals& refusals, int64_t slot,
                                  int64_t site, int64_t first, int64_t count, int64_t width) {
  if (count == 0 || width == 0) return true;
  if (!rows_inside(pool, first, count, width * 4, gradients.elements * 4)) {
    refusals.outside.report(slot, site, first, first + count);
    return false;
  }
  bool apart = true;
  for (int64_t r = threadIdx.x % kWarp; r < count; r += kWarp) {
    int64_t unit = pool.rows[first + r];
    const int64_t end = unit + (width + kUnitFloats - 1) / kUnitFloats;
    while (unit < end) {
      const int64_t word = unit / 32, stop = (word + 1) * 32 < end ? (word + 1) * 32 : end;
      const uint32_t bits = (stop - unit == 32 ? 0xffffffffu : (1u << (stop - unit)) - 1) << (unit % 32);
      apart = apart && (atomicOr(&gradients.claimed[word], bits) & bits) == 0;
      unit = stop;
    }
  }
  if (__all_sync(kFullWarp, apart) != 0) return true;
  refusals.overlap.report(slot, site);
  return false;
}

}  // namespace heddle
