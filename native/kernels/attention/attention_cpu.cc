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
#include "kernels/attention/attention_rows.h"

namespace heddle::HEDDLE_TARGET {

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
void attend_span(const AttentionJob& job, const ItemRows& rows, const SpanBlocks<typename Type::Stored>& span,
                 const SpanBlocks<typename Type::Stored>* next, int64_t start, float* maxima, const AttentionScratch& scratch) {
  SpanRange ranges[kTileRows];
  for (int r = 0; r < rows.count; r++) {
    const int64_t begin = std::max(rows.begin[r] - start, int64_t{0}), end = std::min(rows.end[r] - start, int64_t{kSpan});
    ranges[r] = begin < end ? SpanRange{static_cast<int>(begin), static_cast<int>(end)} : SpanRange{0, 0};
  }
  for_register_tiles(rows.count, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    score_rows<Type, kRows>(scratch.q + first * job.width, span, next, ranges + first, job.width, scratch.scores + first * kSpan);
  });
  for (int r = 0; r < rows.count; r++)
    if (ranges[r].begin < ranges[r].end)
      weigh(scratch.scores + r * kSpan, ranges[r], job.args->soft_cap, maxima + r, scratch.sums + r * kBlockTokens,
            scratch.output + r * job.padded, job.padded);
  for_register_tiles(rows.count, [&](int first, auto size) {
    constexpr int kRows = decltype(size)::value;
    add_value_rows<Type, kRows>(scratch.scores + first * kSpan, span, next, ranges + first, scratch.output + first * job.padded, job.padded);
  });
}

template <class Type>
void widen(const typename Type::Stored* from, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(to + i, Type::read(from + i));
  for (; i < count; i++) to[i] = Type::read_one(from + i);
}

// The blocks of the span from `start` that lie in [begin, end), where the pool has them.
template <class Stored>
SpanBlocks<Stored> find_blocks(const AttentionJob& job, int64_t request, int64_t key_head, int64_t start, int64_t begin, int64_t end) {
  SpanBlocks<Stored> span;
  span.value_stride = job.width;
  const int64_t first = std::max(begin - start, int64_t{0}) / kBlockTokens;
  const int64_t stop = (std::min(end - start, int64_t{kSpan}) + kBlockTokens - 1) / kBlockTokens;
  for (int64_t block = first; block < stop; block++) {
    const Stored* page = reinterpret_cast<const Stored*>(job.layer.page(request, start / kBlockTokens + block));
    span.keys[block] = page + key_offset(job.width, key_head, 0, 0);
    span.values[block] = page + value_offset(job.key_heads, job.width, key_head, 0, 0);
  }
  return span;
}

// Whether values can be read in whole vectors. Past an odd width these reach into what follows in the pool, and the lanes
// are dropped at the end; the pool's last values have nothing behind them.
template <class Stored>
bool whole_vectors(const AttentionJob& job, const SpanBlocks<Stored>& span) {
  if (job.width == job.padded) return true;
  const Stored* pool_end = reinterpret_cast<const Stored*>(job.args->pool.as<const std::byte>() + job.args->pool.dims[0]);
  for (const Stored* block : span.values)
    if (block != nullptr && pool_end - block < (kBlockTokens - 1) * job.width + job.padded) return false;
  return true;
}

// The same blocks as f32 in scratch memory, values padded with zeros to whole vectors.
template <class Type>
SpanBlocks<float> widen_blocks(const AttentionJob& job, const SpanBlocks<typename Type::Stored>& span, const AttentionScratch& scratch) {
  SpanBlocks<float> wide;
  wide.value_stride = job.padded;
  for (int block = 0; block < kSpanBlocks; block++) {
    if (span.keys[block] == nullptr) continue;
    float* key = scratch.keys + block * kBlockTokens * job.width;
    float* value = scratch.values + block * kBlockTokens * job.padded;
    widen<Type>(span.keys[block], kBlockTokens * job.width, key);
    for (int64_t slot = 0; slot < kBlockTokens; slot++, value += job.padded) {
      widen<Type>(span.values[block] + slot * job.width, job.width, value);
      std::fill(value + job.width, value + job.padded, 0.0f);
    }
    wide.keys[block] = key;
    wide.values[block] = value - kBlockTokens * job.padded;
  }
  return wide;
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

  // 16-bit elements that several register tiles read are widened once.
  const bool few = rows.count <= kRegisterRows;
  const bool direct = few || std::is_same<Type, CacheF32>::value;
  const int64_t first = begin / kSpan * kSpan;
  SpanBlocks<Stored> span = find_blocks<Stored>(job, request, rows.key_head, first, begin, end);
  for (int64_t start = first; start < end; start += kSpan) {
    const SpanBlocks<Stored> next = find_blocks<Stored>(job, request, rows.key_head, start + kSpan, begin, end);
    if (direct && whole_vectors(job, span))
      attend_span<Type>(job, rows, span, few ? &next : nullptr, start, maxima, scratch);
    else
      attend_span<CacheF32>(job, rows, widen_blocks<Type>(job, span, scratch), nullptr, start, maxima, scratch);
    span = next;
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
  HEDDLE_TRY(check_attention(args, &job.layer));
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
