// seen_like: one block per row.
#include "generated/self_attention_ops.h"

#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/self_attention/key_ranges.cuh"
#include "kernels/self_attention/self_attention_checks.h"

namespace heddle {
namespace {

constexpr int kThreads = 256;

__global__ void mark_seen(const TokenRanges ranges, int64_t tokens, int64_t rows_per_batch, float* y) {
  const int64_t row = blockIdx.x;
  const KeyRanges seen = read_ranges(ranges, row % rows_per_batch % tokens);
  for (int64_t key = threadIdx.x; key < ranges.keys; key += kThreads)
    y[row * ranges.keys + key] = (key >= seen.begin[0] && key < seen.end[0]) || (key >= seen.begin[1] && key < seen.end[1]) ? 1.0f : 0.0f;
}

}  // namespace

Status seen_like_cuda(const SeenLikeArgs& args, CudaContext& context) {
  HEDDLE_TRY(check_seen_like(args));
  const TokenRanges ranges = {args.ranges.as<const int32_t>(), args.ranges.leading_stride, args.y.dims[2], HEDDLE_RANGE_FAILURE(context, "seen_like")};
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.y.dims[0] * args.y.dims[1])), kThreads};
  return context.launch("seen_like", mark_seen, shape, ranges, args.ranges.dims[0], args.y.dims[1], args.y.as<float>());
}

}  // namespace heddle
