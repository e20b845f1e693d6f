// Adapters with norm weights of their own (modules_to_save and kin): their tokens are normalised again with those.
#include <cmath>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_pool.h"
#include "kernels/grouped_lora/operand_checks.h"

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_norm_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)

namespace heddle::HEDDLE_TARGET {

HEDDLE_INLINE Vector read_lanes(const float* p, int64_t n, int64_t width) {
  return width - n < kLanes ? load_partial(p + n, static_cast<int>(width - n)) : load(p + n);
}

// One head of a token of which `active` routes change it.
static void grouped_norm_head(const GroupedNormArgs& args, const AdapterPool& pool, int64_t token, int64_t head, int active) {
  const int64_t width = args.x.columns(), routes = args.index.dims[1];
  const int32_t* slots = args.index.as<int32_t>() + token * routes;
  const float* x = args.x.row<float>(token) + head * width;
  float mean = 0;
  if (args.kind == GroupedNormKind::kLayer) {
    Vector sum = zero();
    for (int64_t n = 0; n < width; n += kLanes) sum = add(sum, read_lanes(x, n, width));
    mean = reduce_add(sum) / static_cast<float>(width);
  }
  float squares = 0;
  {
    Vector sum = zero();
    int64_t n = 0;
    for (; n + kLanes <= width; n += kLanes) {
      const Vector centred = sub(load(x + n), broadcast(mean));
      sum = fma(centred, centred, sum);
    }
    squares = reduce_add(sum);
    for (; n < width; n++) squares += (x[n] - mean) * (x[n] - mean);
  }
  const float factor = 1.0f / std::sqrt(squares / static_cast<float>(width) + args.eps);

  float* y = args.y.row<float>(token) + head * width;
  const float* weight = args.weight.row<float>(token);
  const Vector offset = broadcast(args.weight_offset);
  for (int64_t n = 0; n < width; n += kLanes) {
    const int lanes = width - n < kLanes ? static_cast<int>(width - n) : kLanes;
    const Vector unit = mul(sub(read_lanes(x, n, width), broadcast(mean)), broadcast(factor));
    const Vector base = read_lanes(y, n, width);
    Vector result = base;
    for (int64_t j = 0; j < routes; j++) {
      if (slots[j] < 0) continue;
      const AdapterEntry entry = pool.entry(slots[j], args.site);
      if (entry.kind == EntryKind::kNone) continue;
      Vector own = mul(unit, add(read_lanes(static_cast<const float*>(pool.row(entry.first_a)), n, width), offset));
      if (entry.shift >= 0) own = add(own, read_lanes(static_cast<const float*>(pool.row(entry.shift)), n, width));
      result = active == 1 && weight[j] == 1.0f ? own : fma(broadcast(weight[j]), sub(own, base), result);
    }
    store_partial(y + n, result, lanes);
  }
}

static void grouped_norm_token(const GroupedNormArgs& args, const AdapterPool& pool, int64_t token) {
  const int64_t routes = args.index.dims[1], heads = norm_heads(args);
  const int32_t* slots = args.index.as<int32_t>() + token * routes;
  int active = 0;
  for (int64_t j = 0; j < routes; j++) active += slots[j] >= 0 && pool.entry(slots[j], args.site).kind != EntryKind::kNone;
  if (active == 0) return;
  for (int64_t head = 0; head < heads; head++) grouped_norm_head(args, pool, token, head, active);
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_norm";

Status check_slot(const AdapterPool& pool, int64_t slot, int64_t site, int64_t width) {
  const AdapterEntry entry = pool.entry(slot, site);
  if (entry.kind == EntryKind::kNone) return Status::success();
  HEDDLE_TRY(check_entry(kOp, pool, entry, slot, site, width));
  if (entry.kind != EntryKind::kDense || entry.rank != 1 || entry.dtype != static_cast<int32_t>(DType::kF32))
    return bad_entry(kOp, slot, site, "does not hold one f32 weight row");
  if (!pool.holds(entry.first_a, 1, width * 4)) return rows_outside(kOp, slot, site, entry.first_a, 1);
  return Status::success();
}

}  // namespace

Status grouped_norm_cpu(const GroupedNormArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.x.dims[0], width = args.x.columns();
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  if (!any) return Status::success();
  const int32_t* slots = args.index.as<int32_t>();
  for (int64_t i = 0; i < args.index.elements(); i++)
    if (slots[i] >= 0 && (i == 0 || slots[i] != slots[i - 1])) HEDDLE_TRY(check_slot(pool, slots[i], args.site, width));

  const auto run = HEDDLE_DISPATCH(grouped_norm_token);
  constexpr int64_t kTokens = 8;
  context.parallel((tokens + kTokens - 1) / kTokens, [&](int64_t chunk, int) {
    const int64_t end = (chunk + 1) * kTokens < tokens ? (chunk + 1) * kTokens : tokens;
    for (int64_t token = chunk * kTokens; token < end; token++) run(args, pool, token);
  });
  return Status::success();
}

}  // namespace heddle
#endif
