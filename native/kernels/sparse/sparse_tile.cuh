// Products with lists of numbers: a tile of tokens lies in shared memory, and eight lanes share the numbers of one list.
#pragma once
#include "cuda/row_team.cuh"

namespace heddle {

inline constexpr int kSparseThreads = 768;  // what registers allow
inline constexpr int kListTokens = 8;  // also the lanes that share a list, so that each ends with one token's sum
inline constexpr int kTileLists = 32;  // lists of a warp: eight for each group of lanes, one after the other
inline constexpr int kColumnBytes = kListTokens * static_cast<int>(sizeof(float));

// The numbers of list n are those from starts[n] to before starts[n + 1].
template <class Index>
struct Lists {
  const int32_t* starts;
  const Index* index;
  int64_t lists, count;

  struct Range {
    int32_t begin, end;
  };
  // Within the numbers whatever starts holds.
  __device__ __forceinline__ Range of(int64_t n) const {
    if (n >= lists) return {0, 0};
    const auto within = [&](int32_t at) { return at < 0 ? 0 : at > count ? static_cast<int32_t>(count) : at; };
    return {within(starts[n]), within(starts[n + 1])};
  }
};

// How a launch shares out tokens and lists, and how many columns of a token fit into shared memory at a time.
struct SparseCut {
  int64_t tokens;
  int64_t splits;   // blocks that share the lists
  int64_t columns;  // at a time
};

inline int64_t tile_columns(int64_t width, const DeviceLimits& limits) {
  const int64_t most = static_cast<int64_t>(limits.shared_per_block - 1024) / kColumnBytes;
  return width < 1 ? 1 : width < most ? width : most;
}
inline int64_t list_splits(int64_t lists, int64_t other_blocks, const DeviceLimits& limits) {
  const int64_t wanted = ceil_div(limits.multiprocessors, other_blocks < 1 ? 1 : other_blocks), most = ceil_div(lists, kTileLists * 4);
  return wanted < most ? wanted : most < 1 ? 1 : most;
}

// Where four tokens of a column lie, `half` 0 or 1. Exchanging the halves of every other four columns spreads them over all banks.
__device__ __forceinline__ int tile_place(int column, int half) { return column * kListTokens + ((half ^ (column >> 2 & 1)) * 4); }

// Columns `first` to `first` + `columns` - 1 of eight tokens into the tile; tokens beyond the last are zeros.
__device__ __forceinline__ void load_tile(SharedPointer<float> tile, const RowsOf<const float>& x, int64_t first_token, int64_t tokens, int64_t first, int64_t columns) {
  __syncthreads();
  for (int64_t at = threadIdx.x; at < 2 * columns; at += kSparseThreads) {
    const int half = at >= columns ? 1 : 0;
    const int64_t column = at - half * columns;
    Four four;
#pragma unroll
    for (int k = 0; k < 4; k++) {
      const int64_t token = first_token + half * 4 + k;
      four.v[k] = token < tokens ? x.row(token)[first + column] : 0.0f;
    }
    store_pack(tile + tile_place(static_cast<int>(column), half), four);
  }
  __syncthreads();
}

// Calls body(first list) for each warp's share of the block's lists; a group of lanes has lists 8 group to 8 group + 7 from there.
template <class Body>
__device__ __forceinline__ void each_list_tile(int64_t lists, int64_t split, int64_t splits, const Body& body) {
  const int64_t tiles = (lists + kTileLists - 1) / kTileLists, each = (tiles + splits - 1) / splits;
  const int64_t begin = split * each, end = begin + each < tiles ? begin + each : tiles;
  for (int64_t tile = begin + threadIdx.x / kWarp; tile < end; tile += kSparseThreads / kWarp) body(tile * kTileLists);
}

// From eight sums in each of eight lanes to lane l's sum of what all lanes hold at l, always in the same tree.
__device__ __forceinline__ float fold_sums(float (&sum)[kListTokens]) {
#pragma unroll
  for (int distance = kListTokens / 2; distance > 0; distance /= 2) {
    const bool upper = (threadIdx.x & static_cast<unsigned>(distance)) != 0;
#pragma unroll
    for (int i = 0; i < distance; i++) {
      const float sent = upper ? sum[i] : sum[i + distance], kept = upper ? sum[i + distance] : sum[i];
      sum[i] = kept + __shfl_xor_sync(kFullWarp, sent, distance);
    }
  }
  return sum[0];
}

// out[t, n] = (Adds ? out[t, n] : 0) + sum of values[j] * x[t, index[j]] over list n.
template <class Index, bool Adds>
__global__ void __launch_bounds__(kSparseThreads, 1)
    list_product_kernel(RowsOf<const float> x, const float* values, Lists<Index> lists, RowsOf<float> out, SparseCut cut, bool aligned) {
  HEDDLE_DYNAMIC_SHARED(buffer);
  const SharedPointer<float> tile = shared_at<float>(buffer, 0);
  const int64_t first_token = static_cast<int64_t>(blockIdx.x) / cut.splits * kListTokens, split = static_cast<int64_t>(blockIdx.x) % cut.splits;
  const int lane = static_cast<int>(threadIdx.x) % kListTokens, group = static_cast<int>(threadIdx.x) % kWarp / kListTokens;
  for (int64_t first = 0; first == 0 || first < x.rows.columns; first += cut.columns) {
    const int64_t here = x.rows.columns - first < cut.columns ? x.rows.columns - first : cut.columns;
    load_tile(tile, x, first_token, cut.tokens, first, here);
    each_list_tile(lists.lists, split, cut.splits, [&](int64_t first_list) {
      const int64_t own = first_list + group * kListTokens;
      float sums[kListTokens];
#pragma unroll
      for (int which = 0; which < kListTokens; which++) {
        const auto range = lists.of(own + which);
        float sum[kListTokens] = {};
        for (int32_t j = range.begin + lane; j < range.end; j += kListTokens) {
          // Columns of another part of x, and those that x does not have, are left out.
          const auto column = static_cast<uint64_t>(static_cast<int64_t>(lists.index[j]) - first);
          if (column >= static_cast<uint64_t>(here)) continue;
          const float value = values[j];
          const Four low = load_pack<4>(tile + tile_place(static_cast<int>(column), 0)), high = load_pack<4>(tile + tile_place(static_cast<int>(column), 1));
#pragma unroll
          for (int k = 0; k < 4; k++) {
            sum[k] = fmaf(value, low.v[k], sum[k]);
            sum[k + 4] = fmaf(value, high.v[k], sum[k + 4]);
          }
        }
        sums[which] = fold_sums(sum);
      }
      const int64_t token = first_token + lane;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int64_t n = own + half * 4;
        if (token < cut.tokens && n < lists.lists) {
          const int count = lists.lists - n < 4 ? static_cast<int>(lists.lists - n) : 4;
          float* to = out.row(token) + n;
          Four four = {{0, 0, 0, 0}};
          if (Adds || first > 0) four = load_four(to, count, aligned);
#pragma unroll
          for (int k = 0; k < 4; k++) four.v[k] += sums[half * 4 + k];
          store_four(to, four, count, aligned);
        }
      }
    });
  }
}

template <class Index, bool Adds>
Status list_product(const char* op, const TensorView& x, const float* values, const Lists<Index>& lists, const TensorView& out, CudaContext& context) {
  const int64_t tokens = out.dims[0], tiles = ceil_div(tokens, kListTokens);
  if (lists.lists == 0) return Status::success();
  const SparseCut cut = {tokens, list_splits(lists.lists, tiles, context.limits), tile_columns(x.dims[1], context.limits)};
  const LaunchShape shape = {dim3(static_cast<unsigned>(tiles * cut.splits)), kSparseThreads, static_cast<size_t>(cut.columns) * kColumnBytes};
  return context.launch(op, list_product_kernel<Index, Adds>, shape, device_rows<const float>(x), values, lists, device_rows<float>(out), cut, rows_aligned(out));
}

}  // namespace heddle
