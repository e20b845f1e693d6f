// Adapters on linear layers: every token adds what its own adapters say, base-only tokens cost one look at their index.
#include <type_traits>

#include "core/check.h"
#include "cpu/cpu_context.h"
#include "cpu/targets.h"
#include "generated/elementwise_ops.h"
#include "generated/grouped_lora_ops.h"
#include "kernels/grouped_lora/adapter_tokens.h"
#include "kernels/grouped_lora/grouped_lora_checks.h"

#ifndef HEDDLE_GROUPED_LORA_WORK
#define HEDDLE_GROUPED_LORA_WORK
namespace heddle {

// Outputs per chunk. Wide enough that computing A x again for each chunk of a wide site costs little.
inline constexpr int64_t kColumnBlock = 8192;
static_assert(kColumnBlock >= kSeriesSize, "GroupedLoraWork::series has a column block per token");

struct GroupedLoraWork {
  const GroupedLoraArgs& args;
  AdapterPool pool;
  const TokenTile* tiles;
  float* saved;  // per worker: [kTileTokens][kColumnBlock] of the base's outputs, or [kRankBlock][kBlockTokens] products
  float* plain;  // per worker: plain_floats
  float* series;  // per worker: [ranks of a token's series entries][kTileTokens], products with the base's outputs
};

}  // namespace heddle
#endif

#define HEDDLE_TARGET_FILE "kernels/grouped_lora/grouped_lora_cpu.cc"
#include "cpu/foreach_target.h"
#if defined(HEDDLE_TARGET)
#include "kernels/grouped_lora/adapter_rows.h"
#include "kernels/grouped_lora/bottleneck_rows.h"
#include "kernels/grouped_lora/token_block.h"
#include "kernels/grouped_lora/compact_row_loops.h"

namespace heddle::HEDDLE_TARGET {

// What one adapter adds to the outputs from .. to of one tile at one site.
template <class Row>
void add_low_rank(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* const* x, int64_t inputs, Join how,
                  int64_t from, int64_t to) {
  const Factor b = factor_b(pool, entry);
  float v[kRankBlock * kTileTokens];
  int64_t done = 0;
  do {  // once even for rank 0, which may carry a gain or a shift
    const int count = static_cast<int>(entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock);
    constexpr int64_t kBytes = sizeof(typename Row::Element);
    RowFetch fetch(pool, entry.first_a + done, count, inputs * kBytes, b.beginning<typename Row::Element>(done, from, to));
    dot_rows_of_tile<Row>(pool, entry.first_a + done, count, tokens, x, inputs, v, &fetch);
    if (is_bottleneck(entry))
      activate_scaled(entry.gain, entry.scale, v, count * kTileTokens);
    else
      for (int i = 0; i < count * kTileTokens; i++) v[i] *= entry.scale;
    add_rows_to_tile<Row>(b, done, count, tokens, v, how, from, to);
    done += count;
    how.own = how.replaces = false;
    how.shift = nullptr;
  } while (done < entry.rank);
}

// v = scale f(A y) for the outputs y that the base left: [rank][kTileTokens].
template <class Row>
void series_products(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* const* y, int64_t outputs, float* v) {
  for (int64_t done = 0; done < entry.rank; done += kRankBlock) {
    const int64_t count = entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock;
    float* block = v + done * kTileTokens;
    RowFetch fetch(pool, entry.first_a + done, count, outputs * static_cast<int64_t>(sizeof(typename Row::Element)), {});
    dot_rows_of_tile<Row>(pool, entry.first_a + done, count, tokens, y, outputs, block, &fetch);
    activate_scaled(entry.gain, entry.scale, block, count * kTileTokens);
  }
}

template <class Row>
void add_series(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* v, const Join& how, int64_t from, int64_t to) {
  for (int64_t done = 0; done < entry.rank; done += kRankBlock) {
    const int count = static_cast<int>(entry.rank - done < kRankBlock ? entry.rank - done : kRankBlock);
    add_rows_to_tile<Row>(factor_b(pool, entry), done, count, tokens, v + done * kTileTokens, how, from, to);
  }
}

template <class Row>
void add_dense(const AdapterPool& pool, const AdapterEntry& entry, int tokens, const float* const* x, int64_t inputs, const Join& how,
               int64_t from, int64_t to) {
  float dots[kRankBlock * kTileTokens], product[kRankBlock];
  for (int64_t n = from; n < to; n += kRankBlock) {
    const int64_t count = to - n < kRankBlock ? to - n : kRankBlock, at = n - from;
    RowFetch fetch(pool, entry.first_a + n, count, inputs * static_cast<int64_t>(sizeof(typename Row::Element)), {});
    dot_rows_of_tile<Row>(pool, entry.first_a + n, count, tokens, x, inputs, dots, &fetch);
    for (int t = 0; t < tokens; t++) {
      for (int64_t i = 0; i < count; i++) product[i] = dots[i * kTileTokens + t];
      float* y = how.y[t] + at;
      const float* original = how.original[t] + at;
      const auto shifted = [&](const float* p) { return p == nullptr ? nullptr : p + at; };
      join_product(product, {&y, &original, how.weight + t, nullptr, shifted(how.shift), shifted(how.bias), true, how.replaces}, count);
    }
  }
}

// `series`: what series_products gave for the tile, entry after entry.
static void grouped_lora_chunk(const GroupedLoraWork& work, const TokenTile& tile, int64_t s, int64_t block, int worker, const float* series) {
  const GroupedLoraArgs& args = work.args;
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t outputs = columns[s + 1] - columns[s], inputs = args.x.dims[1], routes = args.index.dims[1];
  const int64_t from = block * kColumnBlock, to = from + kColumnBlock < outputs ? from + kColumnBlock : outputs;
  if (from >= to) return;
  const int32_t* slots = args.index.as<int32_t>() + tile.first * routes;

  int active = 0;
  bool needs_original = false;
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
    if (entry.kind == EntryKind::kNone) continue;
    needs_original |= active > 0 && (entry.kind == EntryKind::kDense || gain_row(entry) >= 0);
    active++;
  }
  if (active == 0) return;

  const float* x[kTileTokens];
  const float* original[kTileTokens];
  float* y[kTileTokens];
  for (int t = 0; t < tile.count; t++) {
    x[t] = args.x.row<float>(tile.first + t);
    y[t] = args.y.row<float>(tile.first + t) + columns[s] + from;
    original[t] = y[t];
    if (needs_original) {
      float* saved = work.saved + (worker * kTileTokens + t) * kColumnBlock;
      std::memcpy(saved, y[t], static_cast<size_t>(to - from) * sizeof(float));
      original[t] = saved;
    }
  }
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
    if (entry.kind == EntryKind::kNone) continue;
    float weight[kTileTokens];
    bool ones = true;
    for (int t = 0; t < tile.count; t++) {
      weight[t] = args.weight.row<float>(tile.first + t)[j];
      ones &= weight[t] == 1.0f;
    }
    const auto row = [&](int32_t index) { return index < 0 ? nullptr : static_cast<const float*>(work.pool.row(index)) + from; };
    const bool own = entry.kind == EntryKind::kDense || gain_row(entry) >= 0;
    const float* bias = own && args.base_bias.present() ? args.base_bias.as<float>() + columns[s] + from : nullptr;
    // Tokens of a tile may differ in weight, and a token's bits may not depend on its neighbours: then one by one.
    const bool replaces = own && active == 1;
    const int step = replaces && !ones ? 1 : tile.count;
    for (int t = 0; t < tile.count; t += step) {
      const Join how = {y + t, original + t, weight + t, row(gain_row(entry)), row(shift_row(entry)), bias, own, replaces && weight[t] == 1.0f};
      if (has_compact_rows(entry)) {
        add_compact_to_tile(work.pool, entry, step, x + t, inputs, outputs, how, from, to);
        continue;
      }
      with_row_type(row_dtype(entry), [&](auto kind) {
        using Row = decltype(kind);
        if (entry.kind == EntryKind::kDense) {
          add_dense<Row>(work.pool, entry, step, x + t, inputs, how, from, to);
        } else if (entry.kind == EntryKind::kSeries) {
          add_series<Row>(work.pool, entry, step, series, how, from, to);
        } else {
          add_low_rank<Row>(work.pool, entry, step, x + t, inputs, how, from, to);
        }
      });
    }
    if (entry.kind == EntryKind::kSeries) series += entry.rank * kTileTokens;
  }
}

// All blocks of a site where a series entry reads every output before the first is changed.
static void grouped_lora_series(const GroupedLoraWork& work, const TokenTile& tile, int64_t s, int worker) {
  const GroupedLoraArgs& args = work.args;
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t outputs = columns[s + 1] - columns[s], routes = args.index.dims[1];
  const int32_t* slots = args.index.as<int32_t>() + tile.first * routes;
  const float* y[kTileTokens];
  for (int t = 0; t < tile.count; t++) y[t] = args.y.row<float>(tile.first + t) + columns[s];
  float* const products = work.series + worker * kTileTokens * kColumnBlock;
  float* v = products;
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
    if (entry.kind != EntryKind::kSeries) continue;
    with_row_type(row_dtype(entry), [&](auto kind) { series_products<decltype(kind)>(work.pool, entry, tile.count, y, outputs, v); });
    v += entry.rank * kTileTokens;
  }
  for (int64_t block = 0; block * kColumnBlock < outputs; block++) grouped_lora_chunk(work, tile, s, block, worker, products);
}

// A tile of more than kTileTokens tokens: with the same bits, whole where all entries are factors without gain, else in parts.
static void grouped_lora_tile(const GroupedLoraWork& work, int64_t tile_index, int64_t s, int64_t block, int worker) {
  const GroupedLoraArgs& args = work.args;
  const TokenTile tile = work.tiles[tile_index];
  const int32_t* columns = args.columns.as<int32_t>();
  const int64_t outputs = columns[s + 1] - columns[s], inputs = args.x.dims[1], routes = args.index.dims[1];
  const int64_t from = block * kColumnBlock, to = from + kColumnBlock < outputs ? from + kColumnBlock : outputs;
  const int32_t* slots = args.index.as<int32_t>() + tile.first * routes;
  bool whole = tile.count > kTileTokens, series = false;
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
    series |= entry.kind == EntryKind::kSeries;
    whole &= entry.kind == EntryKind::kNone || (entry.kind == EntryKind::kLowRank && entry.gain < 0);
  }
  if (series && block > 0) return;
  if (!whole) {
    for (int32_t done = 0; done < tile.count; done += kTileTokens) {
      const TokenTile part = {tile.first + done, std::min<int32_t>(kTileTokens, tile.count - done)};
      if (series)
        grouped_lora_series(work, part, s, worker);
      else
        grouped_lora_chunk(work, part, s, block, worker, nullptr);
    }
    return;
  }
  if (from >= to) return;
  const float* x[kBlockTokens];
  float* y[kBlockTokens];
  float weight[kBlockTokens];
  for (int t = 0; t < tile.count; t++) {
    x[t] = args.x.row<float>(tile.first + t);
    y[t] = args.y.row<float>(tile.first + t) + columns[s] + from;
  }
  for (int64_t j = 0; j < routes; j++) {
    if (slots[j] < 0) continue;
    const AdapterEntry entry = work.pool.entry(slots[j], args.site + s);
    if (entry.kind == EntryKind::kNone) continue;
    for (int t = 0; t < tile.count; t++) weight[t] = args.weight.row<float>(tile.first + t)[j];
    const float* shift = entry.shift < 0 ? nullptr : static_cast<const float*>(work.pool.row(entry.shift)) + from;
    float* const products = work.saved + static_cast<int64_t>(worker) * kTileTokens * kColumnBlock;
    const BlockJoin how = {y, weight, shift};
    if (has_compact_rows(entry)) {
      add_compact_low_rank_block(work.pool, entry, tile.count, x, inputs, outputs, how, from, to, products, work.plain + worker * plain_floats(inputs));
      continue;
    }
    with_row_type(row_dtype(entry), [&](auto kind) {
      add_low_rank_block<decltype(kind)>(entry.scale, work.pool, entry.first_a, factor_b(work.pool, entry), tile.count, x, inputs, how, from, to, products);
    });
  }
}

}  // namespace heddle::HEDDLE_TARGET
#endif

#if defined(HEDDLE_ONCE)
namespace heddle {

namespace {

constexpr const char* kOp = "grouped_lora";

Status check_factors(const AdapterPool& pool, const AdapterEntry& entry, int64_t slot, int64_t site, int64_t inputs, int64_t outputs) {
  const int64_t width = static_cast<int64_t>(dtype_bytes(static_cast<DType>(row_dtype(entry))));
  if (has_compact_rows(entry)) {
    const bool possible = entry.dtype == (static_cast<int32_t>(DType::kBF16) | kCompactRows) && entry.kind == EntryKind::kLowRank && entry.rank > 0;
    if (!possible || !can_be_compact(entry.rank, inputs) || !can_be_compact(entry.rank, outputs))
      return bad_entry(kOp, slot, site, "has compact rows, dtype " + std::to_string(entry.dtype) + ", rank " + std::to_string(entry.rank) + ", " +
                                            std::to_string(inputs) + " inputs and " + std::to_string(outputs) +
                                            " outputs: expected low-rank bf16, a rank of 4, 8, .. and multiples of 32");
    if (!compact_a(pool, entry, inputs).inside()) return rows_outside(kOp, slot, site, entry.first_a, (entry.rank + kGroupRows - 1) / kGroupRows);
    if (!compact_b(pool, entry, outputs).inside()) return rows_outside(kOp, slot, site, entry.first_b, (entry.rank + kGroupRows - 1) / kGroupRows);
    return Status::success();
  }
  if (!pool.holds(entry.first_a, entry.rank, inputs * width)) return rows_outside(kOp, slot, site, entry.first_a, entry.rank);
  if (!factor_b(pool, entry).inside(outputs * width)) return rows_outside(kOp, slot, site, entry.first_b, entry.rank);
  return Status::success();
}

Status check_bottleneck(const AdapterPool& pool, const AdapterEntry& entry, int64_t slot, int64_t site, int64_t inputs, int64_t outputs, int64_t routes) {
  if (!is_row_dtype(row_dtype(entry))) return bad_entry(kOp, slot, site, "has dtype " + std::to_string(row_dtype(entry)) + ": expected f32, f16 or bf16");
  if (entry.rank < 0) return bad_entry(kOp, slot, site, "has rank " + std::to_string(entry.rank));
  const int32_t functions = static_cast<int32_t>(ActivateFunction::kTanh) + 1;
  if (entry.gain < 0 || entry.gain >= functions)
    return bad_entry(kOp, slot, site, "has function " + std::to_string(entry.gain) + ": expected 0 to " + std::to_string(functions - 1));
  const bool series = entry.kind == EntryKind::kSeries;
  if (series && entry.rank > kSeriesSize / routes)
    return bad_entry(kOp, slot, site, "is a network in series of size " + std::to_string(entry.rank) + ": expected at most " +
                                          std::to_string(kSeriesSize / routes) + " beside " + std::to_string(routes - 1) + " other adapters of a token");
  return check_factors(pool, entry, slot, site, series ? outputs : inputs, outputs);
}

Status check_site(const AdapterPool& pool, int64_t slot, int64_t site, int64_t inputs, int64_t outputs, int64_t routes) {
  const AdapterEntry entry = pool.entry(slot, site);
  if (entry.kind == EntryKind::kNone) return Status::success();
  if (is_bottleneck(entry)) return check_bottleneck(pool, entry, slot, site, inputs, outputs, routes);
  if (entry.kind != EntryKind::kLowRank && entry.kind != EntryKind::kDense)
    return bad_entry(kOp, slot, site, "is of kind " + std::to_string(static_cast<int32_t>(entry.kind)) + ": expected 0 to 4");
  const bool factors = entry.kind == EntryKind::kLowRank;
  AdapterEntry rows = entry;  // of a whole weight none lie in groups
  if (factors) rows.dtype = row_dtype(entry);
  HEDDLE_TRY(check_entry(kOp, pool, rows, slot, site, outputs));
  if (factors) return check_factors(pool, entry, slot, site, inputs, outputs);
  const int64_t width = static_cast<int64_t>(dtype_bytes(static_cast<DType>(entry.dtype)));
  if (!pool.holds(entry.first_a, entry.rank, inputs * width)) return rows_outside(kOp, slot, site, entry.first_a, entry.rank);
  if (entry.rank == outputs) return Status::success();
  return bad_entry(kOp, slot, site, "has " + std::to_string(entry.rank) + " dense rows: expected " + std::to_string(outputs));
}

size_t tile_bytes(const TensorView& index) { return (static_cast<size_t>(index.dims[0]) * sizeof(TokenTile) + 63) / 64 * 64; }

}  // namespace

size_t grouped_lora_cpu_workspace(const GroupedLoraArgs& args, int threads) {
  return tile_bytes(args.index) + static_cast<size_t>(threads * (2 * kTileTokens * kColumnBlock + plain_floats(args.x.dims[1]))) * sizeof(float);
}

Status grouped_lora_cpu(const GroupedLoraArgs& args, CpuContext& context) {
  HEDDLE_TRY(check_grouped_lora(args));
  const int64_t tokens = args.x.dims[0], inputs = args.x.dims[1];
  AdapterPool pool;
  HEDDLE_TRY(read_adapter_pool(kOp, args.entries, args.rows, args.pool, &pool));
  bool any = false;
  HEDDLE_TRY(check_routes(kOp, args.index, args.weight, tokens, pool.slots, &any));
  if (!any) return Status::success();

  const int64_t sites = args.columns.dims[0] - 1;
  const int32_t* columns = args.columns.as<int32_t>();
  int64_t widest = 0;
  for (int64_t s = 0; s < sites; s++) {
    HEDDLE_CHECK(columns[s] >= 0 && columns[s] <= columns[s + 1] && columns[s + 1] <= args.base.dims[1], kOp,
                 "columns " + std::to_string(columns[s]) + " to " + std::to_string(columns[s + 1]) + " do not lie in " + describe(args.base));
    widest = columns[s + 1] - columns[s] > widest ? columns[s + 1] - columns[s] : widest;
  }
  HEDDLE_CHECK(args.site >= 0 && args.site + sites <= pool.sites, kOp,
               "sites " + std::to_string(args.site) + " to " + std::to_string(args.site + sites) + " of " + std::to_string(pool.sites));
  HEDDLE_CHECK(context.workspace_bytes >= grouped_lora_cpu_workspace(args, context.threads()), kOp, "the workspace is too small");

  TokenTile* tiles = reinterpret_cast<TokenTile*>(context.workspace);
  const int64_t tile_count = cut_tiles(args.index, tiles, tile_tokens(tokens, context.threads()));
  HEDDLE_TRY(check_slots(args.index, tiles, tile_count, [&](int64_t slot) {
    for (int64_t s = 0; s < sites; s++) HEDDLE_TRY(check_site(pool, slot, args.site + s, inputs, columns[s + 1] - columns[s], args.index.dims[1]));
    return Status::success();
  }));

  float* const saved = reinterpret_cast<float*>(context.workspace + tile_bytes(args.index));
  const int64_t threads = context.threads();
  float* const series = saved + threads * kTileTokens * kColumnBlock;
  const GroupedLoraWork work = {args, pool, tiles, saved, series + threads * kTileTokens * kColumnBlock, series};
  const int64_t blocks = (widest + kColumnBlock - 1) / kColumnBlock;
  const auto run = HEDDLE_DISPATCH(grouped_lora_tile);
  context.parallel(tile_count * sites * blocks, [&](int64_t chunk, int worker) {
    run(work, chunk / (sites * blocks), chunk / blocks % sites, chunk % blocks, worker);
  });
  return Status::success();
}

}  // namespace heddle
#endif
