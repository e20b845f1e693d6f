// Register tiles of linear: a few rows of x times a few panels of the weight. No include guard: one copy per target.
//
// Every output is one chain of multiply-adds over k in rising order, whatever the tile that computes it: that is what
// makes a row's bits independent of how many rows there are.
#if defined(HEDDLE_TARGET)
#include "cpu/compact_unit_vectors.h"
namespace heddle::HEDDLE_TARGET {

#if defined(HEDDLE_TARGET_AVX512)
inline constexpr int kTileRows = 12;  // x 2 panels: 24 of 32 registers accumulate
#elif defined(__aarch64__)
inline constexpr int kTileRows = 6;
#elif defined(HEDDLE_TARGET_AVX2)
inline constexpr int kTileRows = 6;
#else
inline constexpr int kTileRows = 2;
#endif

// What differs between weights. A step covers kPairs pairs of k, kPairBytes each, in kPasses passes; `pass` picks the k (or
// the part of x). The operands of kTogether passes are made at once.
struct F32Weight {
  using Input = float;
  using Operand = Vector;
  struct Table {};
  static constexpr int kPairs = 1;
  static constexpr int kPasses = 2;
  static constexpr int kTogether = 1;
  static constexpr int kParts = 1;
  static constexpr int64_t kPairBytes = 2 * kPanel * sizeof(float);
  static HEDDLE_INLINE Table table(const uint8_t*) { return {}; }
  static HEDDLE_INLINE Operand weight(const std::byte* panel, Table, int pass, int v) {
    return load(reinterpret_cast<const float*>(panel) + pass * kPanel + v * kLanes);
  }
  static HEDDLE_INLINE Operand input(const Input* x, int pass) { return broadcast(x[pass]); }
  static HEDDLE_INLINE Vector accumulate(Operand w, Operand x, Vector sum) { return fma(w, x, sum); }
  static HEDDLE_INLINE void pack_group(const float* x, Input* to) { std::memcpy(to, x, kLinearGroup * sizeof(float)); }
};

struct F16Weight : F32Weight {
  static constexpr int64_t kPairBytes = 2 * kPanel * sizeof(uint16_t);
  static HEDDLE_INLINE Operand weight(const std::byte* panel, Table, int pass, int v) {
    return load_f16(reinterpret_cast<const uint16_t*>(panel) + pass * kPanel + v * kLanes);
  }
};

#if !defined(HEDDLE_TARGET_BF16_DOT)

struct Bf16Weight : F32Weight {
  static constexpr int64_t kPairBytes = kBf16PairBytes;
  static HEDDLE_INLINE Operand weight(const std::byte* panel, Table, int pass, int v) {
    const uint16_t* pairs = reinterpret_cast<const uint16_t*>(panel) + 2 * v * kLanes;
    return pass == 0 ? load_bf16_even(pairs) : load_bf16_odd(pairs);
  }
  // The operand of a pass from pairs in a register.
  static HEDDLE_INLINE Operand operand(Bytes pairs, int pass) { return pass == 0 ? widen_first(pairs) : widen_second(pairs); }
  // Element k of a row as it is multiplied, from its group.
  static HEDDLE_INLINE float value(const Input* group, int64_t k) { return group[k]; }
};
using Bf16WeightPrecise = Bf16Weight;

#else

// x is rounded to bf16, and one instruction takes two k of 16 outputs.
struct Bf16Weight {
  using Input = uint16_t;
  using Operand = __m512i;
  using Table = F32Weight::Table;
  static constexpr int kPairs = 1;
  static constexpr int kPasses = 1;
  static constexpr int kTogether = 1;
  static constexpr int kParts = 1;
  static constexpr int64_t kPairBytes = kBf16PairBytes;
  static HEDDLE_INLINE Table table(const uint8_t*) { return {}; }
  static HEDDLE_INLINE Operand weight(const std::byte* panel, Table, int, int) { return _mm512_loadu_si512(panel); }
  static HEDDLE_INLINE Operand operand(Bytes pairs, int) { return pairs; }
  static HEDDLE_INLINE Operand input(const Input* x, int pass) {
    int32_t pair;
    std::memcpy(&pair, x + pass * kLinearGroup, sizeof pair);
    return _mm512_set1_epi32(pair);
  }
  static HEDDLE_INLINE float value(const Input* group, int64_t k) { return bf16_to_f32(group[k]); }
  static HEDDLE_INLINE Vector accumulate(Operand w, Operand x, Vector sum) { return {_mm512_dpbf16_ps(sum.v, (__m512bh)w, (__m512bh)x)}; }
  static HEDDLE_INLINE void pack_group(const float* x, Input* to) {
    const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x));
    _mm512_storeu_si512(to, (__m512i)rounded);
  }
};

// x as the sum of two bf16: 16 bits of precision for twice the work.
struct Bf16WeightPrecise : Bf16Weight {
  static constexpr int kPasses = 2;
  static constexpr int kParts = 2;
  static HEDDLE_INLINE float value(const Input* group, int64_t k) { return bf16_to_f32(group[k]) + bf16_to_f32(group[kLinearGroup + k]); }
  static HEDDLE_INLINE void pack_group(const float* x, Input* to) {
    const __m512 low = _mm512_loadu_ps(x), high = _mm512_loadu_ps(x + 16);
    const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    _mm512_storeu_si512(to, rounded);
    _mm512_storeu_si512(to + kLinearGroup, (__m512i)_mm512_cvtne2ps_pbh(rest(high, _mm512_extracti64x4_epi64(rounded, 1)),
                                                                       rest(low, _mm512_castsi512_si256(rounded))));
  }
  // What rounding took away; nothing where the rounded value is infinite or NaN.
  static HEDDLE_INLINE __m512 rest(__m512 x, __m256i rounded) {
    const __m512 part = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
    const __m512 difference = _mm512_sub_ps(x, part);
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(_mm512_sub_ps(part, part), _mm512_setzero_ps(), _CMP_EQ_OQ), difference);
  }
};

#endif

// Units of compact panels (compact_panels.h), made bf16 in registers: two look-ups and four interleavings for 128 weights,
// which run beside the multiply-adds.
template <class Plain>
struct Compact : Plain {
  using Operand = typename Plain::Operand;
  using Input = typename Plain::Input;
  using Table = Bytes;
  static constexpr int kPairs = kUnitPairs;
  static constexpr int kPasses = kUnitPairs * Plain::kPasses;
  static constexpr int kTogether = 2 * Plain::kParts;
  static constexpr int64_t kPairBytes = kUnitBytes / kUnitPairs;
  static HEDDLE_INLINE Table table(const uint8_t* high_bytes) { return load_table(high_bytes); }
  static HEDDLE_INLINE Operand weight(const std::byte* unit, Table table, int pass, int v) {
    return Plain::operand(unit_line(unit, table, pass / Plain::kPasses, v), pass % Plain::kPasses);
  }
  static HEDDLE_INLINE Operand input(const Input* x, int pass) { return Plain::input(x + 2 * (pass / Plain::kPasses), pass % Plain::kPasses); }
};

// How many panels a tile of `rows` takes: enough chains to hide the latency of a multiply-add, few enough for the registers.
constexpr int tile_panels(int rows) {
#if defined(HEDDLE_TARGET_AVX512)
  return rows <= 6 ? 4 : rows <= 8 ? 3 : 2;
#elif defined(__aarch64__)
  return rows <= 1 ? 4 : rows <= 3 ? 2 : 1;
#elif defined(HEDDLE_TARGET_AVX2)
  return rows <= 1 ? 3 : rows <= 2 ? 2 : 1;
#else
  return rows <= 1 ? 2 : 1;
#endif
}

// The panels that a tile multiplies. Meanwhile the weight at `ahead` is fetched into the second level cache.
struct TilePanels {
  const std::byte* first;
  int64_t step;  // bytes from one panel to the next
  const std::byte* ahead;
  int64_t ahead_step;
  const uint8_t* high_bytes;  // of the first panel, if they are compact
};

// Where the chains of a tile begin.
enum class TileStart { kZero, kSums, kResume };

// kRows rows of y times kPanels panels, over `pairs` pairs of k. The panels lie column_step columns of y and bias apart; the
// last one has last_columns columns. The chains begin at zero, at `sums` [kRows, kPanels, 16], or where an earlier block of k
// left them in y; `bias` (only with the last block) is added at the end. x: groups of [kRows, kParts, kLinearGroup].
template <class Weight, int kRows, int kPanels>
__attribute__((noinline)) void linear_tile(const TilePanels& panels, const typename Weight::Input* x, int64_t pairs, float* y, int64_t y_stride,
                                           int64_t column_step, int64_t last_columns, TileStart start, const float* sums,
                                           const float* bias) {
  constexpr int kRow = Weight::kParts * static_cast<int>(kLinearGroup);
  // With few rows the weight streams in as fast as memory gives it and fetching ahead only costs; with more there are
  // pauses between the loads, which the hardware's prefetcher takes for the end of the stream.
  constexpr bool kFetches = 2 * kRows >= kTileRows;
  // A last panel that sticks out over y goes through a copy, so that everything else moves whole vectors.
  float edge[kRows * kPanel], edge_bias[kPanel];
  const size_t edge_bytes = static_cast<size_t>(last_columns) * sizeof(float);
  float* const y_last = y + (kPanels - 1) * column_step;
  float* last = y_last;
  int64_t last_stride = y_stride;
  const float* last_bias = bias == nullptr ? nullptr : bias + (kPanels - 1) * column_step;
  if (last_columns < kPanel) {
    if (start == TileStart::kResume)
      for (int r = 0; r < kRows; r++) std::memcpy(edge + r * kPanel, y_last + r * y_stride, edge_bytes);
    if (bias != nullptr) last_bias = static_cast<const float*>(std::memcpy(edge_bias, last_bias, edge_bytes));
    last = edge;
    last_stride = kPanel;
  }
  const auto place = [&](int r, int p) { return p + 1 < kPanels ? y + r * y_stride + p * column_step : last + r * last_stride; };

  Vector sum[kRows][kPanels][kPanelVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; v++)
        sum[r][p][v] = start == TileStart::kZero ? zero() : load((start == TileStart::kResume ? place(r, p) : sums + (r * kPanels + p) * kPanel) + v * kLanes);

  constexpr int64_t kStepBytes = Weight::kPairs * Weight::kPairBytes;
  const std::byte *weight = panels.first, *ahead = panels.ahead;
  const int64_t panel_step = panels.step, ahead_step = panels.ahead_step;
  typename Weight::Table table[kPanels];
#pragma GCC unroll 8
  for (int p = 0; p < kPanels; p++) table[p] = Weight::table(panels.high_bytes + p * panel_step);
  while (pairs > 0) {
    const int64_t group = pairs < kLinearGroup / 2 ? pairs : kLinearGroup / 2;
    for (int64_t pair = 0; pair < group; pair += Weight::kPairs, x += 2 * Weight::kPairs, weight += kStepBytes, ahead += kStepBytes) {
      if constexpr (kFetches) {
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
          for (int64_t line = 0; line < kStepBytes; line += kPanelLine) __builtin_prefetch(ahead + p * ahead_step + line, 0, 2);
      }
#pragma GCC unroll 8
      for (int first = 0; first < Weight::kPasses; first += Weight::kTogether) {
        typename Weight::Operand w[Weight::kTogether][kPanels][kPanelVectors];
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
          for (int i = 0; i < Weight::kTogether; i++)
#pragma GCC unroll 4
            for (int v = 0; v < kPanelVectors; v++) w[i][p][v] = Weight::weight(weight + p * panel_step, table[p], first + i, v);
#pragma GCC unroll 4
        for (int i = 0; i < Weight::kTogether; i++)
#pragma GCC unroll 16
          for (int r = 0; r < kRows; r++) {
            const typename Weight::Operand value = Weight::input(x + r * kRow, first + i);
#pragma GCC unroll 8
            for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
              for (int v = 0; v < kPanelVectors; v++) sum[r][p][v] = Weight::accumulate(w[i][p][v], value, sum[r][p][v]);
          }
      }
    }
    x += kRows * kRow - 2 * group;
    pairs -= group;
  }

  if (bias != nullptr) {
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; v++) {
        const Vector offset = load((p + 1 < kPanels ? bias + p * column_step : last_bias) + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < kRows; r++) sum[r][p][v] = add(sum[r][p][v], offset);
      }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; v++) store(place(r, p) + v * kLanes, sum[r][p][v]);
  if (last_columns < kPanel)
    for (int r = 0; r < kRows; r++) std::memcpy(y_last + r * y_stride, edge + r * kPanel, edge_bytes);
}

template <class Input>
using LinearTile = void (*)(const TilePanels&, const Input*, int64_t, float*, int64_t, int64_t, int64_t, TileStart, const float*, const float*);

// The tiles of one weight type: by height, and as wide as tile_panels allows, of two panels, or of one.
template <class Weight>
struct LinearTileTable {
  using Tile = LinearTile<typename Weight::Input>;
  Tile wide[kTileRows], two[kTileRows], one[kTileRows];

  // Making operands of compact weights takes registers too.
  static constexpr int widest(int rows) {
    const int most = tile_panels(rows);
    return Weight::kPairs > 1 && most > 2 && rows * Weight::kPasses / Weight::kPairs > 4 ? 2 : most;
  }

  template <int... kIndexes>
  static constexpr LinearTileTable make(std::integer_sequence<int, kIndexes...>) {
    return {{&linear_tile<Weight, kIndexes + 1, widest(kIndexes + 1)>...},
            {&linear_tile<Weight, kIndexes + 1, (widest(kIndexes + 1) > 2 ? 2 : widest(kIndexes + 1))>...},
            {&linear_tile<Weight, kIndexes + 1, 1>...}};
  }
  // By height, of `panels` panels: 1, 2, or as many as the widest tile of that height has.
  constexpr const Tile* of(int64_t panels) const { return panels == 1 ? one : panels == 2 ? two : wide; }
};

template <class Weight>
inline constexpr auto kLinearTiles = LinearTileTable<Weight>::make(std::make_integer_sequence<int, kTileRows>{});

// x[row, 0 .. k) of `rows` rows into groups of [rows, kParts, kLinearGroup], k filled up with zeros: groups [first, last).
template <class Weight>
void pack_input(const float* x, int64_t x_stride, int64_t rows, int64_t k, int64_t first, int64_t last, typename Weight::Input* packed) {
  typename Weight::Input* to = packed + first * rows * Weight::kParts * kLinearGroup;
  for (int64_t group = first; group < last; group++) {
    const int64_t begin = group * kLinearGroup;
    const int64_t count = k - begin < kLinearGroup ? k - begin : kLinearGroup;
    for (int64_t row = 0; row < rows; row++, to += Weight::kParts * kLinearGroup) {
      const float* from = x + row * x_stride + begin;
      float filled[kLinearGroup];
      if (count < kLinearGroup) {
        for (int64_t i = 0; i < kLinearGroup; i++) filled[i] = i < count ? from[i] : 0.0f;
        from = filled;
      }
      Weight::pack_group(from, to);
    }
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
