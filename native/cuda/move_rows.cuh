// Rows of bytes moved from one place to another, with the widest accesses that all addresses allow. A `Moves` says which row goes where:
//
//   struct Moves {
//     uint64_t alignment() const;                      // host: all addresses and distances, or'ed
//     __device__ Move operator()(int64_t row) const;   // without `from` the row becomes zeros, without `to` it is left out
//   };
#pragma once
#include "core/tensor_view.h"
#include "cuda/row_tiles.cuh"

namespace heddle {

struct Move {
  const std::byte* from;
  std::byte* to;
};

// A tensor's rows: what lies behind one index of its leading dimension.
struct ByteRows {
  std::byte* data;
  int64_t stride;  // bytes

  __host__ __device__ std::byte* at(int64_t row) const { return data + row * stride; }
  uint64_t alignment() const { return reinterpret_cast<uintptr_t>(data) | static_cast<uint64_t>(stride); }
};

inline ByteRows byte_rows(const TensorView& tensor) {
  const int64_t stride = tensor.rank < 2 ? 1 : tensor.leading_stride;
  return {static_cast<std::byte*>(tensor.data), stride * static_cast<int64_t>(dtype_bytes(tensor.dtype))};
}
inline int64_t row_bytes(const TensorView& tensor) { return tensor.inner_elements() * static_cast<int64_t>(dtype_bytes(tensor.dtype)); }

// Units under way in a thread.
constexpr int move_depth(size_t unit_bytes) { return unit_bytes == 16 ? 2 : 4; }

// A unit is Width elements of T.
template <class T, int Width, class Moves>
__global__ void __launch_bounds__(kTileThreads) move_units(RowTiles tiles, int64_t units, Moves moves) {
  constexpr int kDepth = move_depth(sizeof(T) * Width);
  over_tiles(tiles, [&](int64_t row, int64_t first, int lanes) {
    const Move move = moves(row);
    if (move.to == nullptr) return;
    const T* from = reinterpret_cast<const T*>(move.from);
    T* to = reinterpret_cast<T*>(move.to);
    Pack<T, Width> held[kDepth];
#pragma unroll
    for (int d = 0; d < kDepth; d++) {
      const int64_t unit = first + d * lanes;
      held[d] = from != nullptr && unit < units ? load_pack<Width>(from + unit * Width) : Pack<T, Width>{};
    }
#pragma unroll
    for (int d = 0; d < kDepth; d++) {
      const int64_t unit = first + d * lanes;
      if (unit < units) store_pack(to + unit * Width, held[d]);
    }
  });
}

// Calls moves(row) for 0 <= row < rows also where a row has no bytes, so that what it refuses is refused. All addresses, distances and
// `bytes` are multiples of kSmallest.
template <size_t kSmallest = 1, class Moves>
Status move_rows(const char* op, const CudaContext& context, int64_t rows, int64_t bytes, const Moves& moves) {
  const uint64_t alignment = moves.alignment() | static_cast<uint64_t>(bytes);
  const auto run = [&](auto unit, auto* kernel) {
    const int64_t units = bytes / static_cast<int64_t>(sizeof(unit));
    const RowTiles tiles = row_tiles(rows, units > 0 ? units : 1, move_depth(sizeof(unit)));
    return context.launch(op, kernel, tile_launch(tiles, context.limits), tiles, units, moves);
  };
  if (alignment % 16 == 0) return run(Pack<uint32_t, 4>{}, move_units<uint32_t, 4, Moves>);
  if constexpr (kSmallest == 4) {
    return run(uint32_t{}, move_units<uint32_t, 1, Moves>);
  } else {
    if (alignment % 4 == 0) return run(uint32_t{}, move_units<uint32_t, 1, Moves>);
    if (alignment % 2 == 0) return run(uint16_t{}, move_units<uint16_t, 1, Moves>);
    return run(uint8_t{}, move_units<uint8_t, 1, Moves>);
  }
}

// Row r of x to row r of y.
struct SameRows {
  ByteRows x, y;
  uint64_t alignment() const { return x.alignment() | y.alignment(); }
  __device__ Move operator()(int64_t row) const { return {x.at(row), y.at(row)}; }
};

// Row numbers[r] of x to row r of y; zeros where the number is negative or, which is refused, not that of a row.
struct NumberedRows {
  ByteRows x, y;
  const int32_t* numbers;
  int64_t limit;
  Failure failure;  // {0}: r, {1}: the number, {2}: the limit
  uint64_t alignment() const { return x.alignment() | y.alignment(); }
  __device__ Move operator()(int64_t row) const {
    const int32_t number = numbers[row];
    if (number >= limit) failure.report(row, number, limit);
    return {number >= 0 && number < limit ? x.at(number) : nullptr, y.at(row)};
  }
};

}  // namespace heddle
