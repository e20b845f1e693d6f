// Making units of cpu/compact_unit.h. The loops over 64 bytes are written so that a compiler turns them into vectors.
#pragma once
#include <algorithm>
#include <cstring>

#include "cpu/compact_unit.h"

namespace heddle {

// How often each high byte occurs, signs put together, and the table that follows from it.
struct HighByteCounts {
  int64_t counts[128] = {};

  void add(uint16_t bits) { counts[bits >> 8 & 127]++; }

  void choose_table(uint8_t* high_bytes) const {
    uint8_t order[128];
    for (int i = 0; i < 128; i++) order[i] = static_cast<uint8_t>(i);
    // Of what was not met (a sample may have been counted), the next below the most frequent are the likeliest.
    const auto most = static_cast<int>(std::max_element(counts, counts + 128) - counts);
    const auto distance = [&](int value) { return value <= most ? most - value : value; };
    std::sort(order, order + 128, [&](int a, int b) { return counts[a] != counts[b] ? counts[a] > counts[b] : distance(a) < distance(b); });
    std::sort(order, order + 8);  // the stand-in is the first one's
    for (int i = 0; i < 8; i++) {
      high_bytes[i] = order[i];
      high_bytes[8 + i] = static_cast<uint8_t>(order[i] | 128);
    }
  }
};

// One unit taken apart: low and high bytes, and codes, by place.
class UnitEncoder {
 public:
  // The first `lines` of a unit's lines; the others are zeros.
  void read(const uint16_t* from, int64_t lines) {
    if (lines < kUnitLines) {
      std::memset(low_, 0, sizeof low_);
      std::memset(high_, 0, sizeof high_);
    }
    for (int64_t line = 0; line < lines; line++, from += kLineNumbers) {
      for (int64_t eight = 0; eight < kLineNumbers / 8; eight++) {
        uint8_t* const low = low_ + unit_place(line, eight * 8);
        uint8_t* const high = high_ + unit_place(line, eight * 8);
        for (int64_t i = 0; i < 8; i++) {
          low[i] = static_cast<uint8_t>(from[eight * 8 + i]);
          high[i] = static_cast<uint8_t>(from[eight * 8 + i] >> 8);
        }
      }
    }
  }

  // Finds the codes. Calls found(index in the lines, bits) for every number whose high byte is not in the table, which becomes the stand-in.
  template <class Found>
  void encode(const uint8_t* high_bytes, const Found& found) {
    for (int64_t i = 0; i < kUnitNumbers; i++) codes_[i] = kNoCode;
    for (int code = 0; code < kHighBytes / 2; code++) {
      const uint8_t wanted = high_bytes[code];
      for (int64_t i = 0; i < kUnitNumbers; i++) codes_[i] = (high_[i] & 127) == wanted ? static_cast<uint8_t>(code) : codes_[i];
    }
    uint8_t any = 0;
    for (int64_t i = 0; i < kUnitNumbers; i++) {
      codes_[i] |= static_cast<uint8_t>(high_[i] >> 7 << 3);
      any |= codes_[i];
    }
    if ((any & kNoCode) == 0) return;
    for (int64_t i = 0; i < kUnitNumbers; i++) {
      if ((codes_[i] & kNoCode) == 0) continue;
      found(place_in_lines(i), static_cast<uint16_t>(high_[i] << 8 | low_[i]));
      codes_[i] = low_[i] = 0;  // the stand-in
    }
  }

  // The kUnitBytes of the unit.
  void write(uint8_t* to) const {
    std::memcpy(to, low_, sizeof low_);
    for (int64_t i = 0; i < 64; i++) to[128 + i] = static_cast<uint8_t>(codes_[i] | codes_[64 + i] << 4);
  }

 private:
  static constexpr uint8_t kNoCode = 16;  // a bit beside the code

  alignas(64) uint8_t low_[kUnitNumbers], high_[kUnitNumbers], codes_[kUnitNumbers];
};

}  // namespace heddle
