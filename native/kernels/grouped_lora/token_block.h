// Vector code for many tokens of one adapter at once. No include guard: one copy per target, inside HEDDLE_TARGET, after adapter_rows.h.
//
// dot_block and add_block sum in the orders of dot_rows and add_rows, so a token's bits do not say how many others came with it.
// accumulate_block adds outer products to rows of gradients: lanes along the row, the adapter's own tokens one after the other.
namespace heddle::HEDDLE_TARGET {

// Tokens, rows and vectors whose sums and operands fill the registers.
inline constexpr int kDotTokens = kWideRegisters ? 6 : 3;
inline constexpr int kAddTokens = kWideRegisters ? 6 : 4;
inline constexpr int kAddVectors = kWideRegisters ? 4 : 3;
inline constexpr int kGradientRows = kWideRegisters ? 8 : 4;
inline constexpr int kGradientVectors = 3;
inline constexpr int64_t kGradientTokens = 64;  // whose pieces of x stay in the first cache while all rows pass
static_assert(kBlockTokens % kDotTokens == 0 && kBlockTokens % kAddTokens == 0, "whole tiles in a whole block");

// Takes as many of what is left as there is code for: kMost, half of it or one. Calls body with the number as a constant.
template <int kMost, class Body>
HEDDLE_INLINE int take(int64_t left, const Body& body) {
  if (left >= kMost) {
    body(std::integral_constant<int, kMost>{});
    return kMost;
  }
  if (left >= kMost / 2) {
    body(std::integral_constant<int, kMost / 2>{});
    return kMost / 2;
  }
  body(std::integral_constant<int, 1>{});
  return 1;
}

// Where the product of row r and token t goes: out[r * row_stride + t * token_stride].
struct Products {
  float* out;
  int64_t row_stride, token_stride;
};

template <class Row, int kTokens, int kRows>
HEDDLE_INLINE void dot_tile_step(const typename Row::Element* const* rows, const float* const* x, int64_t i, int lanes,
                                 Vector (*sums)[kRows]) {
  Vector b[kTokens];
  for (int t = 0; t < kTokens; t++) b[t] = lanes == kLanes ? load(x[t] + i) : load_partial(x[t] + i, lanes);
  for (int r = 0; r < kRows; r++) {
    const Vector a = lanes == kLanes ? Row::load(rows[r] + i) : load_row_end<Row>(rows[r] + i, lanes);
    for (int t = 0; t < kTokens; t++) sums[t][r] = fma(a, b[t], sums[t][r]);
  }
}

template <class Row, int kTokens, int kRows>
HEDDLE_INLINE void dot_tile(const typename Row::Element* const* rows, const float* const* x, int64_t width, Products to) {
  Vector sums[kTokens][kRows];
  for (int t = 0; t < kTokens; t++)
    for (int r = 0; r < kRows; r++) sums[t][r] = zero();
  int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) dot_tile_step<Row, kTokens, kRows>(rows, x, i, kLanes, sums);
  if (i < width) dot_tile_step<Row, kTokens, kRows>(rows, x, i, static_cast<int>(width - i), sums);
  for (int t = 0; t < kTokens; t++) {
    float dots[kRows];
    if constexpr (kRows == kRowGroup) {
      reduce_add_four(sums[t], dots);
    } else {
      for (int r = 0; r < kRows; r++) dots[r] = reduce_add(sums[t][r]);
    }
    for (int r = 0; r < kRows; r++) to.out[r * to.row_stride + t * to.token_stride] = dots[r];
  }
}

// Rows first .. first + count times tokens x[0 .. tokens).
template <class Row>
void dot_block(const AdapterPool& pool, int64_t first, int64_t count, int tokens, const float* const* x, int64_t width, Products to) {
  for (int64_t r = 0; r < count;) {
    const bool whole = r + kRowGroup <= count;
    const typename Row::Element* rows[kRowGroup];
    for (int i = 0; i < (whole ? kRowGroup : 1); i++) rows[i] = static_cast<const typename Row::Element*>(pool.row(first + r + i));
    for (int t = 0; t < tokens;) {
      const Products at = {to.out + r * to.row_stride + t * to.token_stride, to.row_stride, to.token_stride};
      t += take<kDotTokens>(tokens - t, [&](auto n) {
        if (whole) {
          dot_tile<Row, n(), kRowGroup>(rows, x + t, width, at);
        } else {
          dot_tile<Row, n(), 1>(rows, x + t, width, at);
        }
      });
    }
    r += whole ? kRowGroup : 1;
  }
}

// How products join the outputs of a block: y += weight * (product + shift).
struct BlockJoin {
  float* const* y;      // per token, at the first output of the range
  const float* weight;  // per token
  const float* shift;   // at the first output of the range, or null
};

template <class Row, int kTokens, int kVectors>
HEDDLE_INLINE void add_tile(const typename Row::Element* const* rows, int count, const float* v, const BlockJoin& how, int64_t n, int last) {
  Vector sum[kTokens][kVectors];
  for (int t = 0; t < kTokens; t++)
    for (int i = 0; i < kVectors; i++) sum[t][i] = zero();
  for (int j = 0; j < count; j++) {
    const typename Row::Element* row = rows[j] + n;
    Vector b[kVectors];
    for (int i = 0; i + 1 < kVectors; i++) b[i] = Row::load(row + i * kLanes);
    const typename Row::Element* end = row + (kVectors - 1) * kLanes;
    b[kVectors - 1] = last == kLanes ? Row::load(end) : load_row_end<Row>(end, last);
    for (int t = 0; t < kTokens; t++) {
      const Vector factor = broadcast(v[j * kBlockTokens + t]);
      for (int i = 0; i < kVectors; i++) sum[t][i] = fma(factor, b[i], sum[t][i]);
    }
  }
  for (int i = 0; i < kVectors; i++) {
    const int lanes = i + 1 < kVectors ? kLanes : last;
    const auto read = [&](const float* p) { return lanes == kLanes ? load(p + n + i * kLanes) : load_partial(p + n + i * kLanes, lanes); };
    const Vector shift = how.shift == nullptr ? zero() : read(how.shift);
    for (int t = 0; t < kTokens; t++) {
      const Vector joined = fma(broadcast(how.weight[t]), add(sum[t][i], shift), read(how.y[t]));
      if (lanes == kLanes) {
        store(how.y[t] + n + i * kLanes, joined);
      } else {
        store_partial(how.y[t] + n + i * kLanes, joined, lanes);
      }
    }
  }
}

// Outputs from .. to of all tokens; v[j * kBlockTokens + t] belongs to row first + j.
template <class Row>
void add_block(const AdapterPool& pool, int64_t first, int count, int tokens, const float* v, const BlockJoin& how, int64_t from, int64_t to) {
  const typename Row::Element* rows[kRankBlock];
  for (int j = 0; j < count; j++) rows[j] = static_cast<const typename Row::Element*>(pool.row(first + j)) + from;
  for (int64_t n = 0; n < to - from;) {
    const int64_t left = to - from - n;
    const bool whole = left >= kAddVectors * kLanes;
    const int last = left < kLanes ? static_cast<int>(left) : kLanes;
    for (int t = 0; t < tokens;) {
      const BlockJoin at = {how.y + t, how.weight + t, how.shift};
      t += take<kAddTokens>(tokens - t, [&](auto many) {
        if (whole) {
          add_tile<Row, many(), kAddVectors>(rows, count, v + t, at, n, kLanes);
        } else {
          add_tile<Row, many(), 1>(rows, count, v + t, at, n, last);
        }
      });
    }
    n += whole ? kAddVectors * kLanes : kLanes;
  }
}

// One site's low-rank product for a block of tokens: y += weight (scale out^T (in x) + shift) at outputs from .. to, where `in` are
// the rows from first_in and `out` those from first_out. v is scratch of kRankBlock * kBlockTokens floats.
template <class Row>
void add_low_rank_block(const AdapterPool& pool, const AdapterEntry& entry, int64_t first_in, int64_t first_out, int tokens,
                        const float* const* x, int64_t inputs, BlockJoin how, int64_t from, int64_t to, float* v) {
  int64_t done = 0;
  do {  // once even for rank 0, which may carry a shift
    const int count = static_cast<int>(entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock);
    dot_block<Row>(pool, first_in + done, count, tokens, x, inputs, {v, kBlockTokens, 1});
    for (int j = 0; j < count; j++)
      for (int t = 0; t < tokens; t++) v[j * kBlockTokens + t] *= entry.scale;
    add_block<Row>(pool, first_out + done, count, tokens, v, how, from, to);
    done += count;
    how.shift = nullptr;
  } while (done < entry.rank);
}

// Outer products of coefficients (row r of token t: values[t * stride + r]) and the tokens' rows of z.
struct OuterProducts {
  const RoutedToken* routed;
  int count;
  const float* values;
  int64_t stride;
  const float* z;
  int64_t z_stride;
};

template <int kRows, int kVectors>
HEDDLE_INLINE void accumulate_tile(float* const* rows, const OuterProducts& what, int64_t n, int last) {
  const auto read = [&](const float* p, int i) {
    return i + 1 < kVectors || last == kLanes ? load(p + n + i * kLanes) : load_partial(p + n + i * kLanes, last);
  };
  Vector sum[kRows][kVectors];
  for (int r = 0; r < kRows; r++)
    for (int i = 0; i < kVectors; i++) sum[r][i] = read(rows[r], i);
  for (int t = 0; t < what.count; t++) {
    const float* z = what.z + what.routed[t].token * what.z_stride;
    const float* value = what.values + t * what.stride;
    Vector b[kVectors];
    for (int i = 0; i < kVectors; i++) b[i] = read(z, i);
    for (int r = 0; r < kRows; r++) {
      const Vector factor = broadcast(value[r]);
      for (int i = 0; i < kVectors; i++) sum[r][i] = fma(factor, b[i], sum[r][i]);
    }
  }
  for (int r = 0; r < kRows; r++)
    for (int i = 0; i < kVectors; i++) {
      if (i + 1 < kVectors || last == kLanes) {
        store(rows[r] + n + i * kLanes, sum[r][i]);
      } else {
        store_partial(rows[r] + n + i * kLanes, sum[r][i], last);
      }
    }
}

// rows[r][from .. to) += sum of the tokens' products, one token after the other from what the row held before.
inline void accumulate_block(float* const* rows, int row_count, const OuterProducts& what, int64_t from, int64_t to) {
  for (int64_t n = from; n < to;) {
    const int64_t left = to - n;
    const bool whole = left >= kGradientVectors * kLanes;
    const int last = left < kLanes ? static_cast<int>(left) : kLanes;
    for (int64_t first = 0; first < what.count; first += kGradientTokens) {
      OuterProducts part = what;
      part.routed += first;
      part.count = static_cast<int>(what.count - first < kGradientTokens ? what.count - first : kGradientTokens);
      for (int r = 0; r < row_count;) {
        part.values = what.values + first * what.stride + r;
        r += take<kGradientRows>(row_count - r, [&](auto many) {
          if (whole) {
            accumulate_tile<many(), kGradientVectors>(rows + r, part, n, kLanes);
          } else {
            accumulate_tile<many(), 1>(rows + r, part, n, last);
          }
        });
      }
    }
    n += whole ? kGradientVectors * kLanes : kLanes;
  }
}

}  // namespace heddle::HEDDLE_TARGET
