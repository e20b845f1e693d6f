// The loops of adapter_rows.h and token_block.h over compact rows, with the bits that plain rows give. No include guard: one copy per
// target, inside HEDDLE_TARGET, after token_block.h.
//
// Units are read in the order of their addresses, which the hardware fetches ahead by itself.
#include "cpu/compact_unit_vectors.h"

namespace heddle::HEDDLE_TARGET {

inline constexpr int kLineVectors = static_cast<int>(kLineNumbers) / kLanes;

// Calls use(line, its numbers as vectors in the order of the row) for the four lines of a unit, whose bytes are bytes(line, v).
template <class LineBytes, class Use>
HEDDLE_INLINE void for_lines(const LineBytes& bytes, const Use& use) {
#pragma GCC unroll 4
  for (int line = 0; line < kUnitLines; line++) {
    Vector numbers[kLineVectors];
    for (int v = 0; v < kLineVectors / 2; v++) {
      const Bytes pairs = bytes(line, v);
      numbers[v] = widen_first(pairs);
      numbers[kLineVectors / 2 + v] = widen_second(pairs);
    }
    use(line, numbers);
  }
}

// The same for a unit of a group.
template <class Use>
HEDDLE_INLINE void for_unit(const CompactGroup& group, Bytes table, int64_t unit, const Use& use) {
  if (__builtin_expect(group.has_exception(unit), 0)) {
    uint16_t lines[kUnitNumbers];
    expand_units(group.unit(unit), 1, group.bytes, lines);
    group.put_exceptions(unit, lines);
    for_lines([&](int line, int v) { return load_bytes(reinterpret_cast<const std::byte*>(lines + line * kLineNumbers) + v * kBytes); }, use);
  } else {
    const uint8_t* at = group.unit(unit);
    for_lines([&](int line, int v) { return unit_line(at, table, line, v); }, use);
  }
}

// out[r * kTileTokens + t] = row r . x[t] for 4 kFours rows of a group, the first of which is row 4 first_four.
template <int kTokens, int kFours>
HEDDLE_INLINE void dot_fours(const CompactGroup& group, int64_t first_four, const float* const* x, int64_t width, float* out) {
  const Bytes table = load_table(group.bytes);
  const int64_t fours = group.rows / kUnitLines;
  Vector sums[kTokens][kFours * kUnitLines];
  for (int t = 0; t < kTokens; t++)
    for (int r = 0; r < kFours * kUnitLines; r++) sums[t][r] = zero();
  for (int64_t at = 0, unit = first_four; at < width; at += kLineNumbers, unit += fours)
#pragma GCC unroll 4
    for (int four = 0; four < kFours; four++)
      for_unit(group, table, unit + four, [&](int line, const Vector* numbers) {
        for (int t = 0; t < kTokens; t++)
          for (int i = 0; i < kLineVectors; i++) {
            Vector& sum = sums[t][four * kUnitLines + line];
            sum = fma(numbers[i], load(x[t] + at + i * kLanes), sum);
          }
      });
  for (int t = 0; t < kTokens; t++)
    for (int four = 0; four < kFours; four++) {
      float dots[kUnitLines];
      reduce_add_four(sums[t] + four * kUnitLines, dots);
      for (int r = 0; r < kUnitLines; r++) out[(four * kUnitLines + r) * kTileTokens + t] = dots[r];
    }
}

template <int kTokens>
void dot_compact_rows(const CompactFactor& a, int64_t first, int64_t count, const float* const* x, float* out) {
  constexpr int kFours = 4 / kTokens;  // sixteen sums
  for (int64_t row = 0; row < count; row += kGroupRows) {
    const CompactGroup group = a.group((first + row) / kGroupRows);
    const int64_t fours = group.rows / kUnitLines;
    int64_t four = 0;
    const auto to = [&] { return out + (row + four * kUnitLines) * kTileTokens; };
    for (; four + kFours <= fours; four += kFours) dot_fours<kTokens, kFours>(group, four, x, a.width, to());
    for (; four < fours; four++) dot_fours<kTokens, 1>(group, four, x, a.width, to());
  }
}

// A piece of all groups: outputs n .. n + kLineNumbers of each token, counted from `from`.
template <int kTokens>
HEDDLE_INLINE void add_piece(const CompactGroup* groups, int group_count, const float* v, const Join& how, int64_t from, int64_t n) {
  Vector sum[kTokens][kLineVectors];
  for (int t = 0; t < kTokens; t++)
    for (int i = 0; i < kLineVectors; i++) sum[t][i] = zero();
  for (int g = 0; g < group_count; g++) {
    const Bytes table = load_table(groups[g].bytes);
    const int64_t fours = groups[g].rows / kUnitLines;
    for (int64_t four = 0; four < fours; four++, v += kUnitLines * kTileTokens)
      for_unit(groups[g], table, (from + n) / kLineNumbers * fours + four, [&](int line, const Vector* numbers) {
        for (int t = 0; t < kTokens; t++) {
          const Vector factor = broadcast(v[line * kTileTokens + t]);
          for (int i = 0; i < kLineVectors; i++) sum[t][i] = fma(factor, numbers[i], sum[t][i]);
        }
      });
  }
  if (how.own) {
    join_at<kTokens, kLineVectors, true>(how, sum, n, kLanes);
  } else {
    join_at<kTokens, kLineVectors, false>(how, sum, n, kLanes);
  }
}

// Outputs from .. to of all tokens, with rows first .. first + count of B; v[j * kTileTokens + t] belongs to row first + j.
template <int kTokens>
void add_compact_rows(const CompactFactor& b, int64_t first, int64_t count, const float* v, const Join& how, int64_t from, int64_t to) {
  CompactGroup groups[kRankBlock / kGroupRows];
  const int group_count = b.groups(first, count, groups);
  for (int64_t n = 0; n < to - from; n += kLineNumbers) add_piece<kTokens>(groups, group_count, v, how, from, n);
}

// Columns from .. to of a group's rows as f32, `stride` apart.
inline void widen_rows(const CompactGroup& group, int64_t from, int64_t to, float* rows, int64_t stride) {
  const Bytes table = load_table(group.bytes);
  const int64_t fours = group.rows / kUnitLines;
  for (int64_t at = from; at < to; at += kLineNumbers)
    for (int64_t four = 0; four < fours; four++)
      for_unit(group, table, at / kLineNumbers * fours + four, [&](int line, const Vector* numbers) {
        float* const row = rows + (four * kUnitLines + line) * stride + at - from;
        for (int i = 0; i < kLineVectors; i++) store(row + i * kLanes, numbers[i]);
      });
}

static_assert(kDotRows == kGroupRows, "a group at a time");

// dot_block over compact rows. `plain` is scratch of kDotRows * a.width floats.
inline void dot_compact_block(const CompactFactor& a, int64_t first, int64_t count, int tokens, const float* const* x, Products to, float* plain) {
  for (int64_t r = 0; r < count; r += kDotRows) {
    const int many = static_cast<int>(count - r < kDotRows ? count - r : kDotRows);
    const float* rows[kDotRows];
    for (int i = 0; i < many; i++) rows[i] = plain + i * a.width;
    widen_rows(a.group((first + r) / kGroupRows), 0, a.width, plain, a.width);
    dot_some_rows<F32Row>(rows, many, tokens, x, a.width, {to.out + r * to.row_stride, to.row_stride, to.token_stride});
  }
}

// add_block over compact rows. `plain` is scratch of kPlainFloats.
inline void add_compact_block(const CompactFactor& b, int64_t first, int64_t count, int tokens, const float* v, const BlockJoin& how, int64_t from,
                              int64_t to, float* plain) {
  CompactGroup compact[kRankBlock / kGroupRows];
  const int group_count = b.groups(first, count, compact);
  constexpr int64_t kStep = kAddVectors * kLanes > kLineNumbers ? kAddVectors * kLanes : kLineNumbers;
  static_assert(kStep % kLineNumbers == 0 && kPlainFloats >= kRankBlock * kStep, "whole lines, and room for some of every row");
  const int64_t columns = kPlainFloats / (group_count * kGroupRows) / kStep * kStep;
  RowGroup<float> groups[kRankBlock / kGroupRows];
  for (int g = 0; g < group_count; g++) {
    groups[g].count = static_cast<int>(compact[g].rows);
    groups[g].step = kPiece<F32Row>;
    for (int i = 0; i < groups[g].count; i++) groups[g].rows[i] = plain + (g * kGroupRows + i) * columns;
  }
  for (int64_t begin = 0; begin < to - from; begin += columns) {
    const int64_t end = begin + columns < to - from ? begin + columns : to - from;
    for (int g = 0; g < group_count; g++) widen_rows(compact[g], from + begin, from + end, plain + g * kGroupRows * columns, columns);
    add_columns<F32Row>(groups, group_count, tokens, v, how, -begin, begin, end);
  }
}

// What one adapter with compact rows adds to the outputs from .. to of one tile at one site.
template <int kTokens>
void add_compact(const AdapterPool& pool, const AdapterEntry& entry, const float* const* x, int64_t inputs, int64_t outputs, Join how, int64_t from,
                 int64_t to) {
  const CompactFactor a = compact_a(pool, entry, inputs), b = compact_b(pool, entry, outputs);
  float v[kRankBlock * kTileTokens];
  int64_t done = 0;
  do {
    const int64_t count = entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock;
    dot_compact_rows<kTokens>(a, done, count, x, v);
    for (int64_t i = 0; i < count * kTileTokens; i++) v[i] *= entry.scale;
    add_compact_rows<kTokens>(b, done, count, v, how, from, to);
    done += count;
    how.own = how.replaces = false;
    how.shift = nullptr;
  } while (done < entry.rank);
}

inline void add_compact_to_tile(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* const* x, int64_t inputs, int64_t outputs,
                                const Join& how, int64_t from, int64_t to) {
  with_tokens(tokens, [&](auto n) { add_compact<n()>(pool, entry, x, inputs, outputs, how, from, to); });
}

// add_low_rank_block over compact rows; `plain` is scratch of plain_floats.
inline void add_compact_low_rank_block(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* const* x, int64_t inputs,
                                       int64_t outputs, const BlockJoin& how, int64_t from, int64_t to, float* v, float* plain) {
  const CompactFactor a = compact_a(pool, entry, inputs), b = compact_b(pool, entry, outputs);
  for_rank_blocks(
      entry.rank, entry.scale, tokens, v, how,
      [&](int64_t first, int count) { dot_compact_block(a, first, count, tokens, x, {v, kBlockTokens, 1}, plain); },
      [&](int64_t first, int count, const BlockJoin& join) { add_compact_block(b, first, count, tokens, v, join, from, to, plain); });
}

}  // namespace heddle::HEDDLE_TARGET
