// Packing runs at load, over every weight of a model: all loops move whole cache lines of the source.
#include "kernels/linear/linear_pack.h"

#include <algorithm>
#include <cstring>

namespace heddle {

namespace {

constexpr int64_t kLine = 64;  // bytes

// Where element (lane, k) of a panel is, in elements.
template <bool kPairs>
int64_t panel_offset(int64_t lane, int64_t k) {
  if (kPairs) return (k >> 1) * (2 * kLinearPanel) + lane * 2 + (k & 1);
  return k * kLinearPanel + lane;
}

// Lanes [lane, lane + count) of one panel, element by element.
template <class Element, bool kPairs>
void pack_lanes(const std::byte* source, int64_t row_step, int64_t k_step, int64_t k, int64_t lane, int64_t count, Element* panel) {
  for (int64_t index = 0; index < k; index++) {
    const std::byte* from = source + index * k_step;
    for (int64_t i = 0; i < count; i++, from += row_step)
      std::memcpy(panel + panel_offset<kPairs>(lane + i, index), from, sizeof(Element));
  }
  if (k & 1)
    for (int64_t i = 0; i < count; i++) panel[panel_offset<kPairs>(lane + i, k)] = Element{0};
}

// 16 rows of cells (a cell: what stays together for one output) into columns of 16 cells.
// The rows go through a buffer: read in place they would fall into the same few cache sets.
template <class Cell>
void transpose_rows(const std::byte* source, int64_t row_step, int64_t cells, Cell* panel) {
  constexpr int64_t kBlock = kLine / static_cast<int64_t>(sizeof(Cell));
  alignas(64) Cell block[kLinearPanel][kBlock];
  for (int64_t first = 0; first < cells; first += kBlock) {
    const int64_t count = std::min(kBlock, cells - first);
    const std::byte* from = source + first * static_cast<int64_t>(sizeof(Cell));
    if (count == kBlock) {
      for (int64_t lane = 0; lane < kLinearPanel; lane++) std::memcpy(block[lane], from + lane * row_step, kLine);
    } else {
      for (int64_t lane = 0; lane < kLinearPanel; lane++)
        std::memcpy(block[lane], from + lane * row_step, static_cast<size_t>(count) * sizeof(Cell));
    }
    Cell* to = panel + first * kLinearPanel;
    for (int64_t cell = 0; cell < count; cell++, to += kLinearPanel)
      for (int64_t lane = 0; lane < kLinearPanel; lane++) to[lane] = block[lane][cell];
  }
}

template <class Element, bool kPairs>
void pack_full_panel(const std::byte* source, int64_t row_step, int64_t k, Element* panel) {
  if constexpr (kPairs) {
    transpose_rows(source, row_step, k / 2, reinterpret_cast<uint32_t*>(panel));
    if (k & 1) {
      Element* last = panel + (k - 1) * kLinearPanel;
      for (int64_t lane = 0; lane < kLinearPanel; lane++) {
        std::memcpy(last + 2 * lane, source + lane * row_step + (k - 1) * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
        last[2 * lane + 1] = 0;
      }
    }
  } else {
    transpose_rows(source, row_step, k, panel);
    if (k & 1) std::fill_n(panel + k * kLinearPanel, kLinearPanel, Element{0});
  }
}

// `panels` whole panels of a [k, ..] source: every source row is read through before the next one.
template <class Element, bool kPairs>
void pack_transposed_panels(const std::byte* source, int64_t k_step, int64_t k, int64_t panels, int64_t panel_elements, Element* first) {
  constexpr int64_t kBytes = kLinearPanel * static_cast<int64_t>(sizeof(Element));
  const int64_t step = kPairs ? 2 : 1;
  for (int64_t index = 0; index < k; index += step) {
    for (int64_t panel = 0; panel < panels; panel++) {
      const std::byte* from = source + index * k_step + panel * kBytes;
      Element* to = first + panel * panel_elements + index * kLinearPanel;
      if constexpr (kPairs) {
        Element even[kLinearPanel], odd[kLinearPanel] = {};
        std::memcpy(even, from, kBytes);
        if (index + 1 < k) std::memcpy(odd, from + k_step, kBytes);
        for (int64_t lane = 0; lane < kLinearPanel; lane++) {
          to[2 * lane] = even[lane];
          to[2 * lane + 1] = odd[lane];
        }
      } else {
        std::memcpy(to, from, kBytes);
      }
    }
  }
  if (!kPairs && (k & 1))
    for (int64_t panel = 0; panel < panels; panel++) std::fill_n(first + panel * panel_elements + k * kLinearPanel, kLinearPanel, Element{0});
}

template <class Element, bool kPairs>
void pack_rows(const std::byte* source, int64_t rows, int64_t k, bool transposed, int64_t source_stride, int64_t first_output,
               Element* destination, int64_t panel_step) {
  constexpr int64_t kSize = sizeof(Element);
  constexpr int64_t kGroup = 8;  // panels written side by side from a transposed source
  const int64_t row_step = transposed ? kSize : source_stride * kSize;
  const int64_t k_step = transposed ? source_stride * kSize : kSize;
  const int64_t panel_elements = panel_step / kSize;
  for (int64_t row = 0; row < rows;) {
    const int64_t output = first_output + row;
    const int64_t lane = output % kLinearPanel;
    Element* panel = destination + output / kLinearPanel * panel_elements;
    const std::byte* from = source + row * row_step;
    const int64_t whole = lane == 0 ? (rows - row) / kLinearPanel : 0;
    if (whole == 0) {
      const int64_t count = std::min(kLinearPanel - lane, rows - row);
      pack_lanes<Element, kPairs>(from, row_step, k_step, k, lane, count, panel);
      row += count;
    } else if (transposed) {
      const int64_t count = std::min(whole, kGroup);
      pack_transposed_panels<Element, kPairs>(from, k_step, k, count, panel_elements, panel);
      row += count * kLinearPanel;
    } else {
      pack_full_panel<Element, kPairs>(from, row_step, k, panel);
      row += kLinearPanel;
    }
  }
}

}  // namespace

size_t linear_packed_bytes(DType dtype, int64_t outputs, int64_t k) {
  return static_cast<size_t>(linear_panels(outputs) * linear_panel_bytes(dtype, k));
}

void linear_pack_rows(DType dtype, const void* source, int64_t rows, int64_t k, bool transposed, int64_t source_stride,
                      int64_t first_output, void* destination, int64_t panel_step) {
  const std::byte* from = static_cast<const std::byte*>(source);
  if (dtype == DType::kF32)
    pack_rows<uint32_t, false>(from, rows, k, transposed, source_stride, first_output, static_cast<uint32_t*>(destination), panel_step);
  else if (dtype == DType::kF16)
    pack_rows<uint16_t, false>(from, rows, k, transposed, source_stride, first_output, static_cast<uint16_t*>(destination), panel_step);
  else if (dtype == DType::kBF16)
    pack_rows<uint16_t, true>(from, rows, k, transposed, source_stride, first_output, static_cast<uint16_t*>(destination), panel_step);
}

}  // namespace heddle
