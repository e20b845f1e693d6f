// bf16 weights in 12 bits each, without loss: what linear reads where memory rather than arithmetic is short.
//
// A weight is panels, each behind a line with its header, `step` bytes apart. Plain panels are as linear_pack.h lays them out,
// and compact_slot_bytes apart; a weight is packed so, and CompactWeight (compact_weight.h) then makes all of its panels
// compact, if that is worth it.
//
// A compact panel is its header, a list of exceptions (filled up to the same length in all panels of the weight) and units of
// 8 k by 16 outputs in 192 bytes: two lines with the low byte of each weight (the lowest bit of the exponent, and the
// mantissa) and one line with codes of four bits for the high byte (the sign, and the upper seven bits of the exponent). Of
// these a trained weight has few: the header's table holds the panel's eight most frequent, and the same with the other sign.
// A weight whose high byte is not in the table is an exception: a small stand-in has its place, and the list its bits.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/tensor_view.h"
#include "cpu/targets.h"
#include "kernels/linear/linear_pack.h"

namespace heddle {

inline constexpr int64_t kPanelLine = 64;  // bytes of a header, of a pair of k by 16 outputs in plain bf16, of a cache line
inline constexpr int64_t kUnitPairs = 4;   // pairs of k in a unit
inline constexpr int64_t kUnitBytes = 192;
inline constexpr int64_t kUnitWeights = 2 * kUnitPairs * kLinearPanel;
inline constexpr int kHighBytes = 16;

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
  uint8_t high_bytes[kHighBytes];  // by code: eight without the sign, ascending, then the same with it
  uint8_t unused[kPanelLine - 24 - kHighBytes];

  const PanelException* list() const { return reinterpret_cast<const PanelException*>(this + 1); }
  // What stands where an exception is: the smallest positive value that the table has a code for.
  uint16_t stand_in() const { return static_cast<uint16_t>(high_bytes[0] << 8); }
};
static_assert(sizeof(PanelHeader) == kPanelLine);

constexpr int64_t compact_slot_lines(int64_t k) { return 1 + linear_inner(k) / 2; }
constexpr int64_t compact_slot_bytes(int64_t k) { return kPanelLine * compact_slot_lines(k); }
inline size_t compact_slots_bytes(int64_t outputs, int64_t k) { return static_cast<size_t>(linear_panels(outputs) * compact_slot_bytes(k)); }
constexpr int64_t compact_units(int64_t k) { return (linear_inner(k) / 2 + kUnitPairs - 1) / kUnitPairs; }

// Whether compact panels are worth it: elsewhere making operands of them takes longer than memory saves, from some rows on.
constexpr bool compact_pays(CpuTarget target) { return target == CpuTarget::kAvx512 || target == CpuTarget::kAvx512Bf16; }

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

// Where element (output * 2 + parity of k) of pair `pair` of a unit has its low byte. Its code is in byte `place % 64` of the
// third line: the lower four bits for the first line.
constexpr int64_t unit_place(int64_t pair, int64_t element) { return pair / 2 * 64 + element / 8 * 16 + pair % 2 * 8 + element % 8; }

// The bits that a unit has at `place`: the stand-in where an exception is.
inline uint16_t unit_weight(const uint8_t* unit, const uint8_t* high_bytes, int64_t place) {
  const int code = unit[128 + place % 64] >> (place < 64 ? 0 : 4) & 15;
  return static_cast<uint16_t>(high_bytes[code] << 8 | unit[place]);
}

// A unit as four lines of a plain panel.
inline void expand_unit(const uint8_t* unit, const uint8_t* high_bytes, uint16_t* to) {
  for (int64_t pair = 0; pair < kUnitPairs; pair++)
    for (int64_t element = 0; element < 2 * kLinearPanel; element++)
      to[pair * 2 * kLinearPanel + element] = unit_weight(unit, high_bytes, unit_place(pair, element));
}

}  // namespace heddle
