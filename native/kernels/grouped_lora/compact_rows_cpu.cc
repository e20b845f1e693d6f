#include "kernels/grouped_lora/compact_rows.h"

#include "cpu/compact_unit_encode.h"

namespace heddle {

namespace {

constexpr int64_t kHalfLine = kLineNumbers / 2;

// A line from 32 neighbours of a row.
void make_line(const uint16_t* from, uint16_t* line) {
  for (int64_t i = 0; i < kHalfLine; i++) {
    line[2 * i] = from[i];
    line[2 * i + 1] = from[kHalfLine + i];
  }
}

}  // namespace

bool make_compact_rows(const uint16_t* rows, int64_t count, int64_t width, uint8_t* to) {
  const CompactGroupShape shape(count, width);
  HighByteCounts counts;
  for (int64_t i = 0; i < count * width; i++) counts.add(rows[i]);
  counts.choose_table(to);

  UnitEncoder encoder;
  uint16_t lines[kUnitNumbers];
  int64_t exceptions = 0;
  for (int64_t unit = 0; unit < shape.units; unit++) {
    for (int64_t line = 0; line < kUnitLines; line++) {
      const int64_t piece = (unit * kUnitLines + line) / count, row = (unit * kUnitLines + line) % count;
      make_line(rows + row * width + piece * kLineNumbers, lines + line * kLineNumbers);
    }
    encoder.read(lines, kUnitLines);
    encoder.encode(to, [&](int64_t index, uint16_t bits) {
      if (exceptions++ >= shape.most_exceptions()) return;
      const RowException exception = {static_cast<uint32_t>(unit), static_cast<uint16_t>(index), bits};
      std::memcpy(to + shape.list_at() + (exceptions - 1) * static_cast<int64_t>(sizeof exception), &exception, sizeof exception);
      to[CompactGroupShape::marks_at() + unit / 8] |= static_cast<uint8_t>(1 << unit % 8);
    });
    encoder.write(to + shape.units_at() + unit * kUnitBytes);
  }
  if (exceptions > shape.most_exceptions()) return false;
  const auto number = static_cast<uint32_t>(exceptions);
  std::memcpy(to + CompactGroupShape::count_at(), &number, sizeof number);
  return true;
}

}  // namespace heddle
