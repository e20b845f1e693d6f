// bf16 rows of factors in 12 bits each, without loss (cpu/compact_unit.h): what grouped_lora reads on processors, where memory rather than
// arithmetic is short.
//
// A group is kGroupRows rows of A or of B transposed, or what is left of them: a multiple of kUnitLines rows, which are a multiple of
// kLineNumbers wide. Numbers 32 p to 32 p + 31 of its row i are line p c + i of its units, with c rows in the group. In a line the first
// and the last 16 numbers alternate, so that the even and the odd ones are neighbours.
//
// In front of the units lie a table, a bit per unit that has an exception, and the exceptions. Their number is bounded, so the shape alone
// says how many bytes a group has; rows with more stay plain.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/compact_unit.h"
#include "kernels/grouped_lora/grouped_lora_layout.h"

namespace heddle {

struct RowException {
  uint32_t unit;
  uint16_t line_number;  // line * kLineNumbers + where in the line
  uint16_t bits;
};
static_assert(sizeof(RowException) == 8);

// Which rows can be compact at all.
constexpr bool can_be_compact(int64_t rows, int64_t width) { return rows % kUnitLines == 0 && width % kLineNumbers == 0; }

// Where things lie in a group of rows * width numbers.
struct CompactGroupShape {
  int64_t units = 0;

  constexpr CompactGroupShape() = default;
  constexpr CompactGroupShape(int64_t rows, int64_t width) : units(rows * width / kUnitNumbers) {}
  constexpr int64_t most_exceptions() const { return 4 + units / 16; }
  static constexpr int64_t count_at() { return kHighBytes; }
  static constexpr int64_t marks_at() { return count_at() + 8; }
  constexpr int64_t list_at() const { return marks_at() + (units + 63) / 64 * 8; }
  constexpr int64_t units_at() const {
    return (list_at() + most_exceptions() * static_cast<int64_t>(sizeof(RowException)) + kUnitLine - 1) / kUnitLine * kUnitLine;
  }
  constexpr int64_t bytes() const { return units_at() + units * kUnitBytes; }
};

// A group that is read. Whatever its bytes say, nothing outside of them is read.
struct CompactGroup {
  const uint8_t* bytes;
  int64_t rows;
  CompactGroupShape shape;

  const uint8_t* unit(int64_t index) const { return bytes + shape.units_at() + index * kUnitBytes; }
  bool has_exception(int64_t unit) const { return (bytes[CompactGroupShape::marks_at() + unit / 8] >> unit % 8 & 1) != 0; }
  // Puts the exceptions of a unit into its four lines. Inline: a call would cost the loops around it their registers.
  __attribute__((always_inline)) void put_exceptions(int64_t unit, uint16_t* lines) const {
    uint32_t count;
    std::memcpy(&count, bytes + CompactGroupShape::count_at(), sizeof count);
    const auto most = static_cast<uint32_t>(shape.most_exceptions());
    const uint8_t* at = bytes + shape.list_at();
    for (uint32_t i = 0; i < (count < most ? count : most); i++, at += sizeof(RowException)) {
      RowException exception;
      std::memcpy(&exception, at, sizeof exception);
      if (exception.unit == unit && exception.line_number < kUnitNumbers) lines[exception.line_number] = exception.bits;
    }
  }
};

// For many tokens compact rows are made plain in pieces of so many numbers, or of as many as kGroupRows rows of A have.
inline constexpr int64_t kPlainFloats = 16384;
inline int64_t plain_floats(int64_t inputs) { return kGroupRows * inputs > kPlainFloats ? kGroupRows * inputs : kPlainFloats; }

// Makes a group of `count` rows, `width` wide and one after another, into the bytes of its shape, which are zeros. Returns false where it
// has too many exceptions.
bool make_compact_rows(const uint16_t* rows, int64_t count, int64_t width, uint8_t* to);

}  // namespace heddle
