// Runs at load over every weight.
#include "kernels/linear/compact_weight.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "core/float16.h"
#include "cpu/compact_unit_encode.h"

namespace heddle {

namespace {

constexpr int64_t kPairElements = 2 * kLinearPanel;
// With more exceptions in a panel than one in so many weights, the weight stays plain.
constexpr int64_t kWeightsPerException = 64;
constexpr int64_t kSampledUnits = 16;  // of a panel, for its table

uint16_t& plain_element(uint16_t* body, int64_t k, int64_t lane) { return body[k / 2 * kPairElements + lane * 2 + k % 2]; }

// The part [0, k) x [0, lanes) of a plain panel counts; the rest is zeros.
struct PlainPanel {
  const uint16_t* body;
  int64_t k, lanes;

  int64_t pairs() const { return linear_inner(k) / 2; }

  void choose_table(uint8_t* high_bytes) const {
    HighByteCounts counts;
    const int64_t step = std::max<int64_t>(1, compact_units(k) / kSampledUnits);
    for (int64_t unit = 0; unit < compact_units(k); unit += step)
      for (int64_t pair = unit * kUnitPairs; pair < std::min(pairs(), (unit + 1) * kUnitPairs); pair++)
        for (int64_t i = 0; i < 2 * lanes; i++)
          if (2 * pair + i % 2 < k) counts.add(body[pair * kPairElements + i]);
    counts.choose_table(high_bytes);
  }

  // Calls each(unit, its encoder) for every unit, and found(place in the panel, bits) for every exception before.
  template <class Each, class Found>
  void units(const uint8_t* high_bytes, const Each& each, const Found& found) const {
    UnitEncoder encoder;
    for (int64_t unit = 0; unit < compact_units(k); unit++) {
      encoder.read(body + unit * kUnitNumbers, std::min(kUnitPairs, pairs() - unit * kUnitPairs));
      encoder.encode(high_bytes, [&](int64_t index, uint16_t bits) {
        const int64_t column = 2 * (unit * kUnitPairs + index / kPairElements) + index % 2, lane = index % kPairElements / 2;
        if (column < k && lane < lanes) found(static_cast<uint32_t>(column * kLinearPanel + lane), bits);
      });
      each(unit, encoder);
    }
  }

  // The compact panel into `to`, whose header has everything but the number of exceptions.
  void encode(std::byte* to) const {
    PanelHeader& header = *reinterpret_cast<PanelHeader*>(to);
    PanelException* list = reinterpret_cast<PanelException*>(to + sizeof header);
    PanelException* end = list;
    units(
        header.high_bytes,
        [&](int64_t unit, const UnitEncoder& encoder) { encoder.write(reinterpret_cast<uint8_t*>(to) + header.units_at + unit * kUnitBytes); },
        [&](uint32_t place, uint16_t bits) { *end++ = {place, bits, 0}; });
    std::sort(list, end, [](const PanelException& a, const PanelException& b) { return a.place < b.place; });
    header.exceptions = static_cast<uint32_t>(end - list);
  }
};

// A compact panel as the body of a plain one.
void decode(const PanelRows& rows, const PanelHeader& header, int64_t lanes, uint16_t* body) {
  const int64_t k = rows.k, pairs = linear_inner(k) / 2;
  for (int64_t unit = 0; unit < compact_units(k); unit++) {
    uint16_t plain[kUnitNumbers];
    expand_unit(rows.unit(header, unit), header.high_bytes, plain);
    const int64_t count = std::min(kUnitPairs, pairs - unit * kUnitPairs);
    std::memcpy(body + unit * kUnitNumbers, plain, static_cast<size_t>(count * kPanelLine));
  }
  for (uint32_t i = 0; i < rows.exceptions(header); i++) {
    const PanelException& exception = header.list()[i];
    if (rows.holds(exception)) plain_element(body, exception.place / kLinearPanel, exception.place % kLinearPanel) = exception.bits;
  }
  for (int64_t column = 0; column < 2 * pairs; column++)
    for (int64_t lane = column < k ? lanes : 0; lane < kLinearPanel; lane++) plain_element(body, column, lane) = 0;
}

}  // namespace

void PanelRows::row(int64_t index, int64_t lane, float* to) const {
  const PanelHeader& header = panel(index);
  if (!compact()) {
    const uint16_t* body = reinterpret_cast<const uint16_t*>(&header + 1);
    for (int64_t column = 0; column < k; column++) to[column] = bf16_to_f32(body[column / 2 * kPairElements + lane * 2 + column % 2]);
    return;
  }
  for (int64_t column = 0; column < k; column++) {
    const int64_t place = unit_place(column / 2 % kUnitPairs, lane * 2 + column % 2);
    to[column] = bf16_to_f32(unit_number(unit(header, column / (2 * kUnitPairs)), header.high_bytes, place));
  }
  for (uint32_t i = 0; i < exceptions(header); i++) {
    const PanelException& exception = header.list()[i];
    if (holds(exception) && exception.place % kLinearPanel == lane) to[exception.place / kLinearPanel] = bf16_to_f32(exception.bits);
  }
}

int64_t CompactWeight::lanes(int64_t panel) const { return std::min(kLinearPanel, outputs_ - panel * kLinearPanel); }

int64_t CompactWeight::make_compact(ThreadPool& pool) {
  const int64_t slot = compact_slot_bytes(k_), whole = panels_ * slot;
  if (panels_ == 0 || PanelRows{weight_, k_}.compact()) return panels_ == 0 ? 0 : panels_ * PanelRows{weight_, k_}.step();
  const auto plain = [&](int64_t panel) {
    return PlainPanel{reinterpret_cast<const uint16_t*>(weight_ + panel * slot + kPanelLine), k_, lanes(panel)};
  };
  std::vector<PanelHeader> headers(static_cast<size_t>(panels_));
  pool.parallel(panels_, [&](int64_t panel, int) {
    PanelHeader& header = headers[static_cast<size_t>(panel)];
    plain(panel).choose_table(header.high_bytes);
    plain(panel).units(
        header.high_bytes, [](int64_t, const UnitEncoder&) {}, [&](uint32_t, uint16_t) { header.exceptions++; });
  });
  uint32_t most = 0;
  for (const PanelHeader& header : headers) most = std::max(most, header.exceptions);
  const int64_t list = (static_cast<int64_t>(most * sizeof(PanelException)) + kPanelLine - 1) / kPanelLine * kPanelLine;
  const int64_t units_at = kPanelLine + list, step = units_at + compact_units(k_) * kUnitBytes;
  if (step >= slot || most > static_cast<uint32_t>(k_ * kLinearPanel / kWeightsPerException)) return whole;

  // In place, front to back: a wave of panels ends up before the first of them, or is one panel. Each goes through a worker's memory.
  std::vector<std::vector<std::byte>> held(static_cast<size_t>(pool.threads()), std::vector<std::byte>(static_cast<size_t>(step)));
  for (int64_t first = 0; first < panels_;) {
    const int64_t end = std::min(panels_, std::max(first + 1, first * slot / step));
    pool.parallel(end - first, [&](int64_t index, int worker) {
      const int64_t panel = first + index;
      std::byte* to = held[static_cast<size_t>(worker)].data();
      std::memset(to, 0, static_cast<size_t>(units_at));
      PanelHeader& header = *new (to) PanelHeader(headers[static_cast<size_t>(panel)]);
      header.compact = 1;
      header.units_at = units_at;
      header.step = step;
      plain(panel).encode(to);
      std::memcpy(weight_ + panel * step, to, static_cast<size_t>(step));
    });
    first = end;
  }
  return panels_ * step;
}

void CompactWeight::make_plain(ThreadPool& pool) {
  const PanelRows rows{weight_, k_};
  if (panels_ == 0 || !rows.compact()) return;
  const int64_t slot = compact_slot_bytes(k_), step = rows.step();
  std::vector<std::vector<std::byte>> held(static_cast<size_t>(pool.threads()), std::vector<std::byte>(static_cast<size_t>(slot)));
  // Back to front: a wave lands behind all that is still compact, or is one panel.
  for (int64_t end = panels_; end > 0;) {
    const int64_t first = std::min(end - 1, (end * step + slot - 1) / slot);
    pool.parallel(end - first, [&](int64_t index, int worker) {
      const int64_t panel = first + index;
      std::byte* to = held[static_cast<size_t>(worker)].data();
      std::memset(to, 0, kPanelLine);
      decode(rows, rows.panel(panel), lanes(panel), reinterpret_cast<uint16_t*>(to + kPanelLine));
      std::memcpy(weight_ + panel * slot, to, static_cast<size_t>(slot));
    });
    end = first;
  }
}

}  // namespace heddle
