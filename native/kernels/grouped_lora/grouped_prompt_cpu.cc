// Adapters with keys and values of their own beside the text's: a second, gated attention. Zhang et al. (LLaMA-Adapter),
// https://arxiv.org/abs/2303.16199.
#include <cmath>
#include <limits>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/op_table.h"
#include "kernels/grouped_lora/adapter_pool.h"
#include "kernels/grouped_lora/operand_checks.h"

#ifndef HEDDLE_GROUPED_PROMPT_WORK
#define HEDDLE_GROUPED_PROMPT_WORK
namespace heddle {

struct GroupedPromptWork {
  const GroupedPromptArgs& args;
  AdapterPool pool;
  float* output;  // per worker: [padded], the weighted sum of one head's values
  int64_t padded;
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_prompt_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)

namespace heddle::HEDDLE_TARGET {

HEDDLE_INLINE Vector prompt_lanes(const float* p, int64_t n, int64_t width) {
  return width - n < kLanes ? load_partial(p + n, static_cast<int>(width - n)) : load(p + n);
}

// Rows in blocks: each block has a maximum, and what is summed before is scaled down when a block raises it.
static void attend_prompt(const AdapterPool& pool, const AdapterEntry& entry, const float* q, int64_t column, int64_t width, float scale,
                          float factor, float* output, float* y) {
  float scores[kRankBlock];
  float top = -std::numeric_limits<float>::infinity(), total = 0;
  for (int64_t n = 0; n < width; n++) output[n] = 0;
  for (int64_t first = 0; first < entry.rank; first += kRankBlock) {
    const int64_t count = entry.rank - first < kRankBlock ? entry.rank - first : kRankBlock;
    float highest = top;
    for (int64_t i = 0; i < count; i++) {
      const float* key = static_cast<const float*>(pool.row(entry.first_a + first + i)) + column;
      Vector sum = zero();
      for (int64_t n = 0; n < width; n += kLanes) sum = fma(prompt_lanes(key, n, width), prompt_lanes(q, n, width), sum);
      scores[i] = reduce_add(sum) * scale;
      highest = scores[i] > highest ? scores[i] : highest;
    }
    const float shrink = first == 0 ? 0.0f : std::exp(top - highest);
    top = highest;
    total *= shrink;
    for (int64_t n = 0; n < width; n++) output[n] *= shrink;
    for (int64_t i = 0; i < count; i++) {
      const float share = std::exp(scores[i] - top);
      total += share;
      const float* value = static_cast<const float*>(pool.row(entry.first_b + first + i)) + column;
      for (int64_t n = 0; n < width; n += kLanes) {
        const int lanes = width - n < kLanes ? static_cast<int>(width - n) : kLanes;
        store_partial(output + n, fma(broadcast(share), prompt_lanes(value, n, width), prompt_lanes(output, n, width)), lanes);
      }
    }
  }
  const Vector weight = broadcast(factor / total);
  for (int64_t n = 0; n < width; n += kLanes) {
    const int lanes = width - n < kLanes ? static_cast<int>(width - n) : kLanes;
    store_partial(y + n, fma(weight, prompt_lanes(output, n, width), prompt_lanes(y, n, width)), lanes);
  }
}

static void grouped_prompt_token(const GroupedPromptWork& work, int64_t token, int worker) {
  const GroupedPromptArgs& args = work.args;
  const int64_t heads = args.q.dims[1], width = args.q.dims[2], routes = args.index.dims[1], group = heads / args.key_heads;
  const int32_t* slots = args.index.as<int32_t>() + token * routes;
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site);
    if (entry.kind == EntryKind::kNone || entry.rank == 0) continue;
    const float factor = args.weight.row<float>(token)[j] * entry.scale;
    for (int64_t h = 0; h < heads; h++)
      attend_prompt(work.pool, entry, args.q.row<float>(token) + h * width, h / group * width, width, args.scale, factor,
                    work.output + worker * work.padded, args.y.row<float>(token) + h * width);
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_prompt";

Status check_slot(const AdapterPool& pool, int64_t slot, int64_t site, int64_t width, bool* any) {
  const AdapterEntry entry = pool.entry(slot, site);
  if (entry.kind == EntryKind::kNone) return Status::success();
  *any = true;
  HEDDLE_TRY(check_entry(kOp, pool, entry, slot, site, width));
  if (entry.kind != EntryKind::kDense || entry.dtype != static_cast<int32_t>(DType::kF32))
    return bad_entry(kOp, slot, site, "does not hold f32 rows of keys and values");
  for (const int32_t first : {entry.first_a, entry.first_b})
    if (!pool.holds(first, entry.rank, width * 4)) return rows_outside(kOp, slot, site, first, entry.rank);
  return Status::success();
}

int64_t padded_width(const TensorView& q) { return (q.dims[2] + 15) / 16 * 16; }

}  // namespace

size_t grouped_prompt_cpu_workspace(const GroupedPromptArgs& args, int threads) {
  return static_cast<size_t>(threads) * static_cast<size_t>(padded_width(args.q)) * sizeof(float);
}

Status grouped_prompt_cpu(const GroupedPromptArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.q.dims[0], width = args.q.dims[2];
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  if (!any) return Status::success();
  any = false;
  const int32_t* slots = args.index.as<int32_t>();
  for (int64_t i = 0; i < args.index.elements(); i++)
    if (slots[i] >= 0 && (i == 0 || slots[i] != slots[i - 1])) HEDDLE_TRY(check_slot(pool, slots[i], args.site, args.key_heads * width, &any));
  if (!any) return Status::success();
  HEDDLE_CHECK(context.workspace_bytes >= grouped_prompt_cpu_workspace(args, context.threads()), kOp, "the workspace is too small");

  const GroupedPromptWork work = {args, pool, reinterpret_cast<float*>(context.workspace), padded_width(args.q)};
  const auto run = HEDDLE_DISPATCH(grouped_prompt_token);
  constexpr int64_t kTokens = 4;
  context.parallel((tokens + kTokens - 1) / kTokens, [&](int64_t chunk, int worker) {
    const int64_t end = (chunk + 1) * kTokens < tokens ? (chunk + 1) * kTokens : tokens;
    for (int64_t token = chunk * kTokens; token < end; token++) run(work, token, worker);
  });
  return Status::success();
}

}  // namespace heddle
#endif
