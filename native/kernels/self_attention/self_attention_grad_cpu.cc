// self_attention_grad: probabilities are computed again from the scores and lse, block by block.
//
// Tiles of query rows sum dq over the keys they see; blocks of keys sum dk and dv over the query rows that see them, in the
// order of the tokens. Each element is one chain, so nothing depends on where tiles and blocks begin or on other documents.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/self_attention_ops.h"
#include "kernels/self_attention/self_attention_checks.h"

#ifndef HEDDLE_SELF_ATTENTION_GRAD_JOB
#define HEDDLE_SELF_ATTENTION_GRAD_JOB
namespace heddle {

struct SelfAttentionGradJob {
  SelfAttentionJob forward;
  const SelfAttentionGradArgs* args;
  float* delta;  // [tokens, heads]: dy . y - dlse

  const float* dy(int64_t token, int64_t head) const { return args->dy.row<const float>(token) + head * forward.width; }
  const float* y(int64_t token, int64_t head) const { return args->y.row<const float>(token) + head * forward.width; }
  float lse(int64_t token, int64_t head) const { return args->lse.as<const float>()[token * forward.heads + head]; }
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/self_attention/self_attention_grad_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
#include "cpu/transpose.h"
#include "kernels/self_attention/self_attention_tiles.h"

namespace heddle::HEDDLE_TARGET {

void self_attention_delta(const SelfAttentionGradJob& job, int64_t token);
void self_attention_delta(const SelfAttentionGradJob& job, int64_t token) {
  const int64_t width = job.forward.width;
  for (int64_t head = 0; head < job.forward.heads; head++) {
    const float* y = job.y(token, head);
    const float* dy = job.dy(token, head);
    Vector sum = zero();
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) sum = fma(load(y + i), load(dy + i), sum);
    if (i < width) {
      const int rest = static_cast<int>(width - i);
      sum = fma(load_partial(y + i, rest), load_partial(dy + i, rest), sum);
    }
    const int64_t at = token * job.forward.heads + head;
    job.delta[at] = reduce_add(sum) - (job.args->dlse.present() ? job.args->dlse.as<const float>()[at] : 0.0f);
  }
}

// The weight p of a score, and what the loss changes with scale q . k.
struct ScoreGradient {
  Vector weight, score;
};
HEDDLE_INLINE ScoreGradient score_gradient(const SelfAttentionJob& job, Vector product, Vector value_product, Vector lse, Vector delta) {
  const Vector score = cap_scores(product, job.scale, job.soft_cap);
  const Vector weight = exp(sub(score, lse));
  Vector gradient = mul(mul(weight, sub(value_product, delta)), broadcast(job.scale));
  if (job.soft_cap > 0) {
    const Vector part = mul(score, broadcast(1.0f / job.soft_cap));
    gradient = mul(gradient, sub(broadcast(1.0f), mul(part, part)));
  }
  return {weight, gradient};
}

HEDDLE_INLINE void write_row(const float* from, int64_t width, float* to) { std::memcpy(to, from, sizeof(float) * static_cast<size_t>(width)); }

// dq of one tile of query rows.
inline void query_gradient(const SelfAttentionGradJob& grad, int64_t item, const SelfAttentionScratch& scratch) {
  const SelfAttentionJob& job = grad.forward;
  const QueryRows rows = QueryRows::of(job, item);
  const float* queries[kAttentionTile];
  const float* dys[kAttentionTile];
  float lse[kAttentionTile] = {}, delta[kAttentionTile] = {};
  for (int row = 0; row < rows.count; row++) {
    const int64_t token = rows.token(row), head = rows.head(row);
    queries[row] = job.query(token, head);
    dys[row] = grad.dy(token, head);
    lse[row] = grad.lse(token, head);
    delta[row] = grad.delta[token * job.heads + head];
  }
  pack_rows(queries, rows.count, job.width, scratch.packed[0]);
  pack_rows(dys, rows.count, job.width, scratch.packed[1]);
  std::memset(scratch.sums[0], 0, sizeof(float) * static_cast<size_t>(rows.count * job.padded));
  for_key_blocks(rows, [&](const KeyBlock& block) {
    copy_keys(job, block, rows.key_head, scratch.rows[0]);
    copy_values(job, block, rows.key_head, scratch.rows[1]);
    for (int i = 0; i < 2; i++) dot_block(job, block, rows, scratch.packed[i], scratch.rows[i], scratch.scores[i]);
    for (int lane = 0; lane < rows.count; lane += kLanes) {
      bool whole;
      const LaneSpan seen = block.of_lanes(lane, kLanes, rows.count, &whole);
      for (int key = seen.begin; key < seen.end; key++) {
        const int64_t at = key * kAttentionTile + lane;
        const ScoreGradient gradient =
            score_gradient(job, load(scratch.scores[0] + at), load(scratch.scores[1] + at), load(lse + lane), load(delta + lane));
        store(scratch.scores[0] + at, gradient.score);
      }
    }
    add_seen_rows(scratch.scores[0], scratch.rows[0], block.spans, rows.count, job.padded, scratch.sums[0]);
  });
  for (int row = 0; row < rows.count; row++)
    write_row(scratch.sums[0] + row * job.padded, job.width, grad.args->dq.row<float>(rows.token(row)) + rows.head(row) * job.width);
}

// Query rows beside a block of keys, copied to scratch memory; a row that sees the block in both its ranges is there twice.
struct SeeingRows {
  int count = 0;
  float lse[kAttentionTile], delta[kAttentionTile];
  LaneSpan spans[kAttentionTile];
};

inline void add_seeing_block(const SelfAttentionJob& job, const SeeingRows& rows, int keys, const SelfAttentionScratch& scratch) {
  for (int lane = 0; lane < keys; lane += kDotLanes)
    for (int first = 0; first < rows.count;) {
      // Runs of rows that see one of these keys.
      const auto sees = [&](int row) { return rows.spans[row].begin < lane + kDotLanes && rows.spans[row].end > lane; };
      int end = first;
      while (end < rows.count && sees(end)) end++;
      for (int i = 0; i < 2; i++) dot_rows(job, scratch.packed[i], scratch.rows[i], first, end, lane, scratch.scores[i]);
      first = end + 1;
    }
  for (int row = 0; row < rows.count; row++) {
    const Vector lse = broadcast(rows.lse[row]), delta = broadcast(rows.delta[row]);
    for (int lane = rows.spans[row].begin / kLanes * kLanes; lane < rows.spans[row].end; lane += kLanes) {
      const int64_t at = row * kAttentionTile + lane;
      const ScoreGradient gradient = score_gradient(job, load(scratch.scores[0] + at), load(scratch.scores[1] + at), lse, delta);
      store(scratch.scores[0] + at, gradient.score);
      store(scratch.scores[1] + at, gradient.weight);
    }
  }
  for (int i = 0; i < 2; i++) add_seeing_rows(scratch.scores[i], scratch.rows[i], rows.spans, rows.count, keys, job.padded, scratch.sums[i]);
}

// dk and dv of one block of keys.
inline void key_gradient(const SelfAttentionGradJob& grad, int64_t item, const SelfAttentionScratch& scratch) {
  const SelfAttentionJob& job = grad.forward;
  const int64_t key_head = item / job.key_blocks(), start = item % job.key_blocks() * kAttentionTile;
  const int keys = static_cast<int>(std::min<int64_t>(kAttentionTile, job.keys - start));
  const float* rows[kAttentionTile];
  for (int key = 0; key < keys; key++) rows[key] = job.key(start + key, key_head);
  pack_rows(rows, keys, job.width, scratch.packed[0]);
  for (int key = 0; key < keys; key++) rows[key] = job.value(start + key, key_head);
  pack_rows(rows, keys, job.width, scratch.packed[1]);
  for (float* sums : scratch.sums) std::memset(sums, 0, sizeof(float) * static_cast<size_t>(keys * job.padded));

  SeeingRows seeing;
  for (int64_t token = 0; token < job.tokens; token++)
    for (int part = 0; part < 2; part++) {
      const int32_t* range = job.range(token) + 2 * part;
      const LaneSpan span = LaneSpan::of(range[0], range[1], start, keys);
      if (span.empty()) continue;
      for (int64_t head = key_head * job.group; head < (key_head + 1) * job.group; head++) {
        const int row = seeing.count++;
        copy_row(job.query(token, head), job.width, job.padded, scratch.rows[0] + row * job.padded);
        copy_row(grad.dy(token, head), job.width, job.padded, scratch.rows[1] + row * job.padded);
        seeing.lse[row] = grad.lse(token, head);
        seeing.delta[row] = grad.delta[token * job.heads + head];
        seeing.spans[row] = span;
        if (seeing.count < kAttentionTile) continue;
        add_seeing_block(job, seeing, keys, scratch);
        seeing.count = 0;
      }
    }
  if (seeing.count > 0) add_seeing_block(job, seeing, keys, scratch);
  for (int key = 0; key < keys; key++) {
    write_row(scratch.sums[0] + key * job.padded, job.width, grad.args->dk.row<float>(start + key) + key_head * job.width);
    write_row(scratch.sums[1] + key * job.padded, job.width, grad.args->dv.row<float>(start + key) + key_head * job.width);
  }
}

void self_attention_grad_item(const SelfAttentionGradJob& job, int64_t item, int worker);
void self_attention_grad_item(const SelfAttentionGradJob& job, int64_t item, int worker) {
  const SelfAttentionScratch scratch(job.forward.workspace + static_cast<size_t>(worker) * job.forward.worker_bytes, job.forward.width);
  const int64_t keys = job.forward.key_items();
  if (item < keys)
    key_gradient(job, item, scratch);
  else
    query_gradient(job, item - keys, scratch);
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "self_attention_grad";

size_t delta_bytes(const SelfAttentionGradArgs& args) {
  return (sizeof(float) * static_cast<size_t>(args.q.dims[0] * args.q.dims[1]) + 63) / 64 * 64;
}
size_t worker_bytes(const SelfAttentionGradArgs& args) { return SelfAttentionScratch::bytes(args.q.dims[2], 2 * kAttentionTile); }

}  // namespace

size_t self_attention_grad_cpu_workspace(const SelfAttentionGradArgs& args, int threads) {
  return delta_bytes(args) + static_cast<size_t>(threads) * worker_bytes(args);
}

Status self_attention_grad_cpu(const SelfAttentionGradArgs& args, CpuContext& context) {
  SelfAttentionGradJob grad;
  SelfAttentionJob& job = grad.forward;
  HEDDLE_TRY(check_self_attention_grad(args, &job));
  HEDDLE_TRY(check_key_ranges(kOp, args.ranges, job.keys));
  const size_t needed = self_attention_grad_cpu_workspace(args, context.threads());
  HEDDLE_CHECK(context.workspace_bytes >= needed, kOp,
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected at least " + std::to_string(needed));
  grad.args = &args;
  grad.delta = reinterpret_cast<float*>(context.workspace);
  job.workspace = context.workspace + delta_bytes(args);
  job.worker_bytes = worker_bytes(args);
  const auto delta = HEDDLE_DISPATCH(self_attention_delta);
  constexpr int64_t kDeltaTokens = 16;
  context.parallel((job.tokens + kDeltaTokens - 1) / kDeltaTokens, [&](int64_t chunk, int) {
    for (int64_t token = chunk * kDeltaTokens; token < std::min(job.tokens, (chunk + 1) * kDeltaTokens); token++) delta(grad, token);
  });
  const auto run = HEDDLE_DISPATCH(self_attention_grad_item);
  const int64_t queries = job.group == 0 ? 0 : job.query_items();
  context.parallel(job.key_items() + queries, [&](int64_t item, int worker) { run(grad, item, worker); });
  return Status::success();
}

}  // namespace heddle
#endif  // HEDDLE_ONCE
