// Register tiles of self_attention and its gradient over the vectors of one target: no include guard, one copy per target.
//
// Lanes are the rows of a packed operand (queries, or keys in the gradient of keys and values). Every score is one chain
// over the channels, every output one chain over what it sums in rising order, whatever tile computes it.
//
// Loops over accumulators are unrolled by pragma: only then does GCC keep the arrays in registers.
#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

#if defined(HEDDLE_TARGET_AVX512)
inline constexpr int kDotVectors = 2, kDotRows = 8, kSumRows = 4, kSumVectors = 4;
#elif defined(HEDDLE_TARGET_AVX2)
inline constexpr int kDotVectors = 2, kDotRows = 4, kSumRows = 4, kSumVectors = 2;
#elif defined(__aarch64__)
inline constexpr int kDotVectors = 4, kDotRows = 4, kSumRows = 4, kSumVectors = 4;
#else
inline constexpr int kDotVectors = 2, kDotRows = 4, kSumRows = 4, kSumVectors = 2;
#endif
inline constexpr int kDotLanes = kDotVectors * kLanes;
inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Calls body(first, std::integral_constant<int, n>) for register tiles of kMost rows, then fewer, over [begin, end).
template <int kMost, class Body>
HEDDLE_INLINE void for_row_tiles(int begin, int end, const Body& body) {
  for (; begin + kMost <= end; begin += kMost) body(begin, std::integral_constant<int, kMost>());
  if constexpr (kMost > 1)
    if (begin < end) for_row_tiles<kMost / 2>(begin, end, body);
}

// Lane i of the tiles is rows[i]: to[i / kDotLanes][channel][i % kDotLanes]; lanes without a row are zero.
inline void pack_rows(const float* const* rows, int count, int64_t width, float* to) {
  const auto place = [&](int lane, int64_t channel) { return to + lane / kDotLanes * kDotLanes * width + channel * kDotLanes + lane % kDotLanes; };
  constexpr int kBlock = 16;
  static constexpr float kNothing[kBlock] = {};
  int64_t channel = 0;
  if constexpr (kDotLanes % kBlock == 0)
    for (; channel + kBlock <= width; channel += kBlock)
      for (int lane = 0; lane % kDotLanes != 0 || lane < count; lane += kBlock)
        transpose_block([&](int r) { return lane + r < count ? rows[lane + r] + channel : kNothing; }, place(lane, channel), kDotLanes);
  for (; channel < width; channel++)
    for (int lane = 0; lane % kDotLanes != 0 || lane < count; lane++) *place(lane, channel) = lane < count ? rows[lane][channel] : 0.0f;
}

// Rows from anywhere one after the other, filled up with zeros to whole vectors: where they were they may be so many bytes
// apart that they fall into a few sets of the first cache.
HEDDLE_INLINE void copy_row(const float* from, int64_t width, int64_t padded, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) store(to + i, load(from + i));
  if (i < width) store(to + i, load_partial(from + i, static_cast<int>(width - i)));
  for (i = i < width ? i + kLanes : i; i < padded; i += kLanes) store(to + i, zero());
}

// to[r][lane] = sum over channels of packed[channel][lane] rows[r][channel], kDotLanes lanes.
template <int kRows>
__attribute__((noinline)) void dot_tile(const float* packed, const float* rows, int64_t stride, int64_t width, float* to) {
  Vector sum[kRows][kDotVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < kDotVectors; i++) sum[r][i] = zero();
  for (int64_t channel = 0; channel < width; channel++, packed += kDotLanes) {
    Vector x[kDotVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kDotVectors; i++) x[i] = load(packed + i * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; r++) {
      const Vector y = broadcast(rows[r * stride + channel]);
#pragma GCC unroll 4
      for (int i = 0; i < kDotVectors; i++) sum[r][i] = fma(x[i], y, sum[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < kDotVectors; i++) store(to + r * kAttentionTile + i * kLanes, sum[r][i]);
}

// Rows [begin, end) times the kDotLanes lanes from `lane`.
HEDDLE_INLINE void dot_rows(const SelfAttentionJob& job, const float* packed, const float* rows, int begin, int end, int lane, float* to) {
  for_row_tiles<kDotRows>(begin, end, [&](int first, auto size) {
    dot_tile<decltype(size)::value>(packed + lane * job.width, rows + first * job.padded, job.padded, job.width, to + first * kAttentionTile + lane);
  });
}

// to[r][column..] += sum over i in [begin, end) of weights[i][r] rows[i][column..]; kRows r, kVectors vectors of columns.
template <int kRows, int kVectors>
__attribute__((noinline)) void add_tile(const float* weights, const float* rows, int begin, int end, int64_t stride, float* to) {
  Vector sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; i++) sum[r][i] = load(to + r * stride + i * kLanes);
  weights += begin * kAttentionTile;
  rows += begin * stride;
  for (int index = begin; index < end; index++, weights += kAttentionTile, rows += stride) {
    Vector x[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; i++) x[i] = load(rows + i * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; r++) {
      const Vector y = broadcast(weights[r]);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; i++) sum[r][i] = fma(y, x[i], sum[r][i]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; i++) store(to + r * stride + i * kLanes, sum[r][i]);
}

// The same for all columns, of which there are whole vectors.
template <int kRows>
HEDDLE_INLINE void add_columns(const float* weights, const float* rows, int begin, int end, int64_t padded, float* to) {
  if (begin >= end) return;
  int64_t column = 0;
  for (; column + kSumVectors * kLanes <= padded; column += kSumVectors * kLanes)
    add_tile<kRows, kSumVectors>(weights, rows + column, begin, end, padded, to + column);
  for (; column < padded; column += kLanes) add_tile<kRows, 1>(weights, rows + column, begin, end, padded, to + column);
}

// to[lane] += sum over the rows that lane sees: spans[lane] is a part of [0, block).
inline void add_seen_rows(const float* weights, const float* rows, const LaneSpan* spans, int lanes, int64_t padded, float* to) {
  for_row_tiles<kSumRows>(0, lanes, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    int begin = 0, end = kAttentionTile;
    for (int r = 0; r < kRows; r++) {
      begin = std::max(begin, spans[first + r].begin);
      end = std::min(end, spans[first + r].end);
    }
    // What all lanes see goes in one sweep, the ends lane by lane: a weight of zero is no substitute, for 0 * NaN is not 0.
    if (begin >= end) begin = end = kAttentionTile;
    const auto add_lane = [&](int lane, int from, int until) {
      add_columns<1>(weights + lane, rows, from, until, padded, to + lane * padded);
    };
    if constexpr (kRows > 1)
      for (int lane = first; lane < first + kRows; lane++) add_lane(lane, spans[lane].begin, std::min(begin, spans[lane].end));
    add_columns<kRows>(weights + first, rows, begin, end, padded, to + first * padded);
    if constexpr (kRows > 1)
      for (int lane = first; lane < first + kRows; lane++) add_lane(lane, std::max(end, spans[lane].begin), spans[lane].end);
  });
}

// to[lane] += sum over the rows that see the lane: row i sees lanes spans[i].
inline void add_seeing_rows(const float* weights, const float* rows, const LaneSpan* spans, int count, int lanes, int64_t padded, float* to) {
  for_row_tiles<kSumRows>(0, lanes, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    for (int row = 0; row < count;) {
      const auto sees_all = [&](int i) { return spans[i].begin <= first && spans[i].end >= first + kRows; };
      int end = row;
      while (end < count && sees_all(end)) end++;
      if (end > row) {
        add_columns<kRows>(weights + first, rows, row, end, padded, to + first * padded);
        row = end;
        continue;
      }
      const int stop = std::min(first + kRows, spans[row].end);
      for (int lane = std::max(first, spans[row].begin); lane < stop; lane++)
        add_columns<1>(weights + lane, rows, row, row + 1, padded, to + lane * padded);
      row++;
    }
  });
}

// One block of keys beside the query rows of an item.
struct KeyBlock {
  int64_t start;  // first key
  int count;
  int64_t slot;   // keys of earlier blocks
  LaneSpan spans[kAttentionTile];  // what each row sees of it

  // What rows [lane, lane + lanes) see together.
  LaneSpan of_lanes(int lane, int lanes, int rows, bool* whole) const {
    LaneSpan all{kAttentionTile, 0};
    *whole = lane + lanes <= rows;
    for (int row = lane; row < std::min(lane + lanes, rows); row++) {
      *whole = *whole && spans[row].begin == 0 && spans[row].end == count;
      if (spans[row].empty()) continue;
      all.begin = std::min(all.begin, spans[row].begin);
      all.end = std::max(all.end, spans[row].end);
    }
    return all.begin < all.end ? all : LaneSpan{0, 0};
  }
};

// Calls body(block) for the blocks of keys that some row sees, in the order of the sums: the first range, then the second.
template <class Body>
HEDDLE_INLINE void for_key_blocks(const QueryRows& rows, const Body& body) {
  KeyBlock block;
  block.slot = 0;
  for (int part = 0; part < 2; part++) {
    const QueryRows::Extent extent = rows.extent(part);
    for (block.start = extent.begin; block.start < extent.end; block.start += kAttentionTile) {
      block.count = static_cast<int>(std::min<int64_t>(kAttentionTile, extent.end - block.start));
      bool seen = false;
      for (int row = 0; row < rows.count; row++) {
        block.spans[row] = LaneSpan::of(rows.begin[part][row], rows.end[part][row], block.start, block.count);
        seen = seen || !block.spans[row].empty();
      }
      if (!seen) continue;
      body(block);
      block.slot += block.count;
    }
  }
}

inline void copy_keys(const SelfAttentionJob& job, const KeyBlock& block, int64_t head, float* to) {
  for (int key = 0; key < block.count; key++) copy_row(job.key(block.start + key, head), job.width, job.padded, to + key * job.padded);
}
inline void copy_values(const SelfAttentionJob& job, const KeyBlock& block, int64_t head, float* to) {
  for (int key = 0; key < block.count; key++) copy_row(job.value(block.start + key, head), job.width, job.padded, to + key * job.padded);
}

// to[key][row] = packed[row] . others[key] where a row of the register tile sees the key.
HEDDLE_INLINE void dot_block(const SelfAttentionJob& job, const KeyBlock& block, const QueryRows& rows, const float* packed, const float* others,
                             float* to) {
  for (int lane = 0; lane < rows.count; lane += kDotLanes) {
    bool whole;
    const LaneSpan seen = block.of_lanes(lane, kDotLanes, rows.count, &whole);
    dot_rows(job, packed, others, seen.begin, seen.end, lane, to);
  }
}

HEDDLE_INLINE Vector cap_scores(Vector scores, float scale, float soft_cap) {
  scores = mul(scores, broadcast(scale));
  return soft_cap > 0 ? mul(broadcast(soft_cap), tanh(mul(scores, broadcast(1.0f / soft_cap)))) : scores;
}

}  // namespace heddle::HEDDLE_TARGET
#endif
