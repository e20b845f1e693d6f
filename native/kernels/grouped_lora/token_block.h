// Vector code for many tokens of one adapter at once. No include guard: one copy per target, inside HEDDLE_TARGET, after adapter_rows.h.
//
// dot_block and add_block sum in the orders of dot_rows and add_rows, so a token's bits do not say how many others came with it.
// accumulate_block adds outer products to rows of gradients: lanes along the row, the adapter's own tokens one after the other.
namespace heddle::HEDDLE_TARGET {

// Tokens, rows and vectors whose sums and operands fill the registers.
inline constexpr int kDotTokens = kWideRegisters ? 6 : 3;
inline constexpr int kAddTokens = 6;
inline constexpr int kAddVectors = kWideRegisters ? 4 : 2;
inline constexpr int kGradientRows = kWideRegisters ? 8 : 4;
inline constexpr int kGradientVectors = 3;
// What passes through the first cache together.
inline constexpr int kDotRows = 16;
inline constexpr int64_t kDotColumns = 256;
inline constexpr int64_t kAddColumns = kAddVectors * kLanes * 8;
inline constexpr int64_t kGradientTokens = 24;
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

// sums += rows times tokens over columns from .. to.
template <class Row, int kTokens, int kRows>
HEDDLE_INLINE void dot_tile(const typename Row::Element* const* rows, const float* const* x, int64_t from, int64_t to, Vector* sums) {
  Vector local[kTokens][kRows];
  for (int t = 0; t < kTokens; t++)
    for (int r = 0; r < kRows; r++) local[t][r] = from == 0 ? zero() : sums[t * kRows + r];
  int64_t i = from;
  for (; i + kLanes <= to; i += kLanes) dot_tile_step<Row, kTokens, kRows>(rows, x, i, kLanes, local);
  if (i < to) dot_tile_step<Row, kTokens, kRows>(rows, x, i, static_cast<int>(to - i), local);
  for (int t = 0; t < kTokens; t++)
    for (int r = 0; r < kRows; r++) sums[t * kRows + r] = local[t][r];
}

template <int kTokens, int kRows>
HEDDLE_INLINE void reduce_tile(const Vector* sums, Products to) {
  for (int t = 0; t < kTokens; t++) {
    float dots[kRows];
    if constexpr (kRows == kRowGroup) {
      reduce_add_four(sums + t * kRows, dots);
    } else {
      for (int r = 0; r < kRows; r++) dots[r] = reduce_add(sums[t * kRows + r]);
    }
    for (int r = 0; r < kRows; r++) to.out[r * to.row_stride + t * to.token_stride] = dots[r];
  }
}

// At most kDotRows rows times kTokens tokens, in pieces of columns that stay in the first cache.
template <class Row, int kTokens>
HEDDLE_INLINE void dot_rows_and_tokens(const typename Row::Element* const* rows, int count, const float* const* x, int64_t width, Products to) {
  Vector sums[kDotRows * kTokens];
  const int whole = count / kRowGroup * kRowGroup;
  int64_t from = 0;
  do {  // once even for no columns, whose sums are zero
    const int64_t end = from + kDotColumns < width ? from + kDotColumns : width;
    for (int r = 0; r < whole; r += kRowGroup) dot_tile<Row, kTokens, kRowGroup>(rows + r, x, from, end, sums + r * kTokens);
    for (int r = whole; r < count; r++) dot_tile<Row, kTokens, 1>(rows + r, x, from, end, sums + r * kTokens);
    from = end;
  } while (from < width);
  for (int r = 0; r < count; r += r < whole ? kRowGroup : 1) {
    const Products at = {to.out + r * to.row_stride, to.row_stride, to.token_stride};
    if (r < whole) {
      reduce_tile<kTokens, kRowGroup>(sums + r * kTokens, at);
    } else {
      reduce_tile<kTokens, 1>(sums + r * kTokens, at);
    }
  }
}

// At most kDotRows rows times tokens x[0 .. tokens).
template <class Row>
void dot_some_rows(const typename Row::Element* const* rows, int count, int tokens, const float* const* x, int64_t width, Products to) {
  for (int t = 0; t < tokens;) {
    const Products at = {to.out + t * to.token_stride, to.row_stride, to.token_stride};
    t += take<kDotTokens>(tokens - t, [&](auto n) { dot_rows_and_tokens<Row, n()>(rows, count, x + t, width, at); });
  }
}

// Rows first .. first + count times tokens x[0 .. tokens).
template <class Row>
void dot_block(const AdapterPool& pool, int64_t first, int64_t count, int tokens, const float* const* x, int64_t width, Products to) {
  for (int64_t r = 0; r < count; r += kDotRows) {
    const int many = static_cast<int>(count - r < kDotRows ? count - r : kDotRows);
    const typename Row::Element* rows[kDotRows];
    for (int i = 0; i < many; i++) rows[i] = static_cast<const typename Row::Element*>(pool.row(first + r + i));
    dot_some_rows<Row>(rows, many, tokens, x, width, {to.out + r * to.row_stride, to.row_stride, to.token_stride});
  }
}

// How products join the outputs of a block: y += weight * (product + shift).
struct BlockJoin {
  float* const* y;      // per token, at the first output of the range
  const float* weight;  // per token
  const float* shift;   // at the first output of the range, or null
};

template <class Row, int kTokens, int kVectors>
HEDDLE_INLINE void add_tile(const RowGroup<typename Row::Element>* groups, int group_count, const float* v, const BlockJoin& how, int64_t from,
                            int64_t n, int last) {
  Vector sum[kTokens][kVectors];
  for (int t = 0; t < kTokens; t++)
    for (int i = 0; i < kVectors; i++) sum[t][i] = zero();
  for (int g = 0; g < group_count; g++) {
    const auto& group = groups[g];
    const int64_t at = (from + n) / kPiece<Row> * group.step + (from + n) % kPiece<Row>;
    for (int j = 0; j < group.count; j++, v += kBlockTokens) {
      const typename Row::Element* row = group.rows[j] + at;
      Vector b[kVectors];
      for (int i = 0; i + 1 < kVectors; i++) b[i] = Row::load(row + vector_offset<Row>(i, group.step));
      const typename Row::Element* end = row + vector_offset<Row>(kVectors - 1, group.step);
      b[kVectors - 1] = last == kLanes ? Row::load(end) : load_row_end<Row>(end, last);
      for (int t = 0; t < kTokens; t++) {
        const Vector factor = broadcast(v[t]);
        for (int i = 0; i < kVectors; i++) sum[t][i] = fma(factor, b[i], sum[t][i]);
      }
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

// Outputs begin .. end of all tokens, counted from `from`; v[j * kBlockTokens + t] belongs to row j of the groups.
template <class Row>
HEDDLE_INLINE void add_columns(const RowGroup<typename Row::Element>* groups, int group_count, int tokens, const float* v, const BlockJoin& how,
                               int64_t from, int64_t begin, int64_t end) {
  for (int t = 0; t < tokens;) {
    const BlockJoin at = {how.y + t, how.weight + t, how.shift};
    t += take<kAddTokens>(tokens - t, [&](auto many) {
      int64_t n = begin;
      for (; n + kAddVectors * kLanes <= end; n += kAddVectors * kLanes)
        add_tile<Row, many(), kAddVectors>(groups, group_count, v + t, at, from, n, kLanes);
      for (; n < end; n += kLanes)
        add_tile<Row, many(), 1>(groups, group_count, v + t, at, from, n, end - n < kLanes ? static_cast<int>(end - n) : kLanes);
    });
  }
}

// Outputs from .. to of all tokens, with rows first .. first + count of B; v[j * kBlockTokens + t] belongs to row first + j.
template <class Row>
void add_block(const Factor& b, int64_t first, int count, int tokens, const float* v, const BlockJoin& how, int64_t from, int64_t to) {
  RowGroup<typename Row::Element> groups[kRankBlock / kGroupRows];
  const int group_count = b.groups(first, count, groups);
  for (int64_t begin = 0; begin < to - from; begin += kAddColumns) {
    const int64_t end = begin + kAddColumns < to - from ? begin + kAddColumns : to - from;
    add_columns<Row>(groups, group_count, tokens, v, how, from, begin, end);
  }
}

// y += weight (scale out^T (in x) + shift), kRankBlock rows after the other: dot(first, count) puts in x into v, kBlockTokens apart for the
// rows, and add(first, count, how) joins out^T v.
template <class Dot, class Add>
HEDDLE_INLINE void for_rank_blocks(int64_t rank, float scale, int tokens, float* v, BlockJoin how, const Dot& dot, const Add& add) {
  int64_t done = 0;
  do {  // once even for rank 0, which may carry a shift
    const int count = static_cast<int>(rank - done < kRankBlock ? rank - done : kRankBlock);
    dot(done, count);
    for (int j = 0; j < count; j++)
      for (int t = 0; t < tokens; t++) v[j * kBlockTokens + t] *= scale;
    add(done, count, how);
    done += count;
    how.shift = nullptr;
  } while (done < rank);
}

// One site's low-rank product for a block of tokens: y += weight (scale out^T (in x) + shift) at outputs from .. to, where the rows
// of `in` begin at first_in. v is scratch of kRankBlock * kBlockTokens floats.
template <class Row>
void add_low_rank_block(float scale, const AdapterPool& pool, int64_t first_in, const Factor& out, int tokens, const float* const* x,
                        int64_t inputs, const BlockJoin& how, int64_t from, int64_t to, float* v) {
  for_rank_blocks(
      out.rank, scale, tokens, v, how,
      [&](int64_t first, int count) { dot_block<Row>(pool, first_in + first, count, tokens, x, inputs, {v, kBlockTokens, 1}); },
      [&](int64_t first, int count, const BlockJoin& join) { add_block<Row>(out, first, count, tokens, v, join, from, to); });
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
  for (int64_t first = 0; first < what.count; first += kGradientTokens) {
    OuterProducts part = what;
    part.routed += first;
    part.count = static_cast<int>(what.count - first < kGradientTokens ? what.count - first : kGradientTokens);
    for (int64_t n = from; n < to;) {
      const bool whole = to - n >= kGradientVectors * kLanes;
      const int last = to - n < kLanes ? static_cast<int>(to - n) : kLanes;
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
      n += whole ? kGradientVectors * kLanes : kLanes;
    }
  }
}

}  // namespace heddle::HEDDLE_TARGET
