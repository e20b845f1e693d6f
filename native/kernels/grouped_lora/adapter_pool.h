// The operands that say where adapters lie, checked before any kernel of the family follows them.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "kernels/grouped_lora/compact_rows.h"
#include "kernels/grouped_lora/grouped_lora_layout.h"

namespace heddle {

inline constexpr int kTileTokens = 4;   // tokens that share the reading of a row
inline constexpr int kRankBlock = 256;  // rows whose dot products are kept at once

// Neighbouring tokens with the same slots.
struct TokenTile {
  int32_t first;
  int32_t count;
};

struct AdapterPool {
  const AdapterEntry* entries;  // [slots][sites]
  int64_t slots;
  int64_t sites;
  const int32_t* rows;
  int64_t row_count;
  const std::byte* bytes;
  int64_t byte_count;

  AdapterEntry entry(int64_t slot, int64_t site) const {
    AdapterEntry found;
    std::memcpy(&found, entries + slot * sites + site, sizeof found);
    return found;
  }
  const void* row(int64_t row) const { return bytes + rows[row] * kRowUnit; }

  // rows[first .. first + count) exist, and `width_bytes` behind each of their addresses lie inside the pool.
  bool holds(int64_t first, int64_t count, int64_t width_bytes) const {
    if (first < 0 || count < 0 || first > row_count - count) return false;
    if (count == 0) return true;
    if (width_bytes > byte_count) return false;
    const int64_t last = (byte_count - width_bytes) / kRowUnit;
    const uint32_t limit = static_cast<uint32_t>(last < INT32_MAX ? last : INT32_MAX);
    uint32_t largest = 0;  // a negative address becomes larger than any limit
    for (int64_t i = first; i < first + count; i++) {
      const uint32_t address = static_cast<uint32_t>(rows[i]);
      largest = address > largest ? address : largest;
    }
    return largest <= limit;
  }
};

// Rows that are read side by side: element i of row r is rows[r][i / kPiece * step + i % kPiece], where kPiece elements are kPieceBytes.
template <class Element>
struct RowGroup {
  const Element* rows[kGroupRows];
  int count;
  int64_t step;  // elements from one piece of a row to its next
};

// Rows of a factor, one by one or in groups.
struct Factor {
  const AdapterPool& pool;
  int64_t first;  // in the row table
  int64_t rank;
  bool grouped = false;

  // kGroupRows rows from `row` on, which is a multiple of kGroupRows, or what is left.
  template <class Element>
  RowGroup<Element> group(int64_t row) const {
    constexpr int64_t kPiece = kPieceBytes / static_cast<int64_t>(sizeof(Element));
    RowGroup<Element> found;
    found.count = static_cast<int>(rank - row < kGroupRows ? rank - row : kGroupRows);
    found.step = grouped ? found.count * kPiece : kPiece;
    const Element* const shared = grouped ? static_cast<const Element*>(pool.row(first + row / kGroupRows)) : nullptr;
    for (int i = 0; i < found.count; i++) found.rows[i] = grouped ? shared + i * kPiece : static_cast<const Element*>(pool.row(first + row + i));
    return found;
  }

  // The groups of rows first_row .. first_row + count, none of which is cut; gives their number.
  template <class Element>
  int groups(int64_t first_row, int count, RowGroup<Element>* to) const {
    int found = 0;
    for (int row = 0; row < count; row += kGroupRows) to[found++] = group<Element>(first_row + row);
    return found;
  }

  // What a loop over elements `from` .. `to` of the rows from `row` on reads first: where it begins, and how many bytes it has.
  template <class Element>
  std::pair<const std::byte*, int64_t> beginning(int64_t row, int64_t from, int64_t to) const {
    if (row >= rank) return {};
    const auto rows = group<Element>(row);
    constexpr int64_t kPiece = kPieceBytes / static_cast<int64_t>(sizeof(Element));
    const int64_t elements = (to - from + kPiece - 1) / kPiece * rows.step;
    return {reinterpret_cast<const std::byte*>(rows.rows[0] + from / kPiece * rows.step), elements * static_cast<int64_t>(sizeof(Element))};
  }

  // All rows exist, and the first width_bytes of each lie inside the pool.
  bool inside(int64_t width_bytes) const {
    if (!grouped) return pool.holds(first, rank, width_bytes);
    const int64_t row_bytes = (width_bytes + kPieceBytes - 1) / kPieceBytes * kPieceBytes, rest = rank % kGroupRows;
    return pool.holds(first, rank / kGroupRows, kGroupRows * row_bytes) && (rest == 0 || pool.holds(first + rank / kGroupRows, 1, rest * row_bytes));
  }
};

inline Factor factor_b(const AdapterPool& pool, const AdapterEntry& entry) { return {pool, entry.first_b, entry.rank, in_groups(entry)}; }

// Compact rows of a factor.
struct CompactFactor {
  const AdapterPool& pool;
  int64_t first;  // in the row table
  int64_t rank, width;

  CompactGroup group(int64_t index) const {
    const int64_t left = rank - index * kGroupRows, rows = left < kGroupRows ? left : kGroupRows;
    return {static_cast<const uint8_t*>(pool.row(first + index)), rows, {rows, width}};
  }
  // The groups of rows first_row .. first_row + count, none of which is cut; gives their number.
  int groups(int64_t first_row, int64_t count, CompactGroup* to) const {
    int found = 0;
    for (int64_t row = 0; row < count; row += kGroupRows) to[found++] = group((first_row + row) / kGroupRows);
    return found;
  }
  // All groups exist and lie inside the pool.
  bool inside() const {
    const int64_t whole = rank / kGroupRows, rest = rank % kGroupRows;
    return pool.holds(first, whole, CompactGroupShape(kGroupRows, width).bytes()) &&
           (rest == 0 || pool.holds(first + whole, 1, CompactGroupShape(rest, width).bytes()));
  }
};

inline CompactFactor compact_a(const AdapterPool& pool, const AdapterEntry& entry, int64_t inputs) {
  return {pool, entry.first_a, entry.rank, inputs};
}
inline CompactFactor compact_b(const AdapterPool& pool, const AdapterEntry& entry, int64_t outputs) {
  return {pool, entry.first_b, entry.rank, outputs};
}

constexpr bool is_row_dtype(int32_t dtype) {
  return dtype == static_cast<int32_t>(DType::kF32) || dtype == static_cast<int32_t>(DType::kF16) || dtype == static_cast<int32_t>(DType::kBF16);
}

inline Status read_adapter_pool(const char* op, const TensorView& entries, const TensorView& rows, const TensorView& pool,
                                AdapterPool* out) {
  HEDDLE_CHECK(entries.rank == 3 && entries.dtype == DType::kI32 && entries.dims[2] == 8 && entries.dense(), op,
               "entries is " + describe(entries) + ": expected dense i32 [slots, sites, 8]");
  HEDDLE_CHECK(rows.rank == 1 && rows.dtype == DType::kI32, op, "rows is " + describe(rows) + ": expected i32 [rows]");
  HEDDLE_CHECK(pool.rank == 1 && pool.dtype == DType::kU8, op, "pool is " + describe(pool) + ": expected u8 [bytes]");
  *out = {entries.as<AdapterEntry>(), entries.dims[0], entries.dims[1], rows.as<int32_t>(), rows.dims[0], pool.as<std::byte>(),
          pool.dims[0]};
  return Status::success();
}

inline Status bad_entry(const char* op, int64_t slot, int64_t site, const std::string& what) {
  return fail(StatusCode::kInvalidArgument,
              std::string("[") + op + "] the adapter in slot " + std::to_string(slot) + " at site " + std::to_string(site) + " " + what);
}

// What all ops of the family ask of an entry: known kind and dtype, a rank, gain and shift rows of `outputs` floats.
inline Status check_entry(const char* op, const AdapterPool& pool, const AdapterEntry& entry, int64_t slot, int64_t site, int64_t outputs) {
  if (entry.kind != EntryKind::kLowRank && entry.kind != EntryKind::kDense)
    return bad_entry(op, slot, site, "is of kind " + std::to_string(static_cast<int32_t>(entry.kind)) + ": expected 0, 1 or 2");
  if (!is_row_dtype(entry.dtype))
    return bad_entry(op, slot, site, "has dtype " + std::to_string(entry.dtype) + ": expected f32, f16 or bf16");
  if (entry.rank < 0) return bad_entry(op, slot, site, "has rank " + std::to_string(entry.rank));
  for (int32_t row : {entry.gain, entry.shift}) {
    if (row < -1 || (row >= 0 && !pool.holds(row, 1, outputs * 4)))
      return bad_entry(op, slot, site, "has gain row " + std::to_string(entry.gain) + " and shift row " + std::to_string(entry.shift) +
                                           ": expected -1 or a row inside the pool");
  }
  return Status::success();
}

inline Status rows_outside(const char* op, int64_t slot, int64_t site, int64_t first, int64_t count) {
  const std::string range = std::to_string(first) + " to " + std::to_string(first + count);
  return bad_entry(op, slot, site, "has rows " + range + " that do not all lie inside the pool");
}

// index and weight of a family op: i32 and f32 [tokens, routes], dense.
inline Status check_route_shapes(const char* op, const TensorView& index, const TensorView& weight, int64_t tokens) {
  HEDDLE_CHECK(index.rank == 2 && index.dtype == DType::kI32 && index.dims[0] == tokens && index.dense(), op,
               "index is " + describe(index) + ": expected dense i32 [" + std::to_string(tokens) + ", routes]");
  const bool fits = weight.rank == 2 && weight.dims[0] == tokens && weight.dims[1] == index.dims[1];
  HEDDLE_CHECK(fits && weight.dtype == DType::kF32 && weight.dense(), op,
               "weight is " + describe(weight) + " but index is " + describe(index) + ": expected dense f32 of the same shape");
  return Status::success();
}

// The same, and every slot is -1 or exists.
inline Status check_routes(const char* op, const TensorView& index, const TensorView& weight, int64_t tokens, int64_t slots, bool* any) {
  HEDDLE_TRY(check_route_shapes(op, index, weight, tokens));
  const int32_t* slot = index.as<int32_t>();
  int32_t smallest = 0, largest = -1;
  for (int64_t i = 0; i < index.elements(); i++) {
    smallest = slot[i] < smallest ? slot[i] : smallest;
    largest = slot[i] > largest ? slot[i] : largest;
  }
  *any = largest >= 0;
  if (smallest >= -1 && largest < slots) return Status::success();
  const std::string found = std::to_string(smallest < -1 ? smallest : largest);
  return fail(StatusCode::kInvalidArgument,
              std::string("[") + op + "] index holds slot " + found + ": expected -1 to " + std::to_string(slots - 1));
}

// Cuts the tokens that have any adapter into tiles of at most `most`; `tiles` has room for one per token.
inline int64_t cut_tiles(const TensorView& index, TokenTile* tiles, int64_t most = kTileTokens) {
  const int64_t tokens = index.dims[0], routes = index.dims[1];
  const int32_t* slots = index.as<int32_t>();
  int64_t count = 0;
  for (int64_t first = 0; first < tokens;) {
    const int32_t* mine = slots + first * routes;
    int64_t next = first + 1;
    const auto same = [&](int64_t token) { return std::memcmp(mine, slots + token * routes, static_cast<size_t>(routes) * 4) == 0; };
    while (next < tokens && next < first + most && same(next)) next++;
    bool any = false;
    for (int64_t j = 0; j < routes; j++) any |= mine[j] >= 0;
    if (any) tiles[count++] = {static_cast<int32_t>(first), static_cast<int32_t>(next - first)};
    first = next;
  }
  return count;
}

// Calls check(slot) for the slots of every tile, skipping what the tile before already had.
template <class Check>
Status check_slots(const TensorView& index, const TokenTile* tiles, int64_t tile_count, const Check& check) {
  const int64_t routes = index.dims[1];
  const int32_t* before = nullptr;
  for (int64_t i = 0; i < tile_count; i++) {
    const int32_t* mine = index.as<int32_t>() + tiles[i].first * routes;
    for (int64_t j = 0; j < routes; j++)
      if (mine[j] >= 0 && (before == nullptr || before[j] != mine[j])) HEDDLE_TRY(check(mine[j]));
    before = mine;
  }
  return Status::success();
}

}  // namespace heddle
