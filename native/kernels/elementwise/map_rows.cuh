// The one kernel of all element by element ops: reads each operand once in vectors, applies a function, writes each result once.
//
// A function has kInputs, kOutputs and operator()(row, inputs, outputs), which gets N numbers of each operand at once.
#pragma once
#include <array>

#include "core/rows.h"
#include "cuda/row_tiles.cuh"

namespace heddle {

template <int Count>
struct Arrays {
  float* data[Count];
  Rows rows[Count];
};

// Units under way in a thread: 32 bytes of each operand where accesses are vectors.
constexpr int map_depth(int width) { return width == 4 ? 2 : 4; }

// Inputs first, then outputs. An output may be an input's memory: a thread reads an element before it writes it.
template <int Width, class Function>
__global__ void __launch_bounds__(kTileThreads) map_rows(RowTiles tiles, int64_t columns, Arrays<Function::kInputs + Function::kOutputs> arrays, Function function) {
  constexpr int kDepth = map_depth(Width), kInputs = Function::kInputs, kOutputs = Function::kOutputs;
  over_tiles(tiles, [&](int64_t row, int64_t unit, int lanes) {
    float inputs[kInputs][kDepth * Width], outputs[kOutputs][kDepth * Width];
#pragma unroll
    for (int n = 0; n < kInputs; n++) {
      const float* from = arrays.data[n] + arrays.rows[n].offset(row);
#pragma unroll
      for (int d = 0; d < kDepth; d++) read_unit<Width>(from, (unit + d * lanes) * Width, columns, inputs[n] + d * Width);
    }
    function(row, inputs, outputs);
#pragma unroll
    for (int n = 0; n < kOutputs; n++) {
      float* to = arrays.data[kInputs + n] + arrays.rows[kInputs + n].offset(row);
#pragma unroll
      for (int d = 0; d < kDepth; d++) write_unit<Width>(to, (unit + d * lanes) * Width, columns, outputs[n] + d * Width);
    }
  });
}

struct MapOperand {
  TensorView tensor;
  Rows rows;
};

template <class Function, size_t Count>
Status launch_map(const char* op, const CudaContext& context, const Function& function, const std::array<MapOperand, Count>& operands) {
  static_assert(Count == Function::kInputs + Function::kOutputs);
  const int64_t rows = operands[Count - 1].rows.count, columns = operands[Count - 1].rows.columns;
  Arrays<static_cast<int>(Count)> arrays;
  bool aligned = true;
  for (size_t n = 0; n < Count; n++) {
    arrays.data[n] = operands[n].tensor.template as<float>();
    arrays.rows[n] = operands[n].rows;
    const Rows& each = operands[n].rows;
    aligned = aligned && is_aligned16(arrays.data[n], rows > 1 ? each.leading_stride : 0) && (each.per_leading == 1 || columns % 4 == 0);
  }
  const RowTiles tiles = row_tiles(rows, aligned ? ceil_div(columns, 4) : columns, map_depth(aligned ? 4 : 1));
  return context.launch(op, aligned ? map_rows<4, Function> : map_rows<1, Function>, tile_launch(tiles, context.limits), tiles, columns, arrays, function);
}

// Over tensors of equal shapes, inputs first: as one long row where none has gaps, otherwise by the leading dimension.
template <class Function, class... Tensors>
Status map_tensors(const char* op, const CudaContext& context, const Function& function, const Tensors&... tensors) {
  const bool flat = (tensors.dense() && ...);
  const auto rows = [flat](const TensorView& t) {
    return flat ? Rows{1, t.elements(), 1, t.elements()} : Rows{t.dims[0], t.inner_elements(), 1, t.leading_stride};
  };
  return launch_map(op, context, function, std::array<MapOperand, sizeof...(Tensors)>{MapOperand{tensors, rows(tensors)}...});
}

// Over x and y with one number of `list` for each column.
template <class Function>
Status map_columns(const char* op, const CudaContext& context, const Function& function, const TensorView& x, const TensorView& list, const TensorView& y) {
  const auto rows = [](const TensorView& t) {
    const Rows rows = rows_of(t);
    return t.dense() ? Rows{rows.count, rows.columns, 1, rows.columns} : rows;
  };
  const Rows same{rows_of(y).count, y.columns(), 1, 0};
  return launch_map(op, context, function, std::array<MapOperand, 3>{MapOperand{x, rows(x)}, MapOperand{list, same}, MapOperand{y, rows(y)}});
}

}  // namespace heddle
