// Where keys and values lie in the page pool. lib/engine/kv_layout.ts computes the same offsets.
//
// A page holds kBlockTokens positions of one request for all layers. Page p starts at pool + p * page_bytes; one layer's
// part starts layer_offset bytes into it: first keys as [heads][width][kBlockTokens] (positions side by side, so that a
// score is a chain of fused multiply-adds with one position per lane), then values as [heads][kBlockTokens][width].
// Position p of a request is slot p % kBlockTokens of page block_table[request][p / kBlockTokens].
#pragma once
#include <cstdint>

namespace heddle {

inline constexpr int64_t kBlockTokens = 16;

constexpr int64_t kv_layer_elements(int64_t heads, int64_t width) { return 2 * heads * width * kBlockTokens; }
constexpr int64_t key_offset(int64_t width, int64_t head, int64_t channel, int64_t slot) {
  return (head * width + channel) * kBlockTokens + slot;
}
constexpr int64_t value_offset(int64_t heads, int64_t width, int64_t head, int64_t slot, int64_t channel) {
  return heads * width * kBlockTokens + (head * kBlockTokens + slot) * width + channel;
}

}  // namespace heddle
