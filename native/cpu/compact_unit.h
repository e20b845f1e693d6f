// 128 bf16 numbers in 12 bits each, without loss: the unit that compact panels of weights (kernels/linear/compact_panels.h) and compact
// rows of adapters (kernels/grouped_lora/compact_rows.h) are made of.
//
// A unit stands for four lines of 64 bytes, 32 numbers each, and has 192 bytes: two lines with the low byte of each number (the lowest bit
// of the exponent, and the mantissa) and one line with codes of four bits for the high byte (the sign, and the upper seven bits of the
// exponent). Of these trained numbers have few: a table beside the units holds the eight most frequent, and the same with the other
// sign. A number whose high byte is not in the table is an exception: a small stand-in has its place, and a list beside the units its
// bits.
#pragma once
#include <cstdint>

#include "cpu/targets.h"

namespace heddle {

inline constexpr int64_t kUnitLine = 64;  // bytes
inline constexpr int64_t kUnitLines = 4;
inline constexpr int64_t kLineNumbers = kUnitLine / 2;
inline constexpr int64_t kUnitNumbers = kUnitLines * kLineNumbers;
inline constexpr int64_t kUnitBytes = 192;
inline constexpr int kHighBytes = 16;  // of a table, by code: eight without the sign, ascending, then the same with it

// Whether units are worth it: elsewhere making operands of them takes longer than memory saves, from some rows on.
constexpr bool compact_pays(CpuTarget target) { return target == CpuTarget::kAvx512 || target == CpuTarget::kAvx512Bf16; }

// Where number `number` of line `line` has its low byte. Its code is in byte `place % 64` of the third line: the lower four bits for
// the first line.
constexpr int64_t unit_place(int64_t line, int64_t number) { return line / 2 * 64 + number / 8 * 16 + line % 2 * 8 + number % 8; }

// What of the four lines a place is: line * kLineNumbers + number.
constexpr int64_t place_in_lines(int64_t place) {
  return (place / 64 * 2 + place % 16 / 8) * kLineNumbers + place % 64 / 16 * 8 + place % 8;
}

// What stands where an exception is: the smallest positive value that the table has a code for.
inline uint16_t unit_stand_in(const uint8_t* high_bytes) { return static_cast<uint16_t>(high_bytes[0] << 8); }

// The bits that a unit has at `place`: the stand-in where an exception is.
inline uint16_t unit_number(const uint8_t* unit, const uint8_t* high_bytes, int64_t place) {
  const int code = unit[128 + place % 64] >> (place < 64 ? 0 : 4) & 15;
  return static_cast<uint16_t>(high_bytes[code] << 8 | unit[place]);
}

// A unit as its four lines.
inline void expand_unit(const uint8_t* unit, const uint8_t* high_bytes, uint16_t* to) {
  for (int64_t line = 0; line < kUnitLines; line++)
    for (int64_t number = 0; number < kLineNumbers; number++)
      to[line * kLineNumbers + number] = unit_number(unit, high_bytes, unit_place(line, number));
}

}  // namespace heddle
