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

// Outputs [16 first, 16 last) of inputs [column, column + 16) into `to` ([outputs, 16], bf16 [outputs / 2, 32]). Inputs
// beyond `inner` become zeros.
template <class Weight, bool kPairs>
void transpose_panel(const typename Weight::Element* weight, int64_t inner, int64_t column, int64_t first, int64_t last,
                     typename Weight::Element* to) {
  using Element = typename Weight::Element;
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

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
