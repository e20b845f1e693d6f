// The one kernel of all element by element ops: reads each operand once in vectors, applies a function, writes each result once.
//
// A function has kInputs, kOutputs and operator()(row, inputs, outputs), which gets N numbers of each operand at once.
#pragma once
#include <array>
#include <tuple>

#include "core/rows.h"
#include "cuda/row_tiles.cuh"

namespace heddle {

// Row r begins at element r / per_outer * outer + r % per_outer * inner of an operand.
template <int Count>
struct Arrays {
  float* data[Count];
  int64_t outer[Count], inner[Count];
  int64_t per_outer;
};

// Units under way in a thread: 32 bytes of each operand where accesses are vectors.
constexpr int map_depth(int width) { return width == 4 ? 2 : 4; }

// Inputs first, then outputs. An output may be an input's memory: a thread reads an element before it writes it.
template <int Width, class Function>
__global__ void __launch_bounds__(kTileThreads) map_rows(RowTiles tiles, int64_t columns, Arrays<Function::kInputs + Function::kOutputs> arrays, Function function) {
  constexpr int kDepth = map_depth(Width), kInputs = Function::kInputs, kOutputs = Function::kOutputs;
  over_tiles(tiles, [&](int64_t row, int64_t unit, int lanes) {
    const int64_t above = arrays.per_outer == 1 ? row : row / arrays.per_outer, rest = row - above * arrays.per_outer;
    float inputs[kInputs][kDepth * Width], outputs[kOutputs][kDepth * Width];
#pragma unroll
    for (int n = 0; n < kInputs; n++) {
      const float* from = arrays.data[n] + above * arrays.outer[n] + rest * arrays.inner[n];
#pragma unroll
      for (int d = 0; d < kDepth; d++) read_unit<Width>(from, (unit + d * lanes) * Width, columns, inputs[n] + d * Width);
    }
    function(row, inputs, outputs);
#pragma unroll
    for (int n = 0; n < kOutputs; n++) {
      float* to = arrays.data[kInputs + n] + above * arrays.outer[kInputs + n] + rest * arrays.inner[kInputs + n];
#pragma unroll
      for (int d = 0; d < kDepth; d++) write_unit<Width>(to, (unit + d * lanes) * Width, columns, outputs[n] + d * Width);
    }
  });
}

// Data and strides of one operand of launch_map.
struct MapOperand {
  float* data;
  int64_t outer, inner;
};

// Inputs first. `columns` numbers lie side by side in each of `rows` rows.
template <class Function, size_t Count>
Status launch_map(const char* op, const CudaContext& context, const Function& function, int64_t rows, int64_t per_outer, int64_t columns,
                  const std::array<MapOperand, Count>& operands) {
  static_assert(Count == Function::kInputs + Function::kOutputs);
  Arrays<static_cast<int>(Count)> arrays;
  arrays.per_outer = per_outer;
  bool aligned = true;
  for (size_t n = 0; n < Count; n++) {
    arrays.data[n] = operands[n].data;
    arrays.outer[n] = operands[n].outer;
    arrays.inner[n] = operands[n].inner;
    aligned = aligned && is_aligned16(arrays.data[n], rows > per_outer ? arrays.outer[n] : 0) && is_aligned16(arrays.data[n], per_outer > 1 ? arrays.inner[n] : 0);
  }
  const RowTiles tiles = row_tiles(rows, aligned ? ceil_div(columns, 4) : columns, map_depth(aligned ? 4 : 1));
  return context.launch(op, aligned ? map_rows<4, Function> : map_rows<1, Function>, tile_launch(tiles, context.limits), tiles, columns, arrays, function);
}

// Over tensors of equal shapes, inputs first: as one long row where none has gaps, otherwise by the leading dimension.
template <class Function, class... Tensors>
Status map_tensors(const char* op, const CudaContext& context, const Function& function, const Tensors&... tensors) {
  const bool flat = (tensors.dense() && ...);
  const TensorView& shape = std::get<0>(std::tie(tensors...));
  return launch_map(op, context, function, flat ? 1 : shape.dims[0], 1, flat ? shape.elements() : shape.inner_elements(),
                    std::array<MapOperand, sizeof...(Tensors)>{MapOperand{tensors.template as<float>(), tensors.leading_stride, 0}...});
}

// Over x and y with one number of `list` for each column.
template <class Function>
Status map_columns(const char* op, const CudaContext& context, const Function& function, const TensorView& x, const TensorView& list, const TensorView& y) {
  const Rows rows = rows_of(y);
  const int64_t per_outer = x.dense() && y.dense() ? 1 : rows.per_leading;
  const auto operand = [&](const TensorView& t) {
    return MapOperand{t.as<float>(), t.dense() ? per_outer * rows.columns : t.leading_stride, rows.columns};
  };
  return launch_map(op, context, function, rows.count, per_outer, rows.columns, std::array<MapOperand, 3>{operand(x), MapOperand{list.as<float>(), 0, 0}, operand(y)});
}

}  // namespace heddle
