// Adapters with keys and values of their own beside the text's: a second, gated attention. A warp per token and head.
//
// Once over the keys for the largest score and the sum of shares, once over the values; scores of up to kPromptScores rows are kept
// between. Prompts are short and shared by a batch: their rows come from the caches.
#include "generated/grouped_lora_ops.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/grouped_lora/adapter_pool.cuh"
#include "kernels/grouped_lora/operand_checks.h"
#include "kernels/grouped_lora/pool_rows.cuh"

namespace heddle {

namespace {

#define HEDDLE_OP "grouped_prompt"
constexpr const char* kOp = HEDDLE_OP;
constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr int kPromptScores = 256;

struct PromptWork {
  AdapterPool pool;
  const int32_t* index;
  const float* weight;
  const float* q;
  float* y;
  int64_t tokens, routes, heads, group, width, q_stride, y_stride, row_width;
  int32_t site;
  float scale;
};

struct PromptRefusals {
  PoolRefusals pool;
  Failure content;  // slot, site
};

// By a whole warp: the entry of a route that has rows; false: there is none, or it was refused.
__device__ bool find_prompt(const PromptWork& work, const PromptRefusals& refusals, int32_t found, AdapterEntry* entry) {
  const int32_t slot = route_slot(work.pool, refusals.pool, found);
  if (slot < 0) return false;
  *entry = load_entry(work.pool, slot, work.site);
  if (entry->kind == EntryKind::kNone || !sound_entry(work.pool, refusals.pool, *entry, slot, work.site, work.row_width)) return false;
  if (entry->kind != EntryKind::kDense || entry->dtype != static_cast<int32_t>(DType::kF32)) {
    refusals.content.report(slot, work.site);
    return false;
  }
  const bool keys = rows_inside(work.pool, entry->first_a, entry->rank, work.row_width * 4, work.pool.byte_count);
  const bool values = rows_inside(work.pool, entry->first_b, entry->rank, work.row_width * 4, work.pool.byte_count);
  if (keys && values) return entry->rank > 0;
  const int64_t first = keys ? entry->first_b : entry->first_a;
  refusals.pool.rows.report(slot, work.site, first, first + entry->rank);
  return false;
}

__device__ const float* prompt_row(const AdapterPool& pool, int64_t row, int64_t column) {
  return reinterpret_cast<const float*>(pool.bytes + pool.rows[row] * kRowUnit) + column;
}

// Scores of rows first .. first + count of the keys; every lane sees the largest.
__device__ float score_rows(const PromptWork& work, const AdapterEntry& entry, const float* q, int64_t column, int32_t first, int32_t count,
                            SharedPointer<float> scores) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  float highest = -__int_as_float(0x7f800000);
  for (int32_t i = 0; i < count; i++) {
    const float* key = prompt_row(work.pool, static_cast<int64_t>(entry.first_a) + first + i, column);
    float sum = 0;
    for (int64_t n = lane; n < work.width; n += kWarp) sum = fmaf(key[n], q[n], sum);
    const float score = warp_sum(sum) * work.scale;
    highest = score > highest ? score : highest;
    if (lane == 0) scores[i] = score;
  }
  __syncwarp();
  return highest;
}

__device__ void attend_prompt(const PromptWork& work, const AdapterEntry& entry, const float* q, int64_t column, float factor,
                              SharedPointer<float> scores, float* y) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto block_of = [&](int32_t first) { return entry.rank - first < kPromptScores ? entry.rank - first : kPromptScores; };
  float top = -__int_as_float(0x7f800000), total = 0;
  for (int32_t first = 0; first < entry.rank; first += kPromptScores) {
    const int32_t count = block_of(first);
    const float before = top, highest = score_rows(work, entry, q, column, first, count, scores);
    top = highest > top ? highest : top;
    float sum = 0;
    for (int32_t i = lane; i < count; i += kWarp) sum += expf(static_cast<float>(scores[i]) - top);
    total = (first == 0 ? 0.0f : total * expf(before - top)) + warp_sum(sum);
    __syncwarp();
  }
  const float weight = factor / total;
  for (int32_t first = 0; first < entry.rank; first += kPromptScores) {
    const int32_t count = block_of(first);
    if (entry.rank > kPromptScores) score_rows(work, entry, q, column, first, count, scores);
    for (int32_t i = lane; i < count; i += kWarp) scores[i] = expf(static_cast<float>(scores[i]) - top);
    __syncwarp();
    for (int64_t n = lane; n < work.width; n += kWarp) {
      float sum = 0;
      for (int32_t i = 0; i < count; i++)
        sum = fmaf(static_cast<float>(scores[i]), prompt_row(work.pool, static_cast<int64_t>(entry.first_b) + first + i, column)[n], sum);
      y[n] = fmaf(weight, sum, y[n]);
    }
    __syncwarp();
  }
}

__global__ void __launch_bounds__(kThreads) attend_prompts(PromptWork work, PromptRefusals refusals) {
  HEDDLE_SHARED(float, all_scores, kWarps * kPromptScores);
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const uint32_t heads = static_cast<uint32_t>(work.heads), item = blockIdx.x * kWarps + warp, head = item % heads;
  const int64_t token = item / heads, column = head / static_cast<uint32_t>(work.group) * work.width;
  if (token >= work.tokens) return;
  for (int64_t j = 0; j < work.routes; j++) {
    AdapterEntry entry;
    if (!find_prompt(work, refusals, work.index[token * work.routes + j], &entry)) continue;
    attend_prompt(work, entry, work.q + token * work.q_stride + head * work.width, column, work.weight[token * work.routes + j] * entry.scale,
                  all_scores + warp * kPromptScores, work.y + token * work.y_stride + head * work.width);
  }
}

}  // namespace

Status grouped_prompt_cuda(const GroupedPromptArgs& args, CudaContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  HEDDLE_TRY(read_device_pool(kOp, args.entries, args.rows, args.pool, &pool));
  const int64_t tokens = args.q.dims[0], heads = args.q.dims[1], width = args.q.dims[2];
  const PromptWork work = {pool,
                           args.index.as<int32_t>(),
                           args.weight.as<float>(),
                           args.q.as<float>(),
                           args.y.as<float>(),
                           tokens,
                           args.index.dims[1],
                           heads,
                           heads / args.key_heads,
                           width,
                           args.q.leading_stride,
                           args.y.leading_stride,
                           args.key_heads * width,
                           args.site,
                           args.scale};
  const PromptRefusals refusals = {HEDDLE_POOL_REFUSALS(context, HEDDLE_OP, "0, 1 or 2"),
                                   HEDDLE_ENTRY_REFUSAL(context, HEDDLE_OP, "does not hold f32 rows of keys and values")};
  HEDDLE_CHECK(tokens * heads <= INT32_MAX, kOp, "q is " + describe(args.q) + ": too large");
  return context.launch(kOp, attend_prompts, {strided_grid(ceil_div(tokens * heads, kWarps), INT32_MAX), kThreads}, work, refusals);
}

}  // namespace heddle
