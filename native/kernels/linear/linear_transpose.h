// Blocks of a packed weight turned around: 16 inputs side by side, outputs (bf16: pairs of outputs) going down, which is
// what the tiles of linear read when they multiply with the transposed weight. No include guard: one copy per target.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

// 16 x 16 elements: from[k][n] becomes to[n][k].
template <class Element>
HEDDLE_INLINE void transpose_plain(const Element* __restrict from, Element* __restrict to) {
  if constexpr (sizeof(Element) == sizeof(float)) {
    transpose_block([&](int k) { return from + k * kPanel; }, to, kPanel);
  } else {
    for (int n = 0; n < kPanel; n++)
      for (int k = 0; k < kPanel; k++) to[n * kPanel + k] = from[k * kPanel + n];
  }
}

// 16 x 16 elements of 16 bits in pairs: from[k / 2][n][k % 2] becomes to[n / 2][k][n % 2]. Seen as 8 x 8 cells of two k by
// two n, the cells are transposed and the two inner elements of each cell change places.
HEDDLE_INLINE void transpose_pairs(const uint16_t* __restrict from, uint16_t* __restrict to) {
#if defined(HEDDLE_TARGET_AVX512)
  const __m512i swap = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
  __m512i row[8], pair[8], four[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) row[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(from + i * 2 * kPanel), swap);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    pair[i] = _mm512_unpacklo_epi64(row[2 * i], row[2 * i + 1]);      // columns 0, 2, 4, 6 of two rows
    pair[4 + i] = _mm512_unpackhi_epi64(row[2 * i], row[2 * i + 1]);  // columns 1, 3, 5, 7
  }
#pragma GCC unroll 2
  for (int odd = 0; odd < 2; odd++)
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      const __m512i a = pair[4 * odd + 2 * half], b = pair[4 * odd + 2 * half + 1];
      four[4 * odd + half] = _mm512_shuffle_i64x2(a, b, 0x88);      // columns odd and odd + 4 of four rows
      four[4 * odd + 2 + half] = _mm512_shuffle_i64x2(a, b, 0xdd);  // columns odd + 2 and odd + 6
    }
#pragma GCC unroll 2
  for (int odd = 0; odd < 2; odd++)
#pragma GCC unroll 2
    for (int upper = 0; upper < 2; upper++) {
      const __m512i a = four[4 * odd + 2 * upper], b = four[4 * odd + 2 * upper + 1];
      const int column = odd + 2 * upper;
      _mm512_storeu_si512(to + column * 2 * kPanel, _mm512_shuffle_i64x2(a, b, 0x88));
      _mm512_storeu_si512(to + (column + 4) * 2 * kPanel, _mm512_shuffle_i64x2(a, b, 0xdd));
    }
#else
  for (int n = 0; n < kPanel / 2; n++)
    for (int k = 0; k < kPanel / 2; k++) {
      uint64_t cell;
      std::memcpy(&cell, from + k * 2 * kPanel + 4 * n, sizeof cell);
      cell = (cell & 0xffff00000000ffffu) | ((cell & 0xffff0000u) << 16) | ((cell >> 16) & 0xffff0000u);
      std::memcpy(to + n * 2 * kPanel + 4 * k, &cell, sizeof cell);
    }
#endif
}

// Blocks of 16 inputs by 16 outputs of packed panels.
template <class T, bool kPairs>
struct PanelBlocks {
  using Element = T;
  const Element* weight;
  int64_t inner;

  PanelBlocks(const void* packed, int64_t k) : weight(static_cast<const Element*>(packed)), inner(linear_inner(k)) {}

  // Outputs [16 first, 16 last) of inputs [column, column + 16) into `to` ([outputs, 16], in pairs [outputs / 2, 32]). Inputs
  // beyond `inner` become zeros.
  void turn(int64_t column, int64_t first, int64_t last, Element* to) const {
    alignas(64) Element filled[kPanel * kPanel];
    const int64_t count = inner - column < kPanel ? inner - column : kPanel;
    if (count < kPanel) std::memset(filled, 0, sizeof filled);
    for (int64_t panel = first; panel < last; panel++, to += kPanel * kPanel) {
      const Element* from = weight + (panel * inner + column) * kPanel;
      if (count < kPanel) {
        std::memcpy(filled, from, static_cast<size_t>(count * kPanel) * sizeof(Element));
        from = filled;
      }
      if constexpr (kPairs)
        transpose_pairs(from, to);
      else
        transpose_plain(from, to);
    }
  }
};

// The same of a weight whose panels may be compact.
struct CompactBlocks {
  using Element = uint16_t;
  PanelRows rows;
  int64_t inner, units;

  CompactBlocks(const void* weight, int64_t k) : rows{static_cast<const std::byte*>(weight), k}, inner(linear_inner(k)), units(compact_units(k)) {}

  void turn(int64_t column, int64_t first, int64_t last, uint16_t* to) const {
    const int64_t count = inner - column < kPanel ? inner - column : kPanel;
    const bool compact = first < last && rows.compact();
    for (int64_t panel = first; panel < last; panel++, to += kPanel * kPanel) {
      alignas(64) uint16_t block[kPanel * kPanel] = {};
      const PanelHeader& header = rows.panel(panel);
      if (compact)
        expand(header, column, count, block);
      else
        std::memcpy(block, reinterpret_cast<const std::byte*>(&header + 1) + column / 2 * kPanelLine, static_cast<size_t>(count / 2 * kPanelLine));
      transpose_pairs(block, to);
    }
  }

 private:
  void expand(const PanelHeader& header, int64_t column, int64_t count, uint16_t* block) const {
    const int64_t unit = column / (2 * kUnitPairs);
    expand_units(rows.unit(header, unit), std::min<int64_t>(2, units - unit), header.high_bytes, block);
    std::memset(block + count * kPanel, 0, static_cast<size_t>((kPanel - count) * kPanel) * sizeof(uint16_t));
    const auto begin = static_cast<uint32_t>(column * kPanel);
    const PanelException* end = header.list() + rows.exceptions(header);
    const auto before = [](const PanelException& exception, uint32_t place) { return exception.place < place; };
    for (const PanelException* e = std::lower_bound(header.list(), end, begin, before); e < end && e->place - begin < kPanel * kPanel && rows.holds(*e); e++) {
      const int64_t row = e->place / kPanel - column, lane = e->place % kPanel;
      block[row / 2 * 2 * kPanel + lane * 2 + row % 2] = e->bits;
    }
  }
};

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
