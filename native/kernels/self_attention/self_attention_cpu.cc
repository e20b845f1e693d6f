// self_attention: a tile of query rows walks the keys it sees block by block: first for the maximum of each row, then with
// the weights. No matrix of scores is ever held.
//
// The maximum is known before anything is weighed, so a row's bits depend on nothing but its query and the keys it sees in
// their order: not on where tiles and blocks begin, nor on what else is packed beside its document.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/self_attention_ops.h"
#include "kernels/self_attention/self_attention_checks.h"

#define HEDDLE_TARGET_FILE "kernels/self_attention/self_attention_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "cpu/transpose.h"
#include "kernels/self_attention/self_attention_tiles.h"

namespace heddle::HEDDLE_TARGET {

// What one vector of rows sees of a block, as a mask per key.
struct SeenKeys {
  LaneSpan span;  // of any of the rows
  bool whole;     // of all of them: no mask is needed
  Vector begin, end;

  SeenKeys(const KeyBlock& block, int lane, int rows) {
    span = block.of_lanes(lane, kLanes, rows, &whole);
    float from[kLanes], to[kLanes];
    for (int i = 0; i < kLanes; i++) {
      from[i] = lane + i < rows ? static_cast<float>(block.spans[lane + i].begin) : 0.0f;
      to[i] = lane + i < rows ? static_cast<float>(block.spans[lane + i].end) : 0.0f;
    }
    begin = load(from);
    end = load(to);
  }
  Vector select(int key, Vector seen, Vector unseen) const {
    const Vector index = broadcast(static_cast<float>(key));
    return select_less(index, begin, unseen, select_less(index, end, seen, unseen));
  }
};

// Scores of a block as to[key][row], minus infinity where a row does not see the key, and the maxima so far.
inline void score_block(const SelfAttentionJob& job, const QueryRows& rows, const KeyBlock& block, const SelfAttentionScratch& scratch,
                        float* scores, float* maxima) {
  copy_keys(job, block, rows.key_head, scratch.rows[0]);
  dot_block(job, block, rows, scratch.packed[0], scratch.rows[0], scores);
  for (int lane = 0; lane < rows.count; lane += kLanes) {
    const SeenKeys seen(block, lane, rows.count);
    Vector top = load(maxima + lane);
    for (int key = seen.span.begin; key < seen.span.end; key++) {
      float* at = scores + key * kAttentionTile + lane;
      Vector score = cap_scores(load(at), job.scale, job.soft_cap);
      if (!seen.whole) score = seen.select(key, score, broadcast(kMinusInfinity));
      store(at, score);
      top = max(score, top);
    }
    store(maxima + lane, top);
  }
}

// Scores become weights; their sums are one chain per row.
inline void weigh_block(const QueryRows& rows, const KeyBlock& block, float* scores, const float* maxima, float* totals) {
  for (int lane = 0; lane < rows.count; lane += kLanes) {
    const SeenKeys seen(block, lane, rows.count);
    const Vector top = load(maxima + lane);
    Vector total = load(totals + lane);
    for (int key = seen.span.begin; key < seen.span.end; key++) {
      float* at = scores + key * kAttentionTile + lane;
      Vector weight = exp(sub(load(at), top));
      if (!seen.whole) weight = seen.select(key, weight, zero());
      store(at, weight);
      total = add(total, weight);
    }
    store(totals + lane, total);
  }
}

void self_attention_item(const SelfAttentionJob& job, const TensorView& y, float* lse, int64_t item, int worker);
void self_attention_item(const SelfAttentionJob& job, const TensorView& y, float* lse, int64_t item, int worker) {
  const SelfAttentionScratch scratch(job.workspace + static_cast<size_t>(worker) * job.worker_bytes, job.width);
  const QueryRows rows = QueryRows::of(job, item);
  const float* queries[kAttentionTile];
  for (int row = 0; row < rows.count; row++) queries[row] = job.query(rows.token(row), rows.head(row));
  pack_rows(queries, rows.count, job.width, scratch.packed[0]);
  float maxima[kAttentionTile], totals[kAttentionTile] = {};
  std::fill_n(maxima, kAttentionTile, kMinusInfinity);
  float* output = scratch.sums[0];
  std::memset(output, 0, sizeof(float) * static_cast<size_t>(rows.count * job.padded));

  int64_t keys = 0;
  for (int part = 0; part < 2; part++) keys += rows.extent(part).end - rows.extent(part).begin;
  const bool kept = keys <= kKeptKeys;
  for_key_blocks(rows, [&](const KeyBlock& block) {
    score_block(job, rows, block, scratch, scratch.scores[0] + (kept ? block.slot * kAttentionTile : 0), maxima);
  });
  for_key_blocks(rows, [&](const KeyBlock& block) {
    float* scores = scratch.scores[0] + (kept ? block.slot * kAttentionTile : 0);
    if (!kept) score_block(job, rows, block, scratch, scores, maxima);
    weigh_block(rows, block, scores, maxima, totals);
    copy_values(job, block, rows.key_head, scratch.rows[1]);
    add_seen_rows(scores, scratch.rows[1], block.spans, rows.count, job.padded, output);
  });

  for (int row = 0; row < rows.count; row++) {
    const int64_t token = rows.token(row), head = rows.head(row);
    const bool seeing = rows.begin[0][row] < rows.end[0][row] || rows.begin[1][row] < rows.end[1][row];
    lse[token * job.heads + head] =
        seeing ? static_cast<float>(static_cast<double>(maxima[row]) + std::log(static_cast<double>(totals[row]))) : kMinusInfinity;
    const Vector total = broadcast(seeing ? totals[row] : 1.0f);
    const float* from = output + row * job.padded;
    float* to = y.row<float>(token) + head * job.width;
    int64_t i = 0;
    for (; i + kLanes <= job.width; i += kLanes) store(to + i, div(load(from + i), total));
    if (i < job.width) store_partial(to + i, div(load(from + i), total), static_cast<int>(job.width - i));
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {
constexpr const char* kOp = "self_attention";
}

size_t self_attention_cpu_workspace(const SelfAttentionArgs& args, int threads) {
  return static_cast<size_t>(threads) * SelfAttentionScratch::bytes(args.q.dims[2], kKeptKeys + kAttentionTile);
}

Status self_attention_cpu(const SelfAttentionArgs& args, CpuContext& context) {
  SelfAttentionJob job;
  HEDDLE_TRY(check_self_attention(kOp, args.q, args.k, args.v, args.ranges, args.scale, args.soft_cap, &job));
  HEDDLE_TRY(check_key_ranges(kOp, args.ranges, job.keys));
  HEDDLE_TRY(check_attention_rows(kOp, "y", args.y, job.tokens, job.heads, job.width));
  HEDDLE_TRY(check_attention_log_sums(kOp, "lse", args.lse, job));
  const size_t needed = self_attention_cpu_workspace(args, context.threads());
  HEDDLE_CHECK(context.workspace_bytes >= needed, kOp,
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  if (job.tokens == 0 || job.group == 0) return Status::success();
  job.workspace = context.workspace;
  job.worker_bytes = needed / static_cast<size_t>(context.threads());
  const auto run = HEDDLE_DISPATCH(self_attention_item);
  context.parallel(job.query_items(), [&](int64_t item, int worker) { run(job, args.y, args.lse.as<float>(), item, worker); });
  return Status::success();
}

}  // namespace heddle
#endif  // HEDDLE_ONCE
