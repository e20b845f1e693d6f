// The inner loops of attention over the vectors of one target: no include guard, one copy per target.
//
// A register tile is `Rows` query rows. `next` is the following span, to be brought near while this one is computed; it is
// null where so many rows share the loads that there is nothing to hide.
//
// Loops over accumulators are unrolled by pragma: only then does GCC keep the arrays in registers.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

// Rows of a register tile, and the accumulators that the loops over keys and over values keep in registers.
#if defined(HEDDLE_TARGET_AVX512)
inline constexpr int kRegisterRows = 8, kScoreVectors = 16, kValueVectors = 16;
#elif defined(HEDDLE_TARGET_AVX2)
inline constexpr int kRegisterRows = 4, kScoreVectors = 8, kValueVectors = 8;
#elif defined(__aarch64__)
inline constexpr int kRegisterRows = 4, kScoreVectors = 16, kValueVectors = 16;
#else
inline constexpr int kRegisterRows = 2, kScoreVectors = 8, kValueVectors = 8;
#endif

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct CacheF32 {
  using Stored = float;
  static HEDDLE_INLINE Vector read(const float* p) { return load(p); }
  static HEDDLE_INLINE float read_one(const float* p) { return *p; }
};
struct CacheF16 {
  using Stored = uint16_t;
  static HEDDLE_INLINE Vector read(const uint16_t* p) { return load_f16(p); }
  static HEDDLE_INLINE float read_one(const uint16_t* p) { return f16_to_f32(*p); }
};
struct CacheBf16 {
  using Stored = uint16_t;
  static HEDDLE_INLINE Vector read(const uint16_t* p) { return load_bf16(p); }
  static HEDDLE_INLINE float read_one(const uint16_t* p) { return bf16_to_f32(*p); }
};

// Where a span's keys and values lie, block by block; null where no row of the tile looks.
template <class Stored>
struct SpanBlocks {
  const Stored* keys[kSpanBlocks] = {};
  const Stored* values[kSpanBlocks] = {};
  int64_t value_stride = 0;  // elements from one position to the next
};

// To the second cache: a span of f32 keys and values fills the first.
HEDDLE_INLINE void bring_near(const void* data, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(data) + i, 0, 2);
}

// scores[r][position] = q[r] . key[position] for whole blocks; q is [width][Rows].
template <class Type, int Rows, int Blocks>
void score_blocks(const float* q, const typename Type::Stored* const* keys, const typename Type::Stored* const* next, int64_t width,
                  float* scores) {
  constexpr int kVectors = Blocks * kPanelVectors;
  const typename Type::Stored* near[Blocks];
  for (int b = 0; b < Blocks; b++) near[b] = next[b] != nullptr ? next[b] : keys[b];
  Vector sums[Rows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; i++) sums[r][i] = zero();
  for (int64_t channel = 0; channel < width; channel++) {
    Vector key[kVectors];
#pragma GCC unroll 16
    for (int b = 0; b < Blocks; b++) bring_near(near[b] + channel * kBlockTokens, 1);
#pragma GCC unroll 16
    for (int b = 0; b < Blocks; b++)
#pragma GCC unroll 16
      for (int i = 0; i < kPanelVectors; i++) key[b * kPanelVectors + i] = Type::read(keys[b] + channel * kBlockTokens + i * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; r++) {
      const Vector x = broadcast(q[channel * Rows + r]);
#pragma GCC unroll 16
      for (int i = 0; i < kVectors; i++) sums[r][i] = fma(x, key[i], sums[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
    for (int i = 0; i < kVectors; i++) store(scores + r * kSpan + i * kLanes, sums[r][i]);
}

// output[r][column..] += weights[r][j] value[j][column..] for positions [begin, end) of the span, Columns vectors wide.
template <class Type, int Rows, int Columns>
void add_values(const float* weights, const SpanBlocks<typename Type::Stored>& span, const SpanBlocks<typename Type::Stored>* next,
                int64_t column, int begin, int end, float* output, int64_t output_stride) {
  using Stored = typename Type::Stored;
  if (begin >= end) return;
  output += column;
  Vector sums[Rows][Columns];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
    for (int i = 0; i < Columns; i++) sums[r][i] = load(output + r * output_stride + i * kLanes);
  for (int position = begin; position < end;) {
    const int block = position / kBlockTokens;
    const int stop = std::min<int>(end, (block + 1) * kBlockTokens);
    const Stored* value = span.values[block] + (position % kBlockTokens) * span.value_stride + column;
    const Stored* near = next != nullptr && next->values[block] != nullptr ? next->values[block] : span.values[block];
    near += (position % kBlockTokens) * span.value_stride + column;
    for (; position < stop; position++, value += span.value_stride, near += span.value_stride) {
      bring_near(near, Columns * kLanes * int64_t{sizeof(Stored)});
      Vector v[Columns];
#pragma GCC unroll 16
      for (int i = 0; i < Columns; i++) v[i] = Type::read(value + i * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < Rows; r++) {
        const Vector weight = broadcast(weights[r * kSpan + position]);
#pragma GCC unroll 16
        for (int i = 0; i < Columns; i++) sums[r][i] = fma(weight, v[i], sums[r][i]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
    for (int i = 0; i < Columns; i++) store(output + r * output_stride + i * kLanes, sums[r][i]);
}

// The part of a span that a row sees; begin == end == 0 for none.
struct SpanRange {
  int begin, end;
};

// Scores of one row become weights; its running maximum, sums and output are brought to the new maximum.
HEDDLE_INLINE void weigh(float* scores, SpanRange range, float soft_cap, float* maximum, float* sums, float* output, int64_t padded) {
  const int first = range.begin / kBlockTokens * kBlockTokens, last = (range.end + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
  if (soft_cap > 0) {
    const Vector cap = broadcast(soft_cap), inverse = broadcast(1.0f / soft_cap);
    for (int i = first; i < last; i += kLanes) store(scores + i, mul(cap, tanh(mul(load(scores + i), inverse))));
  }
  for (int i = first; i < range.begin; i++) scores[i] = kMinusInfinity;
  for (int i = range.end; i < last; i++) scores[i] = kMinusInfinity;
  Vector top = broadcast(kMinusInfinity);
  for (int i = first; i < last; i += kLanes) top = max(load(scores + i), top);
  const float before = *maximum;
  const float peak = std::max(before, reduce_max(top));
  const float base = peak == kMinusInfinity ? 0.0f : peak;  // -inf minus itself would be NaN
  if (peak != before && before != kMinusInfinity) {
    const Vector factor = exp(broadcast(before - base));
    for (int i = 0; i < kBlockTokens; i += kLanes) store(sums + i, mul(load(sums + i), factor));
    for (int64_t i = 0; i < padded; i += kLanes) store(output + i, mul(load(output + i), factor));
  }
  *maximum = peak;
  const Vector shift = broadcast(base);
  Vector total[kPanelVectors];
  for (int i = 0; i < kPanelVectors; i++) total[i] = load(sums + i * kLanes);
  for (int block = first; block < last; block += kBlockTokens)
    for (int i = 0; i < kPanelVectors; i++) {
      const Vector weight = exp(sub(load(scores + block + i * kLanes), shift));
      store(scores + block + i * kLanes, weight);
      total[i] = add(total[i], weight);
    }
  for (int i = 0; i < kPanelVectors; i++) store(sums + i * kLanes, total[i]);
}

template <class Type, int Rows>
void score_rows(const float* q, const SpanBlocks<typename Type::Stored>& span, const SpanBlocks<typename Type::Stored>* next,
                const SpanRange* ranges, int64_t width, float* scores) {
  constexpr int kStep = std::min<int>(kSpanBlocks, kScoreVectors / kPanelVectors / Rows);  // few rows: several blocks at once
  int begin = kSpan, end = 0;
  for (int r = 0; r < Rows; r++) {
    if (ranges[r].begin == ranges[r].end) continue;
    begin = std::min(begin, ranges[r].begin);
    end = std::max(end, ranges[r].end);
  }
  if (begin >= end) return;
  int block = begin / static_cast<int>(kBlockTokens);
  const int stop = (end - 1) / static_cast<int>(kBlockTokens) + 1;
  const typename Type::Stored* const* following = next == nullptr ? span.keys : next->keys;
  if constexpr (kStep > 1)
    for (; block + kStep <= stop; block += kStep)
      score_blocks<Type, Rows, kStep>(q, span.keys + block, following + block, width, scores + block * kBlockTokens);
  for (; block < stop; block++) score_blocks<Type, Rows, 1>(q, span.keys + block, following + block, width, scores + block * kBlockTokens);
}

template <class Type, int Rows, int Columns>
void add_value_columns(const float* weights, const SpanBlocks<typename Type::Stored>& span, const SpanBlocks<typename Type::Stored>* next,
                       int64_t column, const SpanRange* ranges, float* output, int64_t output_stride) {
  int begin = 0, end = kSpan;
  for (int r = 0; r < Rows; r++) {
    begin = std::max(begin, ranges[r].begin);
    end = std::min(end, ranges[r].end);
  }
  // What all rows see goes in one sweep, the ends row by row: a weight of zero is no substitute, for 0 * NaN is not 0.
  if (begin >= end) begin = end = kSpan;
  const auto add_row = [&](int r, int first, int last) {
    add_values<Type, 1, Columns>(weights + r * kSpan, span, nullptr, column, first, last, output + r * output_stride, output_stride);
  };
  if constexpr (Rows > 1)
    for (int r = 0; r < Rows; r++) add_row(r, ranges[r].begin, std::min(begin, ranges[r].end));
  add_values<Type, Rows, Columns>(weights, span, next, column, begin, end, output, output_stride);
  if constexpr (Rows > 1)
    for (int r = 0; r < Rows; r++) add_row(r, std::max(end, ranges[r].begin), ranges[r].end);
}

template <class Type, int Rows>
void add_value_rows(const float* weights, const SpanBlocks<typename Type::Stored>& span, const SpanBlocks<typename Type::Stored>* next,
                    const SpanRange* ranges, float* output, int64_t padded) {
  constexpr int kColumns = std::min(4, kValueVectors / Rows);
  int64_t column = 0;
  for (; column + kColumns * kLanes <= padded; column += kColumns * kLanes)
    add_value_columns<Type, Rows, kColumns>(weights, span, next, column, ranges, output, padded);
  for (; column < padded; column += kLanes) add_value_columns<Type, Rows, 1>(weights, span, next, column, ranges, output, padded);
}

}  // namespace heddle::HEDDLE_TARGET
#endif
