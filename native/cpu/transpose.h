// 16 x 16 floats turned around, over the vectors of one target: no include guard, one copy per target.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

// to[c * to_stride + r] = row(r)[c] for r and c below 16; row(r) is a const float*.
template <class Row>
HEDDLE_INLINE void transpose_block(const Row& row, float* to, int64_t to_stride) {
#if defined(HEDDLE_TARGET_AVX512)
  __m512 pair[16], four[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {  // two rows, four columns apart
    const __m512 a = _mm512_loadu_ps(row(2 * i)), b = _mm512_loadu_ps(row(2 * i + 1));
    pair[2 * i] = _mm512_unpacklo_ps(a, b);
    pair[2 * i + 1] = _mm512_unpackhi_ps(a, b);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++)
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {  // four rows of columns 2 half and 2 half + 1 of each quarter
      const __m512d a = _mm512_castps_pd(pair[4 * i + half]), b = _mm512_castps_pd(pair[4 * i + 2 + half]);
      four[4 * i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      four[4 * i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m512 even = _mm512_shuffle_f32x4(four[i], four[4 + i], 0x88), even_rest = _mm512_shuffle_f32x4(four[8 + i], four[12 + i], 0x88);
    const __m512 odd = _mm512_shuffle_f32x4(four[i], four[4 + i], 0xdd), odd_rest = _mm512_shuffle_f32x4(four[8 + i], four[12 + i], 0xdd);
    _mm512_storeu_ps(to + i * to_stride, _mm512_shuffle_f32x4(even, even_rest, 0x88));
    _mm512_storeu_ps(to + (4 + i) * to_stride, _mm512_shuffle_f32x4(odd, odd_rest, 0x88));
    _mm512_storeu_ps(to + (8 + i) * to_stride, _mm512_shuffle_f32x4(even, even_rest, 0xdd));
    _mm512_storeu_ps(to + (12 + i) * to_stride, _mm512_shuffle_f32x4(odd, odd_rest, 0xdd));
  }
#elif defined(HEDDLE_TARGET_AVX2)
  for (int first = 0; first < 16; first += 8)
    for (int column = 0; column < 16; column += 8) {
      __m256 pair[8], four[8];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        const __m256 a = _mm256_loadu_ps(row(first + 2 * i) + column), b = _mm256_loadu_ps(row(first + 2 * i + 1) + column);
        pair[2 * i] = _mm256_unpacklo_ps(a, b);
        pair[2 * i + 1] = _mm256_unpackhi_ps(a, b);
      }
#pragma GCC unroll 2
      for (int i = 0; i < 2; i++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
          const __m256d a = _mm256_castps_pd(pair[4 * i + half]), b = _mm256_castps_pd(pair[4 * i + 2 + half]);
          four[4 * i + 2 * half] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
          four[4 * i + 2 * half + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + (column + i) * to_stride + first, _mm256_permute2f128_ps(four[i], four[4 + i], 0x20));
        _mm256_storeu_ps(to + (column + 4 + i) * to_stride + first, _mm256_permute2f128_ps(four[i], four[4 + i], 0x31));
      }
    }
#else
  for (int r = 0; r < 16; r++) {
    const float* from = row(r);
    for (int c = 0; c < 16; c++) to[c * to_stride + r] = from[c];
  }
#endif
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
