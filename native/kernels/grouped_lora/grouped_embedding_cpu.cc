// Adapters on the embedding table: a low-rank addition to a token's row, or the adapter's own row.
#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_pool.h"
#include "kernels/grouped_lora/operand_checks.h"

#ifndef HEDDLE_GROUPED_EMBEDDING_WORK
#define HEDDLE_GROUPED_EMBEDDING_WORK
namespace heddle {

struct GroupedEmbeddingWork {
  const GroupedEmbeddingArgs& args;
  AdapterPool pool;
  float* scratch;  // per worker: two rows of outputs, the base's own and the product
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_embedding_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)
#include "kernels/grouped_lora/adapter_rows.h"

namespace heddle::HEDDLE_TARGET {

template <class Row>
void join_embedding(const AdapterPool& pool, const AdapterEntry& entry, int64_t id, Join how, int64_t outputs, float* product) {
  using Element = typename Row::Element;
  if (entry.kind == EntryKind::kDense) {
    const Element* row = static_cast<const Element*>(pool.row(entry.first_a + id));
    for (int64_t n = 0; n < outputs; n++) product[n] = Row::scalar(row[n]);
    return join_product(product, how, outputs);
  }
  const int64_t piece = entry.first_a + id / kEmbeddingPiece * entry.rank;
  float v[kRankBlock * kTileTokens];
  int64_t done = 0;
  do {
    const int count = static_cast<int>(entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock);
    for (int j = 0; j < count; j++)
      v[j * kTileTokens] = entry.scale * Row::scalar(static_cast<const Element*>(pool.row(piece + done + j))[id % kEmbeddingPiece]);
    add_rows<Row, 1>(factor_b(pool, entry), done, count, v, how, 0, outputs);
    done += count;
    how.own = how.replaces = false;
    how.shift = nullptr;
  } while (done < entry.rank);
}

static void grouped_embedding_token(const GroupedEmbeddingWork& work, int64_t token, int worker) {
  const GroupedEmbeddingArgs& args = work.args;
  const int64_t outputs = args.y.dims[1], routes = args.index.dims[1];
  if (args.ids.as<int32_t>()[token] < 0) return;  // not a token: its request has ended within a burst
  const int32_t* slots = args.index.as<int32_t>() + token * routes;
  float* y = args.y.row<float>(token);
  float* saved = work.scratch + worker * 2 * outputs;
  int active = 0;
  for (int64_t j = 0; j < routes; j++) active += slots[j] >= 0 && work.pool.entry(slots[j], args.site).kind != EntryKind::kNone;
  if (active == 0) return;
  if (active > 1) std::memcpy(saved, y, static_cast<size_t>(outputs) * sizeof(float));
  const float* original = active > 1 ? saved : y;
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site);
    if (entry.kind == EntryKind::kNone) continue;
    const float* weight = args.weight.row<float>(token) + j;
    const auto row = [&](int32_t index) { return index < 0 ? nullptr : static_cast<const float*>(work.pool.row(index)); };
    const bool own = entry.kind == EntryKind::kDense || entry.gain >= 0;
    const float* gain = entry.kind == EntryKind::kDense ? nullptr : row(entry.gain);
    const Join how = {&y, &original, weight, gain, row(entry.shift), nullptr, own, own && active == 1 && *weight == 1.0f};
    const int64_t id = args.ids.as<int32_t>()[token];
    with_row_type(entry.dtype, [&](auto kind) { join_embedding<decltype(kind)>(work.pool, entry, id, how, outputs, saved + outputs); });
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_embedding";

Status check_token(const AdapterPool& pool, int64_t slot, int64_t site, int64_t id, int64_t outputs) {
  const AdapterEntry entry = pool.entry(slot, site);
  if (entry.kind == EntryKind::kNone) return Status::success();
  HEDDLE_TRY(check_entry(kOp, pool, entry, slot, site, outputs));
  const int64_t width = static_cast<int64_t>(dtype_bytes(static_cast<DType>(entry.dtype)));
  if (entry.kind == EntryKind::kDense) {
    if (id >= entry.rank || entry.first_a < 0)
      return bad_entry(kOp, slot, site, "has " + std::to_string(entry.rank) + " rows, none for token id " + std::to_string(id));
    if (!pool.holds(entry.first_a + id, 1, outputs * width)) return rows_outside(kOp, slot, site, entry.first_a + id, 1);
    return Status::success();
  }
  const int64_t piece = entry.first_a + id / kEmbeddingPiece * entry.rank;
  if (entry.first_a < 0 || !pool.holds(piece, entry.rank, (id % kEmbeddingPiece + 1) * width))
    return rows_outside(kOp, slot, site, piece, entry.rank);
  if (!pool.holds(entry.first_b, entry.rank, outputs * width)) return rows_outside(kOp, slot, site, entry.first_b, entry.rank);
  return Status::success();
}

}  // namespace

size_t grouped_embedding_cpu_workspace(const GroupedEmbeddingArgs& args, int threads) {
  return static_cast<size_t>(threads) * 2 * static_cast<size_t>(args.y.dims[1]) * sizeof(float);
}

Status grouped_embedding_cpu(const GroupedEmbeddingArgs& args, CpuContext& context) {
  AdapterPool pool;
  HEDDLE_TRY(check_operands(kOp, args, &pool));
  const int64_t tokens = args.ids.dims[0];
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  if (!any) return Status::success();
  HEDDLE_CHECK(context.workspace_bytes >= grouped_embedding_cpu_workspace(args, context.threads()), kOp, "the workspace is too small");

  const int64_t routes = args.index.dims[1];
  const int32_t* slots = args.index.as<int32_t>();
  for (int64_t i = 0; i < tokens * routes; i++)
    if (slots[i] >= 0 && args.ids.as<int32_t>()[i / routes] >= 0)
      HEDDLE_TRY(check_token(pool, slots[i], args.site, args.ids.as<int32_t>()[i / routes], args.y.dims[1]));

  const GroupedEmbeddingWork work = {args, pool, reinterpret_cast<float*>(context.workspace)};
  const auto run = HEDDLE_DISPATCH(grouped_embedding_token);
  constexpr int64_t kTokens = 8;
  context.parallel((tokens + kTokens - 1) / kTokens, [&](int64_t chunk, int worker) {
    const int64_t end = (chunk + 1) * kTokens < tokens ? (chunk + 1) * kTokens : tokens;
    for (int64_t token = chunk * kTokens; token < end; token++) run(work, token, worker);
  });
  return Status::success();
}

}  // namespace heddle
#endif
