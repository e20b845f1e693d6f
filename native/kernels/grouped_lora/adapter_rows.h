// Vector code over rows of adapters. No include guard: one copy per target, inside HEDDLE_TARGET.
//
// Two loops do the work of the family. dot_rows: lanes along the row, one accumulator per (token, row). add_rows: lanes along
// the outputs, one accumulator per (token, vector), rows in order. Both read a row once for all tokens of a tile, and the order
// of additions behind one number is the same for every tile size. Rows of B in groups are read front to back, which the hardware
// fetches ahead by itself; rows of A, four side by side, are fetched by instructions.
namespace heddle::HEDDLE_TARGET {

struct Bf16Row {
  using Element = uint16_t;
  static HEDDLE_INLINE Vector load(const Element* p) { return load_bf16(p); }
  static HEDDLE_INLINE float scalar(Element e) { return bf16_to_f32(e); }
};
struct F16Row {
  using Element = uint16_t;
  static HEDDLE_INLINE Vector load(const Element* p) { return load_f16(p); }
  static HEDDLE_INLINE float scalar(Element e) { return f16_to_f32(e); }
};
struct F32Row {
  using Element = float;
  static HEDDLE_INLINE Vector load(const Element* p) { return HEDDLE_TARGET::load(p); }
  static HEDDLE_INLINE float scalar(Element e) { return e; }
};

// The first `count` elements of a row's end; a row may end at the pool's last byte.
template <class Row>
HEDDLE_INLINE Vector load_row_end(const typename Row::Element* p, int count) {
  typename Row::Element padded[kLanes] = {};
  std::memcpy(padded, p, static_cast<size_t>(count) * sizeof(typename Row::Element));
  return Row::load(padded);
}

// Sums of four vectors' lanes, each in the tree order of reduce_add.
HEDDLE_INLINE void reduce_add_four(const Vector* a, float* sums) {
#if defined(HEDDLE_TARGET_AVX512) || defined(HEDDLE_TARGET_AVX2)
  __m128 quarter[4];
  for (int i = 0; i < 4; i++) {
#if defined(HEDDLE_TARGET_AVX512)
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(a[i].v), _mm512_extractf32x8_ps(a[i].v, 1));
#else
    const __m256 half = a[i].v;
#endif
    quarter[i] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
  }
  const __m128 low01 = _mm_unpacklo_ps(quarter[0], quarter[1]), high01 = _mm_unpackhi_ps(quarter[0], quarter[1]);
  const __m128 low23 = _mm_unpacklo_ps(quarter[2], quarter[3]), high23 = _mm_unpackhi_ps(quarter[2], quarter[3]);
  const __m128 even = _mm_add_ps(_mm_movelh_ps(low01, low23), _mm_movelh_ps(high01, high23));
  const __m128 odd = _mm_add_ps(_mm_movehl_ps(low23, low01), _mm_movehl_ps(high23, high01));
  _mm_storeu_ps(sums, _mm_add_ps(even, odd));
#else
  for (int i = 0; i < 4; i++) sums[i] = reduce_add(a[i]);
#endif
}

#if defined(HEDDLE_TARGET_AVX512) || defined(__aarch64__)
inline constexpr bool kWideRegisters = true;
#else
inline constexpr bool kWideRegisters = false;
#endif
inline constexpr int kRowGroup = 4;

// Into the second level only: eight rows at equal distances already fill the ways of one set of the first.
template <class Element>
HEDDLE_INLINE void fetch_ahead(const Element* p) {
  __builtin_prefetch(p, 0, 2);
}

// So much of an adapter is on its way from memory while what came before it is computed, and up to twice as much where the rows that
// are read side by side are longer: memory takes as long as computing some kilobytes.
inline constexpr int64_t kFetchBytes = 8192;

// Fetches an adapter's rows of A in order, then kFetchBytes of what is read after them, kFetchBytes or more ahead of dot_rows.
class RowFetch {
 public:
  // `after`: where that begins, and how many bytes it has.
  RowFetch(const AdapterPool& pool, int64_t first_a, int64_t count, int64_t a_bytes, std::pair<const std::byte*, int64_t> after)
      : pool_(pool), next_(first_a), stop_(first_a + count), bytes_(a_bytes), after_(after) {
    const int64_t group = kRowGroup * a_bytes;
    const int64_t ahead = group < kFetchBytes ? kFetchBytes : group > 2 * kFetchBytes ? 2 * kFetchBytes : group;
    for (int64_t at = 0; at < ahead; at += 256) four();
  }

  // The next four lines.
  HEDDLE_INLINE void four() {
    if (end_ - at_ >= 256) {
      for (int i = 0; i < 4; i++) fetch_ahead(at_ + i * 64);
      at_ += 256;
      return;
    }
    for (int i = 0; i < 4; i++, at_ += 64) {
      if (at_ >= end_ && !advance()) return;
      fetch_ahead(at_);
    }
  }

 private:
  bool advance() {
    if (next_ < stop_) {
      at_ = static_cast<const std::byte*>(pool_.row(next_++));
      end_ = at_ + bytes_;
    } else {
      at_ = after_.first;
      end_ = at_ + (after_.second < kFetchBytes ? after_.second : kFetchBytes);
      after_ = {};
    }
    return at_ < end_;
  }

  const AdapterPool& pool_;
  int64_t next_, stop_, bytes_;
  std::pair<const std::byte*, int64_t> after_;
  const std::byte *at_ = nullptr, *end_ = nullptr;
};

// sums[t][r] += rows[r] . x[t] over one vector; the last may be short.
template <class Row, int kTokens, int kRows>
HEDDLE_INLINE void dot_step(const typename Row::Element* const* rows, const float* const* x, int64_t i, int lanes, Vector (*sums)[kRows]) {
  Vector a[kRows];
  for (int r = 0; r < kRows; r++) a[r] = lanes == kLanes ? Row::load(rows[r] + i) : load_row_end<Row>(rows[r] + i, lanes);
  for (int t = 0; t < kTokens; t++) {
    const Vector b = lanes == kLanes ? load(x[t] + i) : load_partial(x[t] + i, lanes);
    for (int r = 0; r < kRows; r++) sums[t][r] = fma(a[r], b, sums[t][r]);
  }
}

// out[r * kTileTokens + t] = rows[r] . x[t].
template <class Row, int kTokens, int kRows>
HEDDLE_INLINE void dot_row_group(const typename Row::Element* const* rows, RowFetch* fetch, const float* const* x, int64_t width, float* out) {
  // Fetches as fast as it reads: every step, or every few where a step reads less than four lines.
  constexpr int kStep = 2 * kLanes;
  constexpr int kStepBytes = kRows * kStep * static_cast<int>(sizeof(typename Row::Element));
  constexpr int kFours = kStepBytes < 256 ? 1 : kStepBytes / 256, kEvery = (kStepBytes < 256 ? 256 / kStepBytes : 1) * kStep;
  Vector sums[kTokens][kRows];
  for (int t = 0; t < kTokens; t++)
    for (int r = 0; r < kRows; r++) sums[t][r] = zero();
  int64_t i = 0;
  for (; i + 2 * kLanes <= width; i += 2 * kLanes) {
    if (fetch != nullptr && i % kEvery == 0)
      for (int four = 0; four < kFours; four++) fetch->four();
    dot_step<Row, kTokens, kRows>(rows, x, i, kLanes, sums);
    dot_step<Row, kTokens, kRows>(rows, x, i + kLanes, kLanes, sums);
  }
  for (; i + kLanes <= width; i += kLanes) dot_step<Row, kTokens, kRows>(rows, x, i, kLanes, sums);
  if (i < width) dot_step<Row, kTokens, kRows>(rows, x, i, static_cast<int>(width - i), sums);
  for (int t = 0; t < kTokens; t++) {
    if (kRows == kRowGroup) {
      float four[kRowGroup];
      reduce_add_four(sums[t], four);
      for (int r = 0; r < kRows; r++) out[r * kTileTokens + t] = four[r];
    } else {
      for (int r = 0; r < kRows; r++) out[r * kTileTokens + t] = reduce_add(sums[t][r]);
    }
  }
}

template <class Row, int kTokens>
void dot_rows(const AdapterPool& pool, int64_t first, int64_t count, const float* const* x, int64_t width, float* out, RowFetch* fetch) {
  const typename Row::Element* rows[kRowGroup];
  const auto point = [&](int64_t r) { return static_cast<const typename Row::Element*>(pool.row(first + r)); };
  int64_t r = 0;
  for (; r + kRowGroup <= count; r += kRowGroup) {
    for (int i = 0; i < kRowGroup; i++) rows[i] = point(r + i);
    dot_row_group<Row, kTokens, kRowGroup>(rows, fetch, x, width, out + r * kTileTokens);
  }
  for (; r < count; r++) {
    rows[0] = point(r);
    dot_row_group<Row, kTokens, 1>(rows, fetch, x, width, out + r * kTileTokens);
  }
}

// How one adapter's product joins the outputs of a tile. All pointers stand at the first output of the range, or are null.
struct Join {
  float* const* y;               // per token
  const float* const* original;  // per token: the base's output before any adapter; read where `own` is set
  const float* weight;           // per token
  const float* gain;
  const float* shift;
  const float* bias;
  bool own;       // gain or dense: the adapter's own value takes the base's place
  bool replaces;  // own, alone and at weight 1: stored as it is rather than as base + (own - base)
};

// Joins kVectors vectors of product[t] at output n of each token; `last` counts the lanes of the last vector.
template <int kTokens, int kVectors, bool kOwn>
HEDDLE_INLINE void join_at(const Join& how, const Vector (*product)[kVectors], int64_t n, int last) {
  for (int i = 0; i < kVectors; i++) {
    const int lanes = i + 1 < kVectors ? kLanes : last;
    const int64_t at = n + i * kLanes;
    const auto read = [&](const float* p) { return p == nullptr ? zero() : lanes == kLanes ? load(p + at) : load_partial(p + at, lanes); };
    const Vector gain = read(how.gain), shift = read(how.shift), bias = read(how.bias);
    for (int t = 0; t < kTokens; t++) {
      const Vector weight = broadcast(how.weight[t]);
      Vector joined;
      if (kOwn) {
        const Vector b = sub(read(how.original[t]), bias);
        const Vector own = add(how.gain != nullptr ? mul(gain, add(b, product[t][i])) : product[t][i], shift);
        joined = how.replaces ? add(own, bias) : fma(weight, sub(own, b), read(how.y[t]));
      } else {
        // The later rows of a large rank come here with a gain of their own.
        const Vector delta = how.gain != nullptr ? mul(gain, product[t][i]) : product[t][i];
        joined = fma(weight, add(delta, shift), read(how.y[t]));
      }
      if (lanes == kLanes) {
        store(how.y[t] + at, joined);
      } else {
        store_partial(how.y[t] + at, joined, lanes);
      }
    }
  }
}

// Elements of a piece, of which rows in a group take turns.
template <class Row>
inline constexpr int kPiece = static_cast<int>(kPieceBytes / sizeof(typename Row::Element));

// From the first of some neighbouring vectors of a row in a group to the i-th; they fill whole pieces or lie inside one.
template <class Row>
HEDDLE_INLINE int64_t vector_offset(int i, int64_t step) {
  return i * kLanes / kPiece<Row> * step + i * kLanes % kPiece<Row>;
}

// Vectors of outputs whose sums fit into the registers beside `tokens`, a power of two and at most a piece of a row.
template <class Row>
constexpr int add_vectors(int tokens) {
  int vectors = kPiece<Row> / kLanes;
  while (vectors * tokens > (kWideRegisters ? 16 : 8) && vectors > 1) vectors /= 2;
  return vectors;
}

// Outputs n .. n + kVectors * kLanes of each token, counted from `from`, joined with sum_j v[j][t] row j.
template <class Row, int kTokens, int kVectors>
HEDDLE_INLINE void add_rows_at(const RowGroup<typename Row::Element>* groups, int group_count, const float* v, const Join& how, int64_t from,
                               int64_t n, int last) {
  Vector sum[kTokens][kVectors];
  for (int t = 0; t < kTokens; t++)
    for (int i = 0; i < kVectors; i++) sum[t][i] = zero();
  for (int g = 0; g < group_count; g++) {
    const auto& group = groups[g];
    const int64_t at = (from + n) / kPiece<Row> * group.step + (from + n) % kPiece<Row>;
    for (int j = 0; j < group.count; j++, v += kTileTokens) {
      const typename Row::Element* row = group.rows[j] + at;
      Vector b[kVectors];
      for (int i = 0; i + 1 < kVectors; i++) b[i] = Row::load(row + i * kLanes);
      const typename Row::Element* end = row + (kVectors - 1) * kLanes;
      b[kVectors - 1] = last == kLanes ? Row::load(end) : load_row_end<Row>(end, last);
      for (int t = 0; t < kTokens; t++) {
        const Vector factor = broadcast(v[t]);
        for (int i = 0; i < kVectors; i++) sum[t][i] = fma(factor, b[i], sum[t][i]);
      }
    }
  }
  if (how.own) {
    join_at<kTokens, kVectors, true>(how, sum, n, last);
  } else {
    join_at<kTokens, kVectors, false>(how, sum, n, last);
  }
}

// Outputs from .. to of all tokens, with rows first .. first + count of B; v[j * kTileTokens + t] belongs to row first + j.
template <class Row, int kTokens>
void add_rows(const Factor& b, int64_t first, int count, const float* v, const Join& how, int64_t from, int64_t to) {
  constexpr int kVectors = add_vectors<Row>(kTokens);
  RowGroup<typename Row::Element> groups[kRankBlock / kGroupRows];
  const int group_count = b.groups(first, count, groups);
  const int64_t outputs = to - from;
  int64_t n = 0;
  for (; n + kVectors * kLanes <= outputs; n += kVectors * kLanes)
    add_rows_at<Row, kTokens, kVectors>(groups, group_count, v, how, from, n, kLanes);
  for (; n < outputs; n += kLanes) {
    const int64_t left = outputs - n;
    add_rows_at<Row, kTokens, 1>(groups, group_count, v, how, from, n, left < kLanes ? static_cast<int>(left) : kLanes);
  }
}

// Calls body with the row type of a dtype (checked before) as its first argument.
template <class Body>
HEDDLE_INLINE void with_row_type(int32_t dtype, const Body& body) {
  switch (static_cast<DType>(dtype)) {
    case DType::kBF16:
      return body(Bf16Row{});
    case DType::kF16:
      return body(F16Row{});
    default:
      return body(F32Row{});
  }
}

// Calls body with the tokens of a tile, 1 to kTileTokens, as a constant.
template <class Body>
HEDDLE_INLINE void with_tokens(int tokens, const Body& body) {
  static_assert(kTileTokens == 4, "a case each");
  switch (tokens) {
    case 1:
      return body(std::integral_constant<int, 1>{});
    case 2:
      return body(std::integral_constant<int, 2>{});
    case 3:
      return body(std::integral_constant<int, 3>{});
    default:
      return body(std::integral_constant<int, 4>{});
  }
}

template <class Row>
HEDDLE_INLINE void dot_rows_of_tile(const AdapterPool& pool, int64_t first, int64_t count, int tokens, const float* const* x, int64_t width,
                                    float* out, RowFetch* fetch = nullptr) {
  // Sixteen sums and their operands only fit where there are 32 registers; elsewhere a tile is two halves.
  if (!kWideRegisters && tokens > 2) {
    dot_rows<Row, 2>(pool, first, count, x, width, out, fetch);
    x += 2, out += 2, tokens -= 2, fetch = nullptr;
  }
  with_tokens(tokens, [&](auto n) { dot_rows<Row, n()>(pool, first, count, x, width, out, fetch); });
}

template <class Row>
HEDDLE_INLINE void add_rows_to_tile(const Factor& b, int64_t first, int count, int tokens, const float* v, const Join& how, int64_t from,
                                    int64_t to) {
  with_tokens(tokens, [&](auto n) { add_rows<Row, n()>(b, first, count, v, how, from, to); });
}

// One token's outputs joined with product[0 .. outputs).
HEDDLE_INLINE void join_product(const float* product, const Join& how, int64_t outputs) {
  for (int64_t n = 0; n < outputs; n += kLanes) {
    const int lanes = outputs - n < kLanes ? static_cast<int>(outputs - n) : kLanes;
    const Vector vector[1][1] = {{lanes == kLanes ? load(product + n) : load_partial(product + n, lanes)}};
    join_at<1, 1, true>(how, vector, n, lanes);
  }
}

}  // namespace heddle::HEDDLE_TARGET
