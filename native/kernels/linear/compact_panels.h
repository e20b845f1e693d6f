// bf16 weights in 12 bits each, without loss: what linear reads where memory rather than arithmetic is short.
//
// A weight is panels, each behind a line with its header, `step` bytes apart. Plain panels are as linear_pack.h lays them out,
// and compact_slot_bytes apart; a weight is packed so, and CompactWeight (compact_weight.h) then makes all of its panels
// compact, if that is worth it.
//
// A compact panel is its header, a list of exceptions (filled up to the same length in all panels of the weight) and units
// (cpu/compact_unit.h) of 8 k by 16 outputs, whose lines are a plain panel's pairs of k. The header holds the panel's table.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/tensor_view.h"
#include "cpu/compact_unit.h"
#include "kernels/linear/linear_pack.h"

namespace heddle {

inline constexpr int64_t kPanelLine = kUnitLine;    // bytes of a header, of a pair of k by 16 outputs in plain bf16, of a cache line
inline constexpr int64_t kUnitPairs = kUnitLines;  // pairs of k in a unit

struct PanelException {
  uint32_t place;  // k * 16 + output of the panel; ascending in the list
  uint16_t bits;
  uint16_t unused;
};
static_assert(sizeof(PanelException) == 8);

// Of a plain panel all zeros.
struct PanelHeader {
  uint32_t compact;
  uint32_t exceptions;             // how many
  int64_t units_at;                // bytes from the header
  int64_t step;                    // bytes to the next panel's header
  uint8_t high_bytes[kHighBytes];
  uint8_t unused[kPanelLine - 24 - kHighBytes];

  const PanelException* list() const { return reinterpret_cast<const PanelException*>(this + 1); }
};
static_assert(sizeof(PanelHeader) == kPanelLine);

constexpr int64_t compact_slot_lines(int64_t k) { return 1 + linear_inner(k) / 2; }
constexpr int64_t compact_slot_bytes(int64_t k) { return kPanelLine * compact_slot_lines(k); }
inline size_t compact_slots_bytes(int64_t outputs, int64_t k) { return static_cast<size_t>(linear_panels(outputs) * compact_slot_bytes(k)); }
constexpr int64_t compact_units(int64_t k) { return (linear_inner(k) / 2 + kUnitPairs - 1) / kUnitPairs; }

// A weight that may be compact is a u8 tensor [panels, compact_slot_lines, 64].
inline bool may_be_compact(const TensorView& weight) { return weight.dtype == DType::kU8; }

// Its panels, read. The first header says where everything is, and is checked (compact_checks.h) before others are looked at.
struct PanelRows {
  const std::byte* weight;
  int64_t k;

  const PanelHeader& first() const { return *reinterpret_cast<const PanelHeader*>(weight); }
  bool compact() const { return first().compact != 0; }
  int64_t step() const { return compact() ? first().step : compact_slot_bytes(k); }
  const PanelHeader& panel(int64_t index) const { return *reinterpret_cast<const PanelHeader*>(weight + index * step()); }
  const uint8_t* unit(const PanelHeader& panel, int64_t index) const {
    return reinterpret_cast<const uint8_t*>(&panel) + first().units_at + index * kUnitBytes;
  }
  // Whatever a header says, its list ends before the units.
  uint32_t exceptions(const PanelHeader& panel) const {
    return std::min(panel.exceptions, static_cast<uint32_t>((first().units_at - kPanelLine) / static_cast<int64_t>(sizeof(PanelException))));
  }
  bool holds(const PanelException& exception) const { return exception.place < k * kLinearPanel; }
  // Row `lane` of a panel.
  void row(int64_t panel, int64_t lane, float* to) const;
};

}  // namespace heddle
