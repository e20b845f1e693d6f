// attention: a tile of query rows walks the cached keys and values of its request span by span with an online softmax.
//
// A row's bits depend only on its own query and its own range of positions: each score is one chain over the channels, each
// output one chain over the positions in ascending order, and the running maximum moves at spans aligned to absolute
// positions. Which rows share a tile decides only what is loaded once for several of them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "kernels/attention/attention_job.h"

#define HEDDLE_TARGET_FILE "kernels/attention/attention_cpu.cc"
#include "cpu/foreach_target.h"

#if defined(HEDDLE_TARGET)
namespace heddle::HEDDLE_TARGET {

// Rows whose accumulators fit in registers together.
#if defined(HEDDLE_TARGET_AVX512)
inline constexpr int kRegisterRows = 8;
#elif defined(HEDDLE_TARGET_AVX2) || defined(__aarch64__)
inline constexpr int kRegisterRows = 4;
#else
inline constexpr int kRegisterRows = 2;
#endif

inline constexpr int kValueVectors = kLanes >= 8 ? kRegisterRows * 2 : kRegisterRows * 4;  // accumulators of one sweep over values
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

// scores[r][position] = q[r] . key[position] for whole blocks; q is [width][Rows].
template <class Type, int Rows, int Blocks>
void score_blocks(const float* q, const typename Type::Stored* const* keys, int64_t width, float* scores) {
  constexpr int kVectors = Blocks * kPanelVectors;
  Vector sums[Rows][kVectors];
  for (int r = 0; r < Rows; r++)
    for (int i = 0; i < kVectors; i++) sums[r][i] = zero();
  for (int64_t channel = 0; channel < width; channel++) {
    Vector key[kVectors];
    for (int b = 0; b < Blocks; b++)
      for (int i = 0; i < kPanelVectors; i++)
        key[b * kPanelVectors + i] = Type::read(keys[b] + channel * kBlockTokens + i * kLanes);
    for (int r = 0; r < Rows; r++) {
      const Vector x = broadcast(q[channel * Rows + r]);
      for (int i = 0; i < kVectors; i++) sums[r][i] = fma(x, key[i], sums[r][i]);
    }
  }
  for (int r = 0; r < Rows; r++)
    for (int i = 0; i < kVectors; i++) store(scores + r * kSpan + i * kLanes, sums[r][i]);
}

// output[r][..] += weights[r][j] value[j][..] for positions [begin, end) of the span, Columns vectors wide.
template <class Type, int Rows, int Columns>
void add_values(const float* weights, const typename Type::Stored* const* values, int64_t value_stride, int64_t column, int begin, int end,
                float* output, int64_t output_stride) {
  if (begin >= end) return;
  Vector sums[Rows][Columns];
  for (int r = 0; r < Rows; r++)
    for (int i = 0; i < Columns; i++) sums[r][i] = load(output + r * output_stride + column + i * kLanes);
  for (int position = begin; position < end;) {
    const int block = position / kBlockTokens;
    const int stop = std::min<int>(end, (block + 1) * kBlockTokens);
    const typename Type::Stored* value = values[block] + (position % kBlockTokens) * value_stride + column;
    for (; position < stop; position++, value += value_stride) {
      Vector v[Columns];
      for (int i = 0; i < Columns; i++) v[i] = Type::read(value + i * kLanes);
      for (int r = 0; r < Rows; r++) {
        const Vector weight = broadcast(weights[r * kSpan + position]);
        for (int i = 0; i < Columns; i++) sums[r][i] = fma(weight, v[i], sums[r][i]);
      }
    }
  }
  for (int r = 0; r < Rows; r++)
    for (int i = 0; i < Columns; i++) store(output + r * output_stride + column + i * kLanes, sums[r][i]);
}

// Scores of one row become weights; its running maximum, sums and output are brought to the new maximum.
HEDDLE_INLINE void weigh(float* scores, int begin, int end, float soft_cap, float* maximum, float* sums, float* output, int64_t padded) {
  const int first = begin / kBlockTokens * kBlockTokens, last = (end + kBlockTokens - 1) / kBlockTokens * kBlockTokens;
  if (soft_cap > 0) {
    const Vector cap = broadcast(soft_cap), inverse = broadcast(1.0f / soft_cap);
    for (int i = first; i < last; i += kLanes) store(scores + i, mul(cap, tanh(mul(load(scores + i), inverse))));
  }
  for (int i = first; i < begin; i++) scores[i] = kMinusInfinity;
  for (int i = end; i < last; i++) scores[i] = kMinusInfinity;
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

// The part of a span that each row sees; begin == end == 0 for none.
struct SpanRange {
  int begin, end;
};

template <class Type, int Rows>
void score_rows(const float* q, const typename Type::Stored* const* keys, const SpanRange* ranges, int64_t width, float* scores) {
  constexpr int kStep = std::max(1, kRegisterRows / Rows);  // few rows: several blocks at once keep the multipliers busy
  int begin = kSpan, end = 0;
  for (int r = 0; r < Rows; r++) {
    if (ranges[r].begin == ranges[r].end) continue;
    begin = std::min(begin, ranges[r].begin);
    end = std::max(end, ranges[r].end);
  }
  if (begin >= end) return;
  int block = begin / static_cast<int>(kBlockTokens);
  const int last = (end - 1) / static_cast<int>(kBlockTokens);
  if constexpr (kStep > 1 && kStep <= kSpanBlocks)
    for (; block + kStep <= last + 1; block += kStep) score_blocks<Type, Rows, kStep>(q, keys + block, width, scores + block * kBlockTokens);
  for (; block <= last; block++) score_blocks<Type, Rows, 1>(q, keys + block, width, scores + block * kBlockTokens);
}

template <class Type, int Rows, int Columns>
void add_value_columns(const float* weights, const typename Type::Stored* const* values, int64_t value_stride, int64_t column,
                       const SpanRange* ranges, float* output, int64_t output_stride) {
  int begin = 0, end = kSpan;
  for (int r = 0; r < Rows; r++) {
    begin = std::max(begin, ranges[r].begin);
    end = std::min(end, ranges[r].end);
  }
  // What all rows see goes in one sweep, the ends row by row: a weight of zero is no substitute, for 0 * NaN is not 0.
  if (begin >= end) begin = end = kSpan;
  if constexpr (Rows > 1)
    for (int r = 0; r < Rows; r++)
      add_values<Type, 1, Columns>(weights + r * kSpan, values, value_stride, column, ranges[r].begin, std::min(begin, ranges[r].end),
                                   output + r * output_stride, output_stride);
  if (begin < end) add_values<Type, Rows, Columns>(weights, values, value_stride, column, begin, end, output, output_stride);
  if constexpr (Rows > 1)
    for (int r = 0; r < Rows; r++)
      add_values<Type, 1, Columns>(weights + r * kSpan, values, value_stride, column, std::max(end, ranges[r].begin), ranges[r].end,
                                   output + r * output_stride, output_stride);
}


template <class Type, int Rows>
void add_value_rows(const float* weights, const typename Type::Stored* const* values, int64_t value_stride, const SpanRange* ranges,
                    float* output, int64_t padded) {
  constexpr int kColumns = kValueVectors / Rows < 4 ? kValueVectors / Rows : 4;
  int64_t column = 0;
  for (; column + kColumns * kLanes <= padded; column += kColumns * kLanes)
    add_value_columns<Type, Rows, kColumns>(weights, values, value_stride, column, ranges, output, padded);
  for (; column < padded; column += kLanes)
    add_value_columns<Type, Rows, 1>(weights, values, value_stride, column, ranges, output, padded);
}

// Calls body(first, std::integral_constant<int, n>) for register tiles of n rows that make up `rows`.
template <class Body>
HEDDLE_INLINE void for_register_tiles(int rows, const Body& body) {
  int first = 0;
  for (; first + kRegisterRows <= rows; first += kRegisterRows) body(first, std::integral_constant<int, kRegisterRows>());
  if constexpr (kRegisterRows > 4)
    if (first + 4 <= rows) {
      body(first, std::integral_constant<int, 4>());
      first += 4;
    }
  if constexpr (kRegisterRows > 2)
    if (first + 2 <= rows) {
      body(first, std::integral_constant<int, 2>());
      first += 2;
    }
  if (first < rows) body(first, std::integral_constant<int, 1>());
}

// The rows of one item: the query heads [first_head, first_head + heads) of the tile's tokens, token by token.
struct ItemRows {
  int count;
  int heads;
  int64_t key_head, first_head;
  int64_t begin[kTileRows], end[kTileRows];  // positions each row sees
};

inline void pack_queries(const AttentionJob& job, const AttentionTile& tile, const ItemRows& rows, float* packed) {
  for_register_tiles(rows.count, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    float* to = packed + first * job.width;
    for (int r = 0; r < kRows; r++) {
      const int row = first + r;
      const float* q = job.args->q.row<const float>(tile.first + row / rows.heads) + (rows.first_head + row % rows.heads) * job.width;
      for (int64_t channel = 0; channel < job.width; channel++) to[channel * kRows + r] = q[channel] * job.args->scale;
    }
  });
}

// One span for all rows of an item.
template <class Type>
void attend_span(const AttentionJob& job, const ItemRows& rows, const typename Type::Stored* const* keys,
                 const typename Type::Stored* const* values, int64_t value_stride, int64_t start, float* maxima,
                 const AttentionScratch& scratch) {
  SpanRange ranges[kTileRows];
  for (int r = 0; r < rows.count; r++) {
    const int64_t begin = std::max(rows.begin[r] - start, int64_t{0}), end = std::min(rows.end[r] - start, int64_t{kSpan});
    ranges[r] = begin < end ? SpanRange{static_cast<int>(begin), static_cast<int>(end)} : SpanRange{0, 0};
  }
  for_register_tiles(rows.count, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    score_rows<Type, kRows>(scratch.q + first * job.width, keys, ranges + first, job.width, scratch.scores + first * kSpan);
  });
  for (int r = 0; r < rows.count; r++)
    if (ranges[r].begin < ranges[r].end)
      weigh(scratch.scores + r * kSpan, ranges[r].begin, ranges[r].end, job.args->soft_cap, maxima + r, scratch.sums + r * kBlockTokens,
            scratch.output + r * job.padded, job.padded);
  for_register_tiles(rows.count, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    add_value_rows<Type, kRows>(scratch.scores + first * kSpan, values, value_stride, ranges + first, scratch.output + first * job.padded,
                                job.padded);
  });
}

template <class Type>
void widen(const typename Type::Stored* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, Type::read(from + i));
  for (; i < count; i++) to[i] = Type::read_one(from + i);
}

template <class Type>
void attend(const AttentionJob& job, const AttentionTile& tile, const ItemRows& rows, const AttentionScratch& scratch) {
  using Stored = typename Type::Stored;
  const int64_t width = job.width, padded = job.padded;
  const int64_t begin = *std::min_element(rows.begin, rows.begin + rows.count);
  const int64_t end = *std::max_element(rows.end, rows.end + rows.count);
  const int64_t request = job.args->request.as<const int32_t>()[tile.first];
  float maxima[kTileRows];
  std::fill(maxima, maxima + rows.count, kMinusInfinity);
  std::memset(scratch.sums, 0, sizeof(float) * static_cast<size_t>(rows.count * kBlockTokens));
  std::memset(scratch.output, 0, sizeof(float) * static_cast<size_t>(rows.count * padded));
  pack_queries(job, tile, rows, scratch.q);

  // 16-bit elements that several register tiles read are widened once; values of odd widths are padded with zeros.
  constexpr bool kWide = std::is_same<Type, CacheF32>::value;
  const bool widened = rows.count > kRegisterRows || width % kLanes != 0;
  for (int64_t span = begin / kSpan; span * kSpan < end; span++) {
    const int64_t start = span * kSpan;
    const int first = static_cast<int>(std::max(begin - start, int64_t{0}) / kBlockTokens);
    const int last = static_cast<int>((std::min(end - start, int64_t{kSpan}) - 1) / kBlockTokens);
    const Stored* keys[kSpanBlocks] = {};
    const Stored* values[kSpanBlocks] = {};
    for (int block = first; block <= last; block++) {
      const Stored* page = reinterpret_cast<const Stored*>(job.layer.page(request, start / kBlockTokens + block));
      keys[block] = page + key_offset(width, rows.key_head, 0, 0);
      values[block] = page + value_offset(job.key_heads, width, rows.key_head, 0, 0);
    }
    if ((kWide && width % kLanes == 0) || !widened) {
      attend_span<Type>(job, rows, keys, values, width, start, maxima, scratch);
      continue;
    }
    const float* wide_keys[kSpanBlocks] = {};
    const float* wide_values[kSpanBlocks] = {};
    for (int block = first; block <= last; block++) {
      float* key = scratch.keys + block * kBlockTokens * width;
      float* value = scratch.values + block * kBlockTokens * padded;
      widen<Type>(keys[block], kBlockTokens * width, key);
      for (int64_t slot = 0; slot < kBlockTokens; slot++) {
        widen<Type>(values[block] + slot * width, width, value + slot * padded);
        std::fill(value + slot * padded + width, value + (slot + 1) * padded, 0.0f);
      }
      wide_keys[block] = key;
      wide_values[block] = value;
    }
    attend_span<CacheF32>(job, rows, wide_keys, wide_values, padded, start, maxima, scratch);
  }

  for (int r = 0; r < rows.count; r++) {
    Vector total = load(scratch.sums + r * kBlockTokens);
    for (int i = 1; i < kPanelVectors; i++) total = add(total, load(scratch.sums + r * kBlockTokens + i * kLanes));
    const Vector sum = broadcast(reduce_add(total));
    const float* output = scratch.output + r * padded;
    float* y = job.args->y.row<float>(tile.first + r / rows.heads) + (rows.first_head + r % rows.heads) * width;
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) store(y + i, div(load(output + i), sum));
    if (i < width) store_partial(y + i, div(load(output + i), sum), static_cast<int>(width - i));
  }
}

inline void attend_item(const AttentionJob& job, int64_t item, int worker) {
  // The last tile of a prompt sees the most positions: start with it.
  const int64_t per_tile = job.key_heads * job.head_tiles;
  const AttentionTile& tile = job.tiles[job.tile_count - 1 - item / per_tile];
  const int64_t part = item % job.head_tiles;
  ItemRows rows;
  rows.key_head = item % per_tile / job.head_tiles;
  rows.first_head = rows.key_head * job.group + part * job.tile_heads;
  rows.heads = static_cast<int>(std::min(job.tile_heads, job.group - part * job.tile_heads));
  rows.count = rows.heads * tile.tokens;
  for (int r = 0; r < rows.count; r++) {
    rows.begin[r] = job.begin(tile.first + r / rows.heads);
    rows.end[r] = job.end(tile.first + r / rows.heads);
  }
  const AttentionScratch scratch(job.workspace + static_cast<size_t>(worker) * job.worker_bytes, job.width, job.padded);
  switch (job.args->cache_type) {
    case AttentionCacheType::kF32:
      return attend<CacheF32>(job, tile, rows, scratch);
    case AttentionCacheType::kF16:
      return attend<CacheF16>(job, tile, rows, scratch);
    case AttentionCacheType::kBf16:
      return attend<CacheBf16>(job, tile, rows, scratch);
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {
namespace {

constexpr const char* kOp = "attention";
constexpr int64_t kInlineProducts = 1 << 15;  // below this a parallel region costs more than it gives

constexpr size_t lines(size_t bytes) { return (bytes + 63) / 64 * 64; }
constexpr int64_t padded_width(int64_t width) { return AttentionScratch::aligned(width); }
size_t tile_bytes(int64_t tokens) { return lines(static_cast<size_t>(tokens) * sizeof(AttentionTile)); }
size_t scratch_bytes(int64_t width) { return lines(sizeof(float) * static_cast<size_t>(AttentionScratch::floats(width, padded_width(width)))); }

Status check_operands(const AttentionArgs& args, CacheLayer* layer) {
  const TensorView& q = args.q;
  const TensorView& y = args.y;
  HEDDLE_CHECK(q.rank == 3 && q.dtype == DType::kF32, kOp, "q is " + describe(q) + ": expected f32 [tokens, heads, width]");
  HEDDLE_CHECK(y.rank == 3 && y.dtype == DType::kF32 && std::equal(q.dims, q.dims + 3, y.dims), kOp,
               "y is " + describe(y) + ", q is " + describe(q) + ": expected the same shape");
  HEDDLE_CHECK(args.key_heads >= 1 && q.dims[1] % args.key_heads == 0, kOp,
               std::to_string(q.dims[1]) + " query heads for " + std::to_string(args.key_heads) + " key heads: expected a multiple");
  const int64_t element_bytes = args.cache_type == AttentionCacheType::kF32 ? 4 : 2;
  HEDDLE_TRY(check_cache_layer(kOp, args.pool, args.block_table, args.page_bytes, args.layer_offset, element_bytes, args.key_heads,
                               q.dims[2], layer));
  HEDDLE_TRY(check_token_indexes(kOp, "positions", args.positions, q.dims[0]));
  return check_token_indexes(kOp, "request", args.request, q.dims[0]);
}

// Cuts the tokens into tiles, writes the zeros of skipped tokens, and checks every index that the tiles will follow.
Status cut_tiles(const AttentionArgs& args, int64_t tile_tokens, AttentionJob* job, AttentionTile* tiles, int64_t* products) {
  const int64_t tokens = args.q.dims[0];
  const int32_t* positions = args.positions.as<const int32_t>();
  const int32_t* requests = args.request.as<const int32_t>();
  for (int64_t token = 0; token < tokens;) {
    if (positions[token] < 0) {
      std::memset(args.y.row<float>(token), 0, sizeof(float) * static_cast<size_t>(job->heads * job->width));
      token++;
      continue;
    }
    const int64_t request = requests[token], first = token;
    int64_t begin = job->begin(first), end = job->end(first);
    for (; token < tokens && token - first < tile_tokens && requests[token] == request && positions[token] >= 0; token++) {
      HEDDLE_TRY(check_place(kOp, job->layer, token, request, positions[token]));
      begin = std::min(begin, job->begin(token));
      end = std::max(end, job->end(token));
      *products += (job->end(token) - job->begin(token)) * job->heads * job->width * 2;
    }
    HEDDLE_TRY(check_pages(kOp, job->layer, request, begin / kBlockTokens, (end - 1) / kBlockTokens));
    tiles[job->tile_count++] = {static_cast<int32_t>(first), static_cast<int32_t>(token - first)};
  }
  return Status::success();
}

}  // namespace

size_t attention_cpu_workspace(const AttentionArgs& args, int threads) {
  return tile_bytes(args.q.dims[0]) + static_cast<size_t>(threads) * scratch_bytes(args.q.dims[2]);
}

Status attention_cpu(const AttentionArgs& args, CpuContext& context) {
  AttentionJob job = {};
  HEDDLE_TRY(check_operands(args, &job.layer));
  HEDDLE_CHECK(context.workspace_bytes >= attention_cpu_workspace(args, context.threads()), kOp,
               "the workspace has " + std::to_string(context.workspace_bytes) + " bytes: expected " +
                   std::to_string(attention_cpu_workspace(args, context.threads())));
  job.args = &args;
  job.heads = args.q.dims[1];
  job.key_heads = args.key_heads;
  job.width = args.q.dims[2];
  job.padded = padded_width(job.width);
  job.group = job.heads / job.key_heads;
  if (args.q.dims[0] == 0 || job.group == 0) return Status::success();
  job.tile_heads = std::min<int64_t>(job.group, kTileRows);
  job.head_tiles = (job.group + job.tile_heads - 1) / job.tile_heads;
  AttentionTile* tiles = reinterpret_cast<AttentionTile*>(context.workspace);
  job.tiles = tiles;
  job.workspace = context.workspace + tile_bytes(args.q.dims[0]);
  job.worker_bytes = scratch_bytes(job.width);
  int64_t products = 0;
  HEDDLE_TRY(cut_tiles(args, kTileRows / job.tile_heads, &job, tiles, &products));

  const auto attend_item = HEDDLE_DISPATCH(attend_item);
  if (products <= kInlineProducts) {
    for (int64_t item = 0; item < job.items(); item++) attend_item(job, item, 0);
    return Status::success();
  }
  context.parallel(job.items(), [&](int64_t item, int worker) { attend_item(job, item, worker); });
  return Status::success();
}

}  // namespace heddle
#endif
