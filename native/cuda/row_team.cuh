// Rows of f32 shared out over threads: who works on which row, and each thread's elements of it, four side by side.
//
// A row of up to kNarrowRow elements belongs to eight lanes, one of up to kWarpRow to a warp, one of up to 16 elements per thread to a
// block; all keep it in registers, so that memory is read once. How a row is shared out depends on its width alone: its sums have the same bits whatever its neighbours.
#pragma once
#include "core/rows.h"
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"

namespace heddle {

inline constexpr int kRowFours = 4;  // fours of one row that a thread keeps
inline constexpr int kNarrowLanes = 8;
inline constexpr int64_t kNarrowRow = kNarrowLanes * 4 * kRowFours;  // 128
inline constexpr int64_t kWarpRow = kWarp * 4 * kRowFours;           // 512
inline constexpr int kTeamsThreads = 256;                            // of a block that has many rows

using Four = Pack<float, 4>;

// The first `count` (1 to 4) of four elements; the others are 0.
__device__ __forceinline__ Four load_four(const float* from, int count, bool aligned) {
  if (aligned && count == 4) return load_pack<4>(from);
  Four four = {{0, 0, 0, 0}};
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (k < count) four.v[k] = from[k];
  return four;
}
__device__ __forceinline__ void store_four(float* to, const Four& four, int count, bool aligned) {
  if (aligned && count == 4) return store_pack<4>(to, four);
#pragma unroll
  for (int k = 0; k < 4; k++)
    if (k < count) to[k] = four.v[k];
}

// A tensor as a kernel walks it.
template <class T>
struct RowsOf {
  T* data;
  Rows rows;

  __device__ __forceinline__ T* row(int64_t index) const { return data + rows.offset(index); }
};
// The rows of a tensor without gaps are as good as those of a matrix, whose places take no division.
inline Rows folded_rows(const TensorView& tensor) {
  const Rows rows = rows_of(tensor);
  return tensor.dense() ? Rows{rows.count, rows.columns, 1, rows.columns} : rows;
}
template <class T>
RowsOf<T> device_rows(const TensorView& tensor) {
  return {tensor.as<T>(), folded_rows(tensor)};
}
// Whether every row begins at a multiple of 16 bytes.
inline bool rows_aligned(const TensorView& tensor) {
  const Rows rows = folded_rows(tensor);
  return is_aligned16(tensor.as<float>(), rows.count > 1 ? rows.leading_stride : 0) && (rows.per_leading == 1 || rows.columns % 4 == 0);
}

enum class RowMode { kNarrow, kWarp, kBlock, kStream };

// kStream: rows of any width, read from memory again where a kernel looks at them again. Kernels that keep several operands of a
// row have fewer threads, so that registers suffice.
template <RowMode Mode, int MostThreads>
struct RowTeam {
  static constexpr bool kIsBlock = Mode == RowMode::kBlock || Mode == RowMode::kStream;
  static constexpr bool kHeld = Mode != RowMode::kStream;
  static constexpr int kThreads = kIsBlock ? MostThreads : kTeamsThreads;  // of a block, at most
  static constexpr int kLanes = Mode == RowMode::kNarrow ? kNarrowLanes : kWarp;

  // A team leaves the kernel as one where this is not below the number of rows.
  __device__ __forceinline__ static int64_t row() {
    return kIsBlock ? static_cast<int64_t>(blockIdx.x) : static_cast<int64_t>(blockIdx.x) * (kTeamsThreads / kLanes) + threadIdx.x / kLanes;
  }
  __device__ __forceinline__ static int index() { return static_cast<int>(kIsBlock ? threadIdx.x : threadIdx.x % kLanes); }
  __device__ __forceinline__ static int size() { return kIsBlock ? static_cast<int>(blockDim.x) : kLanes; }

  // The team's lanes of their warp: teams of one warp may go different ways.
  __device__ __forceinline__ static unsigned mask() {
    return Mode == RowMode::kNarrow ? 0xffu << (threadIdx.x % kWarp / kNarrowLanes * kNarrowLanes) : kFullWarp;
  }
  // What the team's threads did to memory before is seen by all of them after.
  __device__ __forceinline__ static void sync() {
    if constexpr (kIsBlock) {
      __syncthreads();
    } else {
      __syncwarp(mask());
    }
  }

  template <class T, class Join>
  __device__ __forceinline__ static T over_lanes(T value, const Join& join) {
#pragma unroll
    for (int distance = kLanes / 2; distance > 0; distance /= 2) value = join(value, __shfl_xor_sync(mask(), value, distance));
    return value;
  }
  template <class T>
  __device__ __forceinline__ static T sum(T value, SharedPointer<T> scratch) {
    if constexpr (kIsBlock) {
      return block_sum(value, scratch);
    } else {
      return over_lanes(value, [](T a, T b) { return a + b; });
    }
  }
  template <class T>
  __device__ __forceinline__ static T max(T value, SharedPointer<T> scratch) {
    if constexpr (kIsBlock) {
      return block_max(value, scratch);
    } else {
      return over_lanes(value, [](T a, T b) { return b > a ? b : a; });
    }
  }
};

// Calls step(slot, i, count) for each four of the calling thread: elements i to i + count - 1 of the row, slot < kRowFours.
template <class Team, class Step>
__device__ __forceinline__ void each_four(int64_t width, const Step& step) {
  if constexpr (Team::kHeld) {
#pragma unroll
    for (int slot = 0; slot < kRowFours; slot++) {
      const int i = (slot * Team::size() + Team::index()) * 4;
      if (i < width) step(slot, static_cast<int64_t>(i), width - i < 4 ? static_cast<int>(width - i) : 4);
    }
  } else {
    for (int64_t i = static_cast<int64_t>(Team::index()) * 4; i < width; i += static_cast<int64_t>(Team::size()) * 4)
      step(0, i, width - i < 4 ? static_cast<int>(width - i) : 4);
  }
}

// A thread's elements of one row: in registers where the team holds them, else in memory.
template <class Team>
struct RowValues {
  const float* from;
  bool aligned;
  Four held[Team::kHeld ? kRowFours : 1];

  __device__ __forceinline__ RowValues(const float* row, int64_t width, bool is_aligned) : from(row), aligned(is_aligned) {
    if constexpr (Team::kHeld) each_four<Team>(width, [&](int slot, int64_t i, int count) { held[slot] = load_four(from + i, count, aligned); });
  }
  __device__ __forceinline__ Four at(int slot, int64_t i, int count) const {
    if constexpr (Team::kHeld) {
      return held[slot];
    } else {
      return load_four(from + i, count, aligned);
    }
  }
};

// Calls body(team, launch shape) on the host where rows of this width belong to lanes of a warp.
template <int MostThreads, class Body>
Status with_lane_team(int64_t rows, int64_t width, const Body& body) {
  const auto shape = [rows](int lanes) { return LaunchShape{dim3(static_cast<unsigned>(ceil_div(rows, kTeamsThreads / lanes))), kTeamsThreads}; };
  if (width <= kNarrowRow) return body(RowTeam<RowMode::kNarrow, MostThreads>{}, shape(kNarrowLanes));
  return body(RowTeam<RowMode::kWarp, MostThreads>{}, shape(kWarp));
}

// Threads of a block that keeps a row of this width.
inline unsigned row_threads(int64_t width) { return static_cast<unsigned>(ceil_div(ceil_div(width, 4 * kRowFours), kWarp) * kWarp); }

// The same for rows of any width.
template <int MostThreads = 1024, class Body>
Status with_row_team(int64_t rows, int64_t width, const Body& body) {
  if (width <= kWarpRow) return with_lane_team<MostThreads>(rows, width, body);
  const dim3 grid(static_cast<unsigned>(rows));
  if (width <= static_cast<int64_t>(MostThreads) * 4 * kRowFours)
    return body(RowTeam<RowMode::kBlock, MostThreads>{}, LaunchShape{grid, row_threads(width)});
  return body(RowTeam<RowMode::kStream, MostThreads>{}, LaunchShape{grid, MostThreads});
}

}  // namespace heddle
