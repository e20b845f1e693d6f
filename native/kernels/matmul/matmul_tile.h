// Register tiles of matmul: a few rows of a times a few panels of b. No include guard: one copy per target.
//
// Every element is one chain of multiply-adds over k in rising order, whatever the tile that computes it: its bits do not
// depend on the numbers of rows and columns, nor on how they are cut.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

#if defined(HEDDLE_TARGET_AVX512)
inline constexpr int kMatmulRows = 12;
constexpr int matmul_wide(int rows) { return rows <= 6 ? 4 : rows <= 8 ? 3 : 2; }
#elif defined(__aarch64__) || defined(HEDDLE_TARGET_AVX2)
inline constexpr int kMatmulRows = 6;
constexpr int matmul_wide(int rows) { return rows <= 1 ? 3 : rows <= 2 ? 2 : 1; }
#else
inline constexpr int kMatmulRows = 2;
constexpr int matmul_wide(int) { return 1; }
#endif

// kRows rows of y times kPanels panels of b over `depth` k. a: groups of kMatmulGroup k, [kRows, group] or, kColumnsFirst,
// [group, kRows]. b: lines of 16 columns b_step elements apart, panels panel_step apart. `resume` continues the chains that
// an earlier block left in y. The last panel has last_columns columns.
template <int kRows, int kPanels, bool kColumnsFirst>
__attribute__((noinline)) void matmul_tile(const float* a, const float* b, int64_t b_step, int64_t panel_step, int64_t depth, float* y, int64_t y_stride,
                                           int64_t last_columns, bool resume) {
  constexpr int kAlongRows = kColumnsFirst ? 1 : static_cast<int>(kMatmulGroup);
  constexpr int kAlongDepth = kColumnsFirst ? kRows : 1;
  // A last panel that sticks out over y goes through a copy, so that everything else moves whole vectors.
  float edge[kRows * kPanel];
  const size_t edge_bytes = static_cast<size_t>(last_columns) * sizeof(float);
  float* const y_last = y + (kPanels - 1) * kPanel;
  float* last = y_last;
  int64_t last_stride = y_stride;
  if (last_columns < kPanel) {
    std::memset(edge, 0, sizeof edge);
    if (resume)
      for (int r = 0; r < kRows; r++) std::memcpy(edge + r * kPanel, y_last + r * y_stride, edge_bytes);
    last = edge;
    last_stride = kPanel;
  }
  const auto place = [&](int r, int p) { return p + 1 < kPanels ? y + r * y_stride + p * kPanel : last + r * last_stride; };

  Vector sum[kRows][kPanels][kPanelVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 8
    for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
      for (int v = 0; v < kPanelVectors; v++) sum[r][p][v] = resume ? load(place(r, p) + v * kLanes) : zero();

  for (int64_t begin = 0; begin < depth; begin += kMatmulGroup, a += kRows * kMatmulGroup) {
    const int64_t steps = depth - begin < kMatmulGroup ? depth - begin : kMatmulGroup;
    const float* x = a;
    for (int64_t step = 0; step < steps; step++, x += kAlongDepth, b += b_step) {
      Vector w[kPanels][kPanelVectors];
#pragma GCC unroll 8
      for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
        for (int v = 0; v < kPanelVectors; v++) w[p][v] = load(b + p * panel_step + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; r++) {
        const Vector value = broadcast(x[r * kAlongRows]);
#pragma GCC unroll 8
        for (int p = 0; p < kPanels; p++)
#pragma GCC unroll 4
          for (int v = 0; v < kPanelVectors; v++) sum[r][p][v] = fma(w[p][v], value, sum[r][p][v]);
      }
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

using MatmulTile = void (*)(const float*, const float*, int64_t, int64_t, int64_t, float*, int64_t, int64_t, bool);

// By height: as wide as registers allow, or of one panel.
struct MatmulTiles {
  MatmulTile wide[kMatmulRows], one[kMatmulRows];

  template <bool kColumnsFirst, int... kIndexes>
  static constexpr MatmulTiles make(std::integer_sequence<int, kIndexes...>) {
    return {{&matmul_tile<kIndexes + 1, matmul_wide(kIndexes + 1), kColumnsFirst>...}, {&matmul_tile<kIndexes + 1, 1, kColumnsFirst>...}};
  }
};

// Rows [row, row + rows) and k [begin, begin + depth) of a into groups, see matmul_tile. a_stride: between rows in memory.
inline void pack_rows(const float* a, int64_t a_stride, bool transposed, int64_t rows, int64_t depth, float* to) {
  if (transposed) {
    for (int64_t i = 0; i < depth; i++) std::memcpy(to + i * rows, a + i * a_stride, static_cast<size_t>(rows) * sizeof(float));
    return;
  }
  for (int64_t begin = 0; begin < depth; begin += kMatmulGroup) {
    const int64_t count = depth - begin < kMatmulGroup ? depth - begin : kMatmulGroup;
    for (int64_t r = 0; r < rows; r++, to += kMatmulGroup) {
      const float* from = a + r * a_stride + begin;
      if (count == kMatmulGroup) {
#pragma GCC unroll 8
        for (int v = 0; v < kMatmulGroup; v += kLanes) store(to + v, load(from + v));
      } else {
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
      }
    }
  }
}

// `columns` columns and `depth` lines of b into panels [depth, 16], filled up with zeros.
inline void pack_columns(const float* b, int64_t b_stride, bool transposed, int64_t columns, int64_t depth, float* to) {
  for (int64_t first = 0; first < columns; first += kPanel, to += depth * kPanel) {
    const int64_t count = columns - first < kPanel ? columns - first : kPanel;
    if (!transposed) {
      const float* from = b + first;
      if (count == kPanel) {
        for (int64_t i = 0; i < depth; i++)
#pragma GCC unroll 4
          for (int v = 0; v < kPanelVectors; v++) store(to + i * kPanel + v * kLanes, load(from + i * b_stride + v * kLanes));
      } else {
        for (int64_t i = 0; i < depth; i++) {
          std::memset(to + i * kPanel, 0, kPanel * sizeof(float));
          std::memcpy(to + i * kPanel, from + i * b_stride, static_cast<size_t>(count) * sizeof(float));
        }
      }
      continue;
    }
    if (count < kPanel) std::memset(to, 0, static_cast<size_t>(depth * kPanel) * sizeof(float));
    // Squares of 16 x 16: a cache line of each column at a time.
    for (int64_t begin = 0; begin < depth; begin += kPanel) {
      const int64_t end = depth - begin < kPanel ? depth : begin + kPanel;
      for (int64_t c = 0; c < count; c++) {
        const float* from = b + (first + c) * b_stride;
        for (int64_t i = begin; i < end; i++) to[i * kPanel + c] = from[i];
      }
    }
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif  // HEDDLE_TARGET
