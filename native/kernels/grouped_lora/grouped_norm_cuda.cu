// Adapters with norm weights of their own: their tokens are normalised again with those. A block per token; a token without such an
// adapter costs the reading of its slots.
#include "generated/grouped_lora_ops.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.cuh"
#include "kernels/grouped_lora/operand_checks.h"
#include "kernels/grouped_lora/pool_rows.cuh"

namespace heddle {

namespace {

#define HEDDLE_OP "grouped_norm"
constexpr const char* kOp = HEDDLE_OP;
constexpr int kThreads = 256;

struct NormWork {
  AdapterPool pool;
  const int32_t* index;
  const float* weight;
  const float* x;
  float* y;
  int64_t tokens, routes, heads, width, x_stride, y_stride;
  int32_t site;
  bool layer;
  float eps, weight_offset;
};

struct NormRefusals {
  PoolRefusals pool;
  Failure content;  // slot, site
};

// The entry of a route that changes its token; false: there is none, or it was refused.
__device__ bool find_norm(const NormWork& work, const NormRefusals& refusals, int32_t found, AdapterEntry* entry) {
  const int32_t slot = route_slot(work.pool, refusals.pool, found);
  if (slot < 0) return false;
  *entry = load_entry(work.pool, slot, work.site);
  if (entry->kind == EntryKind::kNone || !sound_entry(work.pool, refusals.pool, *entry, slot, work.site, work.width)) return false;
  if (entry->kind != EntryKind::kDense || entry->rank != 1 || entry->dtype != static_cast<int32_t>(DType::kF32)) {
    refusals.content.report(slot, work.site);
    return false;
  }
  if (pool_row<float>(work.pool, entry->first_a, work.width) != nullptr) return true;
  refusals.pool.rows.report(slot, work.site, entry->first_a, static_cast<int64_t>(entry->first_a) + 1);
  return false;
}

// One head of a token.
__device__ void normalise(const NormWork& work, const NormRefusals& refusals, int64_t token, int64_t head, int active,
                          SharedPointer<float> scratch) {
  const float* x = work.x + token * work.x_stride + head * work.width;
  float* y = work.y + token * work.y_stride + head * work.width;
  const int64_t width = work.width, first = threadIdx.x * int64_t{4};
  const bool whole_x = is_aligned16(x), whole_y = is_aligned16(y);
  float mean = 0;
  if (work.layer) {
    float sum = 0;
    for (int64_t n = first; n < width; n += 4 * kThreads) {
      const Pack<float, 4> four = load_four_at(x, n, width, whole_x);
      sum += (four.v[0] + four.v[1]) + (four.v[2] + four.v[3]);
    }
    mean = block_sum(sum, scratch) / static_cast<float>(width);
  }
  float squares = 0;
  for (int64_t n = first; n < width; n += 4 * kThreads) {
    const Pack<float, 4> four = load_four_at(x, n, width, whole_x);
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const float centred = n + e < width ? four.v[e] - mean : 0.0f;
      squares = fmaf(centred, centred, squares);
    }
  }
  squares = block_sum(squares, scratch);
  const float factor = 1.0f / sqrtf(squares / static_cast<float>(width) + work.eps);

  for (int64_t n = first; n < width; n += 4 * kThreads) {
    const Pack<float, 4> four = load_four_at(x, n, width, whole_x), base = load_four_at(y, n, width, whole_y);
    Pack<float, 4> result = base;
    for (int64_t j = 0; j < work.routes; j++) {
      AdapterEntry entry;
      if (!find_norm(work, refusals, work.index[token * work.routes + j], &entry)) continue;
      const float weight = work.weight[token * work.routes + j];
      const Pack<float, 4> own = load_four(pool_row<float>(work.pool, entry.first_a, width), n, width);
      Pack<float, 4> shift = {};
      if (entry.shift >= 0) shift = load_four(pool_row<float>(work.pool, entry.shift, width), n, width);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const float value = (four.v[e] - mean) * factor * (own.v[e] + work.weight_offset) + shift.v[e];
        result.v[e] = active == 1 && weight == 1.0f ? value : fmaf(weight, value - base.v[e], result.v[e]);
      }
    }
    store_four_at(y, n, width, whole_y, result);
  }
}

__global__ void __launch_bounds__(kThreads) norm_tokens(NormWork work, NormRefusals refusals) {
  HEDDLE_SHARED(float, scratch, kWarp);
  for (int64_t token = blockIdx.x; token < work.tokens; token += gridDim.x) {
    int active = 0;
    for (int64_t j = 0; j < work.routes; j++) {
      AdapterEntry entry;
      active += find_norm(work, refusals, work.index[token * work.routes + j], &entry);
    }
    if (active == 0) continue;
    for (int64_t head = 0; head < work.heads; head++) normalise(work, refusals, token, head, active, scratch);
  }
}

}  // namespace

Status grouped_norm_cuda(const GroupedNormArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  const NormWork work = {pool,
                         args.index.as<int32_t>(),
                         args.weight.as<float>(),
                         args.x.as<float>(),
                         args.y.as<float>(),
                         args.x.dims[0],
                         args.index.dims[1],
                         norm_heads(args),
                         args.x.columns(),
                         args.x.leading_stride,
                         args.y.leading_stride,
                         args.site,
                         args.kind == GroupedNormKind::kLayer,
                         args.eps,
                         args.weight_offset};
  const NormRefusals refusals = {HEDDLE_POOL_REFUSALS(context, HEDDLE_OP, "0, 1 or 2"),
                                 HEDDLE_ENTRY_REFUSAL(context, HEDDLE_OP, "does not hold one f32 weight row")};
  return context.launch(kOp, norm_tokens, {strided_grid(work.tokens, INT32_MAX), kThreads}, work, refusals);
}

}  // namespace heddle
