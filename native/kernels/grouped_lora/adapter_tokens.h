// Which tokens belong to which adapter, for kernels that go adapter by adapter, and what the gradient kernels ask of an entry.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/grouped_lora/adapter_pool.h"

namespace heddle {

inline constexpr int kBlockTokens = 48;  // most tokens of one adapter that go through its factors together

// One route of one token.
struct RoutedToken {
  int32_t token;
  float weight;
};

// Neighbours in AdapterTokens::routed that belong to one adapter.
struct TokenRun {
  int32_t slot;
  int32_t first;
  int32_t count;
};

// All routes sorted by adapter, an adapter's own in ascending order of tokens.
struct AdapterTokens {
  RoutedToken* routed;
  TokenRun* adapters;  // one per adapter of the batch
  int64_t adapter_count = 0;
  TokenRun* blocks;  // the same cut into runs of at most kBlockTokens
  int64_t block_count = 0;

  static size_t bytes(const TensorView& index, int64_t slots) {
    const size_t routes = static_cast<size_t>(index.dims[0] * index.dims[1]);
    return (routes * (sizeof(RoutedToken) + 2 * sizeof(TokenRun)) + static_cast<size_t>(slots) * sizeof(int32_t) + 63) / 64 * 64;
  }
};

// index was checked: every slot is -1 or exists. `memory` holds AdapterTokens::bytes. Tokens of a negative id are left out.
inline AdapterTokens group_tokens(const TensorView& index, const TensorView& weight, int64_t slots, std::byte* memory,
                                  const int32_t* ids = nullptr) {
  const int64_t tokens = index.dims[0], routes = index.dims[1];
  const int32_t* slot = index.as<int32_t>();
  const auto used = [&](int64_t i) { return slot[i] >= 0 && (ids == nullptr || ids[i / routes] >= 0); };
  AdapterTokens found;
  found.routed = reinterpret_cast<RoutedToken*>(memory);
  found.adapters = reinterpret_cast<TokenRun*>(found.routed + tokens * routes);
  found.blocks = found.adapters + tokens * routes;
  int32_t* next = reinterpret_cast<int32_t*>(found.blocks + tokens * routes);  // first the counts, then where an adapter's next route goes
  std::fill_n(next, slots, 0);
  for (int64_t i = 0; i < tokens * routes; i++)
    if (used(i)) next[slot[i]]++;
  int32_t at = 0;
  for (int64_t s = 0; s < slots; s++) {
    const int32_t count = next[s];
    next[s] = at;
    if (count == 0) continue;
    found.adapters[found.adapter_count++] = {static_cast<int32_t>(s), at, count};
    for (int32_t done = 0; done < count; done += kBlockTokens)
      found.blocks[found.block_count++] = {static_cast<int32_t>(s), at + done, std::min<int32_t>(kBlockTokens, count - done)};
    at += count;
  }
  for (int64_t i = 0; i < tokens * routes; i++)
    if (used(i)) found.routed[next[slot[i]]++] = {static_cast<int32_t>(i / routes), weight.as<float>()[i]};
  return found;
}

// Tokens per tile when tokens of one adapter go together: many for speed, yet several tiles per thread. Bits do not depend on it.
inline int64_t tile_tokens(int64_t tokens, int threads) {
  const int64_t share = tokens / (4 * static_cast<int64_t>(threads)) / 12 * 12;
  return std::clamp<int64_t>(share, kTileTokens, kBlockTokens);
}

inline Status check_columns_shape(const char* op, const TensorView& columns) {
  HEDDLE_CHECK(columns.rank == 1 && columns.dtype == DType::kI32 && columns.dims[0] >= 2, op,
               "columns is " + describe(columns) + ": expected i32 [sites + 1]");
  return Status::success();
}

// columns of a family op: i32 [sites + 1], ascending, within `width`; the sites from `site` exist.
inline Status check_columns(const char* op, const TensorView& columns, int64_t width, int64_t site, int64_t all_sites) {
  HEDDLE_TRY(check_columns_shape(op, columns));
  const int32_t* at = columns.as<int32_t>();
  const int64_t sites = columns.dims[0] - 1;
  for (int64_t s = 0; s < sites; s++)
    HEDDLE_CHECK(at[s] >= 0 && at[s] <= at[s + 1] && at[s + 1] <= width, op,
                 "columns " + std::to_string(at[s]) + " to " + std::to_string(at[s + 1]) + " do not lie in " + std::to_string(width));
  HEDDLE_CHECK(site >= 0 && sites <= all_sites && site <= all_sites - sites, op,
               "sites " + std::to_string(site) + " to " + std::to_string(site + sites) + " of " + std::to_string(all_sites));
  return Status::success();
}

// A gradient needs nothing of the forward pass but its inputs, which holds for factors and shift alone.
inline Status check_gradient_site(const char* op, const AdapterPool& pool, int64_t slot, int64_t site, int64_t inputs, int64_t outputs) {
  const AdapterEntry entry = pool.entry(slot, site);
  if (entry.kind == EntryKind::kNone) return Status::success();
  HEDDLE_TRY(check_entry(op, pool, entry, slot, site, outputs));
  if (entry.kind == EntryKind::kDense) return bad_entry(op, slot, site, "replaces the whole weight: only low-rank entries have gradients here");
  if (entry.gain >= 0) return bad_entry(op, slot, site, "has a gain: only low-rank entries without one have gradients here");
  const int64_t width = static_cast<int64_t>(dtype_bytes(static_cast<DType>(entry.dtype)));
  if (!pool.holds(entry.first_a, entry.rank, inputs * width)) return rows_outside(op, slot, site, entry.first_a, entry.rank);
  if (!pool.holds(entry.first_b, entry.rank, outputs * width)) return rows_outside(op, slot, site, entry.first_b, entry.rank);
  return Status::success();
}

}  // namespace heddle
