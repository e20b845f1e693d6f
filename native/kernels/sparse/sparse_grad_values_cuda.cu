// The gradient of a sparse matrix's numbers: dense products at their places alone. Tokens are cut into groups whose sums are made
// beside each other and added in rising order; how they are cut depends on the number of tokens alone.
#include "cuda/cuda_context.h"
#include "generated/sparse_ops.h"
#include "kernels/sparse/sparse_places.cuh"

namespace heddle {

namespace {

constexpr int64_t kMostGroups = 16;
constexpr int64_t kLeastTokens = 64;  // of a group

struct TokenGroups {
  int64_t groups, tokens;  // tokens: of each, a multiple of kListTokens
};

TokenGroups token_groups(int64_t tokens) {
  const int64_t each = ceil_div(tokens, kLeastTokens * kMostGroups) * kLeastTokens;
  return {each == 0 ? 0 : ceil_div(tokens, each), each};
}

__global__ void __launch_bounds__(kSparseThreads, 1) sampled_product_kernel(RowsOf<const float> x, RowsOf<const float> dy, Lists<uint16_t> places,
                                                                         TokenGroups groups, SparseCut cut, bool aligned, float* sums) {
  HEDDLE_DYNAMIC_SHARED(buffer);
  const SharedPointer<float> tile = shared_at<float>(buffer, 0);
  const int64_t group_index = static_cast<int64_t>(blockIdx.x) / cut.splits, split = static_cast<int64_t>(blockIdx.x) % cut.splits;
  const int64_t begin = group_index * groups.tokens, end = begin + groups.tokens < cut.tokens ? begin + groups.tokens : cut.tokens;
  const int lane = static_cast<int>(threadIdx.x) % kListTokens, group = static_cast<int>(threadIdx.x) % kWarp / kListTokens;
  float* out = sums + group_index * places.count;
  for (int64_t first_token = begin; first_token < end; first_token += kListTokens) {
    for (int64_t first = 0; first < x.rows.columns; first += cut.columns) {
      const int64_t here = x.rows.columns - first < cut.columns ? x.rows.columns - first : cut.columns;
      load_tile(tile, x, first_token, end, first, here);
      each_list_tile(places.lists, split, cut.splits, [&](int64_t first_list) {
        const int64_t own = first_list + group * kListTokens, token = first_token + lane;
        // A lane reads the upstream of one token and eight rows.
        float upstream[kListTokens] = {};
        if (token < end) {
#pragma unroll
          for (int half = 0; half < 2; half++) {
            const int64_t n = own + half * 4;
            if (n >= places.lists) continue;
            const Four four = load_four(dy.row(token) + n, places.lists - n < 4 ? static_cast<int>(places.lists - n) : 4, aligned);
#pragma unroll
            for (int k = 0; k < 4; k++) upstream[half * 4 + k] = four.v[k];
          }
        }
#pragma unroll
        for (int which = 0; which < kListTokens; which++) {
          float of_row[kListTokens];
#pragma unroll
          for (int k = 0; k < kListTokens; k++) of_row[k] = __shfl_sync(kFullWarp, upstream[which], k, kListTokens);
          const auto range = places.of(own + which);
          for (int32_t j = range.begin + lane; j < range.end; j += kListTokens) {
            const auto column = static_cast<uint64_t>(static_cast<int64_t>(places.index[j]) - first);
            if (column >= static_cast<uint64_t>(here)) continue;
            float sum = first_token == begin ? 0.0f : out[j];
            const Four low = load_pack<4>(tile + tile_place(static_cast<int>(column), 0)), high = load_pack<4>(tile + tile_place(static_cast<int>(column), 1));
#pragma unroll
            for (int k = 0; k < 4; k++) sum = fmaf(of_row[k], low.v[k], sum);
#pragma unroll
            for (int k = 0; k < 4; k++) sum = fmaf(of_row[k + 4], high.v[k], sum);
            out[j] = sum;
          }
        }
      });
    }
  }
}

constexpr unsigned kAddThreads = 256;

__global__ void __launch_bounds__(kAddThreads) add_groups_kernel(const float* sums, int64_t groups, int64_t count, float* out) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * kAddThreads + threadIdx.x;
  if (j >= count) return;
  float sum = sums[j];
  for (int64_t group = 1; group < groups; group++) sum += sums[group * count + j];
  out[j] = sum;
}

}  // namespace

size_t sparse_linear_grad_values_cuda_workspace(const SparseLinearGradValuesArgs& args, const DeviceLimits&) {
  const int64_t groups = ceil_div(args.x.dims[0], kLeastTokens);
  return static_cast<size_t>(groups < kMostGroups ? groups : kMostGroups) * static_cast<size_t>(args.columns.dims[0] / 2) * sizeof(float);
}

Status sparse_linear_grad_values_cuda(const SparseLinearGradValuesArgs& args, CudaContext& context) {
  const char* op = "sparse_linear_grad_values";
  const TensorView &x = args.x, &dy = args.dy;
  HEDDLE_TRY(check_matrix(op, "x", x));
  HEDDLE_TRY(check_matrix(op, "dy", dy));
  HEDDLE_TRY(check_same_tokens(op, "dy", x, dy));
  HEDDLE_TRY(check_place_operands(op, args.starts, args.columns, dy.dims[1]));
  const Lists<uint16_t> places = places_of(args.starts, args.columns);
  HEDDLE_TRY(check_values(op, "dvalues", args.dvalues, places.count));
  HEDDLE_TRY(look_at_places(op, places, x.dims[1], HEDDLE_PLACE_REFUSALS(context, "sparse_linear_grad_values"), {}, context));
  float* out = args.dvalues.as<float>();
  const TokenGroups groups = token_groups(x.dims[0]);
  if (groups.groups == 0) return context.zero(op, out, static_cast<size_t>(places.count) * sizeof(float));
  const SparseCut cut = {x.dims[0], list_splits(places.lists, groups.groups, context.limits), tile_columns(x.dims[1], context.limits)};
  const LaunchShape shape = {dim3(static_cast<unsigned>(groups.groups * cut.splits)), kSparseThreads, static_cast<size_t>(cut.columns) * kColumnBytes};
  float* sums = groups.groups == 1 ? out : reinterpret_cast<float*>(context.workspace);
  HEDDLE_TRY(context.launch(op, sampled_product_kernel, shape, device_rows<const float>(x), device_rows<const float>(dy), places, groups, cut, rows_aligned(dy), sums));
  if (groups.groups == 1) return Status::success();
  const LaunchShape adding = {dim3(static_cast<unsigned>(ceil_div(places.count, kAddThreads))), kAddThreads};
  return context.launch(op, add_groups_kernel, adding, sums, groups.groups, places.count, out);
}

}  // namespace heddle
