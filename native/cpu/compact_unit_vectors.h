// Units of cpu/compact_unit.h in registers. No include guard: one copy per target, after cpu/simd.h.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

inline constexpr int64_t kBytes = 4 * kLanes;

#if defined(HEDDLE_TARGET_AVX512)

using Bytes = __m512i;
HEDDLE_INLINE Bytes load_bytes(const void* p) { return _mm512_loadu_si512(p); }
HEDDLE_INLINE void store_bytes(void* p, Bytes a) { _mm512_storeu_si512(p, a); }
// 16 bytes, again in each sixteen.
HEDDLE_INLINE Bytes load_table(const void* p) { return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
HEDDLE_INLINE Bytes low_codes(Bytes a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
HEDDLE_INLINE Bytes high_codes(Bytes a) { return low_codes(_mm512_srli_epi16(a, 4)); }
HEDDLE_INLINE Bytes look_up(Bytes table, Bytes codes) { return _mm512_shuffle_epi8(table, codes); }
// The lower or upper eight of each sixteen, a's bytes before b's.
HEDDLE_INLINE Bytes interleave_lower(Bytes a, Bytes b) { return _mm512_unpacklo_epi8(a, b); }
HEDDLE_INLINE Bytes interleave_upper(Bytes a, Bytes b) { return _mm512_unpackhi_epi8(a, b); }
// Of pairs of bf16, the first or the second ones.
HEDDLE_INLINE Vector widen_first(Bytes a) { return {_mm512_castsi512_ps(_mm512_slli_epi32(a, 16))}; }
HEDDLE_INLINE Vector widen_second(Bytes a) { return {_mm512_castsi512_ps(_mm512_and_si512(a, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))}; }

#elif defined(HEDDLE_TARGET_AVX2)

using Bytes = __m256i;
HEDDLE_INLINE Bytes load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
HEDDLE_INLINE void store_bytes(void* p, Bytes a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
HEDDLE_INLINE Bytes load_table(const void* p) { return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
HEDDLE_INLINE Bytes low_codes(Bytes a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
HEDDLE_INLINE Bytes high_codes(Bytes a) { return low_codes(_mm256_srli_epi16(a, 4)); }
HEDDLE_INLINE Bytes look_up(Bytes table, Bytes codes) { return _mm256_shuffle_epi8(table, codes); }
HEDDLE_INLINE Bytes interleave_lower(Bytes a, Bytes b) { return _mm256_unpacklo_epi8(a, b); }
HEDDLE_INLINE Bytes interleave_upper(Bytes a, Bytes b) { return _mm256_unpackhi_epi8(a, b); }
HEDDLE_INLINE Vector widen_first(Bytes a) { return {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16))}; }
HEDDLE_INLINE Vector widen_second(Bytes a) { return {_mm256_castsi256_ps(_mm256_and_si256(a, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))}; }

#elif defined(__aarch64__)

using Bytes = uint8x16_t;
HEDDLE_INLINE Bytes load_bytes(const void* p) { return vld1q_u8(static_cast<const uint8_t*>(p)); }
HEDDLE_INLINE void store_bytes(void* p, Bytes a) { vst1q_u8(static_cast<uint8_t*>(p), a); }
HEDDLE_INLINE Bytes load_table(const void* p) { return load_bytes(p); }
HEDDLE_INLINE Bytes low_codes(Bytes a) { return vandq_u8(a, vdupq_n_u8(15)); }
HEDDLE_INLINE Bytes high_codes(Bytes a) { return vshrq_n_u8(a, 4); }
HEDDLE_INLINE Bytes look_up(Bytes table, Bytes codes) { return vqtbl1q_u8(table, codes); }
HEDDLE_INLINE Bytes interleave_lower(Bytes a, Bytes b) { return vzip1q_u8(a, b); }
HEDDLE_INLINE Bytes interleave_upper(Bytes a, Bytes b) { return vzip2q_u8(a, b); }
HEDDLE_INLINE Vector widen_first(Bytes a) { return {vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u8(a), 16))}; }
HEDDLE_INLINE Vector widen_second(Bytes a) { return {vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u8(a), vdupq_n_u32(0xffff0000u)))}; }

#else

// Without look-ups in registers: right, but slower than plain numbers (compact_pays).
struct Bytes {
  uint8_t at[kBytes];
};
HEDDLE_INLINE Bytes load_bytes(const void* p) {
  Bytes a;
  std::memcpy(a.at, p, sizeof a);
  return a;
}
HEDDLE_INLINE void store_bytes(void* p, Bytes a) { std::memcpy(p, a.at, sizeof a); }
HEDDLE_INLINE Bytes load_table(const void* p) { return load_bytes(p); }
HEDDLE_INLINE Bytes low_codes(Bytes a) {
  for (uint8_t& byte : a.at) byte &= 15;
  return a;
}
HEDDLE_INLINE Bytes high_codes(Bytes a) {
  for (uint8_t& byte : a.at) byte >>= 4;
  return a;
}
HEDDLE_INLINE Bytes look_up(Bytes table, Bytes codes) {
  for (uint8_t& byte : codes.at) byte = table.at[byte];
  return codes;
}
HEDDLE_INLINE Bytes interleave(const uint8_t* a, const uint8_t* b) {
  Bytes both;
  for (int i = 0; i < kBytes / 2; i++) {
    both.at[2 * i] = a[i];
    both.at[2 * i + 1] = b[i];
  }
  return both;
}
HEDDLE_INLINE Bytes interleave_lower(Bytes a, Bytes b) { return interleave(a.at, b.at); }
HEDDLE_INLINE Bytes interleave_upper(Bytes a, Bytes b) { return interleave(a.at + kBytes / 2, b.at + kBytes / 2); }
HEDDLE_INLINE Vector widen_first(Bytes a) { return load_bf16_even(reinterpret_cast<const uint16_t*>(a.at)); }
HEDDLE_INLINE Vector widen_second(Bytes a) { return load_bf16_odd(reinterpret_cast<const uint16_t*>(a.at)); }

#endif

// Line `line` of the unit at `unit`: bytes [v kBytes, (v + 1) kBytes).
HEDDLE_INLINE Bytes unit_line(const void* unit, Bytes table, int line, int v) {
  const std::byte* at = static_cast<const std::byte*>(unit) + v * kBytes;
  const Bytes low = load_bytes(at + line / 2 * kUnitLine), codes = load_bytes(at + 2 * kUnitLine);
  const Bytes high = look_up(table, line < 2 ? low_codes(codes) : high_codes(codes));
  return line % 2 == 0 ? interleave_lower(low, high) : interleave_upper(low, high);
}

// `units` units as their lines.
HEDDLE_INLINE void expand_units(const uint8_t* unit, int64_t units, const uint8_t* high_bytes, uint16_t* to) {
  const Bytes table = load_table(high_bytes);
  for (int64_t i = 0; i < units; i++, unit += kUnitBytes)
#pragma GCC unroll 4
    for (int line = 0; line < kUnitLines; line++)
#pragma GCC unroll 4
      for (int v = 0; v < kUnitLine / kBytes; v++, to += kBytes / 2) store_bytes(to, unit_line(unit, table, line, v));
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
