// What self_attention and its gradient verify before they follow the ranges; the ranges themselves are data.
#pragma once
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/status.h"
#include "generated/self_attention_ops.h"
#include "kernels/self_attention/self_attention_job.h"

namespace heddle {

// `name` is f32 [rows, heads, width].
inline Status check_attention_rows(const char* op, const char* name, const TensorView& tensor, int64_t rows, int64_t heads, int64_t width) {
  HEDDLE_CHECK(tensor.rank == 3 && tensor.dtype == DType::kF32 && tensor.dims[0] == rows && tensor.dims[1] == heads && tensor.dims[2] == width,
               op,
               std::string(name) + " is " + describe(tensor) + ": expected f32 [" + std::to_string(rows) + ", " + std::to_string(heads) + ", " +
                   std::to_string(width) + "]");
  HEDDLE_CHECK(rows <= 1 || tensor.leading_stride >= heads * width, op,
               "rows of " + std::string(name) + " are " + std::to_string(tensor.leading_stride) + " elements apart: expected at least " +
                   std::to_string(heads * width));
  return Status::success();
}

// Both ranges of every token lie among the keys and do not meet.
inline Status check_key_ranges(const char* op, const TensorView& ranges, int64_t keys) {
  for (int64_t token = 0; token < ranges.dims[0]; token++) {
    const int32_t* range = ranges.row<const int32_t>(token);
    const bool inside = range[0] >= 0 && range[0] <= range[1] && range[1] <= keys && range[2] >= 0 && range[2] <= range[3] &&
                        range[3] <= keys;
    const bool apart = range[0] == range[1] || range[2] == range[3] || range[1] <= range[2] || range[3] <= range[0];
    if (!inside || !apart)
      return fail(StatusCode::kInvalidArgument,
                  std::string("[") + op + "] token " + std::to_string(token) + " attends keys [" + std::to_string(range[0]) + ", " +
                      std::to_string(range[1]) + ") and [" + std::to_string(range[2]) + ", " + std::to_string(range[3]) +
                      "): expected two ranges of " + std::to_string(keys) + " keys that do not meet");
  }
  return Status::success();
}

// Fills in everything but the workspace.
inline Status check_self_attention(const char* op, const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& ranges,
                                   float scale, float soft_cap, SelfAttentionJob* job) {
  constexpr int64_t kWidest = int64_t{1} << 20;  // keeps the sizes of scratch memory far from overflow
  HEDDLE_CHECK(q.rank == 3 && q.dtype == DType::kF32, op, "q is " + describe(q) + ": expected f32 [tokens, heads, width]");
  HEDDLE_CHECK(k.rank == 3 && k.dtype == DType::kF32, op, "k is " + describe(k) + ": expected f32 [keys, key heads, width]");
  HEDDLE_CHECK(q.dims[2] >= 1 && q.dims[2] <= kWidest && k.dims[1] >= 1 && q.dims[1] % k.dims[1] == 0, op,
               "q is " + describe(q) + ", k is " + describe(k) + ": expected a width of 1 to 2^20 and query heads a multiple of key heads");
  HEDDLE_TRY(check_attention_rows(op, "q", q, q.dims[0], q.dims[1], q.dims[2]));
  HEDDLE_TRY(check_attention_rows(op, "k", k, k.dims[0], k.dims[1], q.dims[2]));
  HEDDLE_TRY(check_attention_rows(op, "v", v, k.dims[0], k.dims[1], q.dims[2]));
  HEDDLE_CHECK(ranges.rank == 2 && ranges.dtype == DType::kI32 && ranges.dims[0] == q.dims[0] && ranges.dims[1] == 4, op,
               "ranges is " + describe(ranges) + ": expected i32 [" + std::to_string(q.dims[0]) + ", 4]");
  *job = {};
  job->q = q;
  job->k = k;
  job->v = v;
  job->ranges = ranges;
  job->scale = scale;
  job->soft_cap = soft_cap;
  job->tokens = q.dims[0];
  job->heads = q.dims[1];
  job->keys = k.dims[0];
  job->key_heads = k.dims[1];
  job->width = q.dims[2];
  job->padded = attention_padded(job->width);
  job->group = job->heads / job->key_heads;
  job->tile_heads = std::clamp<int64_t>(job->group, 1, kAttentionTile);
  job->head_tiles = (job->group + job->tile_heads - 1) / job->tile_heads;
  job->tile_tokens = kAttentionTile / job->tile_heads;
  return Status::success();
}

// `name` is dense f32 [tokens, heads].
inline Status check_attention_log_sums(const char* op, const char* name, const TensorView& lse, const SelfAttentionJob& job) {
  HEDDLE_CHECK(lse.rank == 2 && lse.dtype == DType::kF32 && lse.dense() && lse.dims[0] == job.tokens && lse.dims[1] == job.heads, op,
               std::string(name) + " is " + describe(lse) + ": expected f32 [" + std::to_string(job.tokens) + ", " + std::to_string(job.heads) + "] without gaps");
  return Status::success();
}

inline Status check_self_attention_grad(const SelfAttentionGradArgs& args, SelfAttentionJob* job) {
  const char* op = "self_attention_grad";
  HEDDLE_TRY(check_self_attention(op, args.q, args.k, args.v, args.ranges, args.scale, args.soft_cap, job));
  HEDDLE_TRY(check_attention_log_sums(op, "lse", args.lse, *job));
  if (args.dlse.present()) HEDDLE_TRY(check_attention_log_sums(op, "dlse", args.dlse, *job));
  HEDDLE_TRY(check_attention_rows(op, "y", args.y, job->tokens, job->heads, job->width));
  HEDDLE_TRY(check_attention_rows(op, "dy", args.dy, job->tokens, job->heads, job->width));
  HEDDLE_TRY(check_attention_rows(op, "dq", args.dq, job->tokens, job->heads, job->width));
  HEDDLE_TRY(check_attention_rows(op, "dk", args.dk, job->keys, job->key_heads, job->width));
  HEDDLE_TRY(check_attention_rows(op, "dv", args.dv, job->keys, job->key_heads, job->width));
  return Status::success();
}

inline Status check_seen_like(const SeenLikeArgs& args) {
  const TensorView& y = args.y;
  const TensorView& ranges = args.ranges;
  HEDDLE_CHECK(y.rank == 3 && y.dtype == DType::kF32 && y.dense(), "seen_like", "y is " + describe(y) + ": expected f32 [batch, rows, keys] without gaps");
  HEDDLE_CHECK(ranges.rank == 2 && ranges.dtype == DType::kI32 && ranges.dims[1] == 4, "seen_like", "ranges is " + describe(ranges) + ": expected i32 [tokens, 4]");
  const int64_t tokens = ranges.dims[0];
  HEDDLE_CHECK(tokens == 0 ? y.dims[1] == 0 : y.dims[1] % tokens == 0, "seen_like",
               "y is " + describe(y) + ": expected a multiple of the " + std::to_string(tokens) + " tokens as its rows");
  return Status::success();
}

}  // namespace heddle
