// attention: tokens alone in their request (decode) split their keys among blocks; neighbouring tokens of a request (prefill) walk
// them together by tiles. Lengths lie on the device, so both kernels are launched for every token and each token's blocks of the
// wrong kind leave at once.
#include <algorithm>
#include <string>

#include "generated/attention_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/attention/attention_alone.cuh"
#include "kernels/attention/attention_tile.cuh"

namespace heddle {
namespace {

constexpr const char* kOp = "attention";
constexpr int kBlocksPerMultiprocessor = 4;  // enough loads under way to fill the memory's pipe

// Tokens whose keys may be split: with more, there are blocks enough.
int64_t split_tokens(const AttentionArgs& args, const DeviceLimits& limits) {
  const int64_t enough = int64_t{limits.multiprocessors} * kBlocksPerMultiprocessor;
  return std::min(args.q.dims[0], enough / std::max<int64_t>(args.key_heads, 1));
}
int64_t chunk_room(const AttentionArgs& args) {
  return std::min<int64_t>(kMostChunks, ceil_div(args.block_table.dims[1], kLeastChunkBlocks));
}
size_t partial_bytes(const AttentionArgs& args, int64_t tokens, int64_t floats) {
  return (static_cast<size_t>(tokens * args.q.dims[1] * chunk_room(args) * floats) * sizeof(float) + 255) / 256 * 256;
}

bool are_aligned(const AttentionArgs& args, const AttentionShape& shape, int64_t element_bytes) {
  return is_aligned16(shape.layer.data) && args.page_bytes % 16 == 0 && shape.width * element_bytes % 16 == 0;
}

template <class Stored>
Status attend_alone_tokens(const AttentionShape& shape, CudaContext& context) {
  const int64_t heads_per_block = shape.group == 1 ? 1 : (shape.group <= 4 ? 4 : 8);
  const int64_t parts = ceil_div(shape.group, heads_per_block);
  const LaunchShape launch = {dim3(static_cast<unsigned>(shape.tokens * shape.key_heads * parts * shape.splits)), kAloneThreads};
  if (shape.width <= 64) {
    if (heads_per_block == 1) return context.launch(kOp, attend_alone<Stored, 64, 1>, launch, shape);
    if (heads_per_block == 4) return context.launch(kOp, attend_alone<Stored, 64, 4>, launch, shape);
    return context.launch(kOp, attend_alone<Stored, 64, 8>, launch, shape);
  }
  if (heads_per_block == 1) return context.launch(kOp, attend_alone<Stored, 128, 1>, launch, shape);
  if (heads_per_block == 4) return context.launch(kOp, attend_alone<Stored, 128, 4>, launch, shape);
  return context.launch(kOp, attend_alone<Stored, 128, 8>, launch, shape);
}

template <class Stored>
Status attend(const AttentionShape& shape, CudaContext& context) {
  if (shape.alone_apart) HEDDLE_TRY(attend_alone_tokens<Stored>(shape, context));
  const int64_t blocks = shape.tokens * shape.key_heads * shape.head_tiles * shape.output_groups;
  const size_t shared = sizeof(float) * kAttentionTileFloats * static_cast<size_t>((shape.slices <= 2 ? shape.slices : 1) + 2);
  const LaunchShape launch = {dim3(static_cast<unsigned>(blocks)), kAttentionThreads, shared};
  return context.launch(kOp, shape.slices == 1 ? attend_tile<Stored, 1> : attend_tile<Stored, 2>, launch, shape);
}

}  // namespace

size_t attention_cuda_workspace(const AttentionArgs& args, const DeviceLimits& limits) {
  const int64_t tokens = split_tokens(args, limits);
  return partial_bytes(args, tokens, args.q.dims[2]) + partial_bytes(args, tokens, 2);
}

Status attention_cuda(const AttentionArgs& args, CudaContext& context) {
  AttentionShape shape = {};
  HEDDLE_TRY(check_attention(args, &shape.layer));
  const size_t needed = attention_cuda_workspace(args, context.limits);
  HEDDLE_CHECK(context.workspace_bytes >= needed, kOp,
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected " + std::to_string(needed));
  shape.q = args.q.as<const float>();
  shape.y = args.y.as<float>();
  shape.q_stride = args.q.leading_stride;
  shape.y_stride = args.y.leading_stride;
  shape.tokens = args.q.dims[0];
  shape.positions = args.positions.as<const int32_t>();
  shape.request = args.request.as<const int32_t>();
  shape.failures = HEDDLE_PLACE_FAILURES(context, "attention");
  shape.heads = static_cast<int>(args.q.dims[1]);
  shape.key_heads = args.key_heads;
  shape.width = static_cast<int>(args.q.dims[2]);
  shape.group = shape.heads / shape.key_heads;
  shape.window = args.window;
  if (shape.tokens == 0 || shape.group == 0) return Status::success();
  shape.tile_heads = std::min(shape.group, kTile);
  shape.head_tiles = static_cast<int>(ceil_div(shape.group, shape.tile_heads));
  shape.tile_tokens = kTile / shape.tile_heads;
  shape.slices = static_cast<int>(ceil_div(shape.width, kSlice));
  shape.output_groups = static_cast<int>(ceil_div(shape.slices, 2));
  shape.scale = args.scale;
  shape.soft_cap = args.soft_cap;
  const bool narrow = args.cache_type != AttentionCacheType::kF32;
  shape.cache_vectors = are_aligned(args, shape, narrow ? 2 : 4);
  shape.row_vectors = shape.width % 4 == 0 && is_aligned16(shape.q, shape.q_stride) && is_aligned16(shape.y, shape.y_stride);
  shape.alone_apart = shape.cache_vectors && shape.width <= 128;

  const int64_t splittable = split_tokens(args, context.limits);
  shape.chunks = static_cast<int>(chunk_room(args));
  const int64_t blocks = int64_t{context.limits.multiprocessors} * kBlocksPerMultiprocessor;
  const int64_t pairs = shape.tokens * shape.key_heads;
  shape.splits = shape.tokens > splittable ? 1 : static_cast<int>(std::clamp<int64_t>(ceil_div(blocks, pairs), 1, std::max(shape.chunks, 1)));
  shape.partial = reinterpret_cast<float*>(context.workspace);
  shape.partial_sums = reinterpret_cast<float*>(context.workspace + partial_bytes(args, splittable, shape.width));

  if (args.cache_type == AttentionCacheType::kF32) return attend<float>(shape, context);
  if (args.cache_type == AttentionCacheType::kF16) return attend<F16>(shape, context);
  return attend<BF16>(shape, context);
}

}  // namespace heddle
