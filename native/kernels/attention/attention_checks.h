// What kv_write and attention both verify before they touch the pool: its geometry, and every index that is data.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/status.h"
#include "core/tensor_view.h"
#include "generated/attention_ops.h"
#include "kernels/attention/attention_layout.h"

namespace heddle {

// One layer's part of the page pool.
struct CacheLayer {
  std::byte* data = nullptr;  // the layer's part of page 0
  int64_t page_bytes = 0;
  int64_t pages = 0;
  const int32_t* table = nullptr;  // page ids, `blocks` per request
  int64_t table_stride = 0;
  int64_t requests = 0;
  int64_t blocks = 0;

  std::byte* page(int64_t request, int64_t block) const { return data + int64_t{table[request * table_stride + block]} * page_bytes; }
};

inline Status check_cache_layer(const char* op, const TensorView& pool, const TensorView& block_table, int64_t page_bytes,
                                int64_t layer_offset, int64_t element_bytes, int64_t heads, int64_t width, CacheLayer* layer) {
  constexpr int64_t kLargest = int64_t{1} << 24;  // keeps the products below far from overflow
  HEDDLE_CHECK(heads >= 1 && heads <= kLargest && width >= 1 && width <= kLargest, op,
               std::to_string(heads) + " key heads of width " + std::to_string(width) + ": expected 1 to 2^24 of each");
  HEDDLE_CHECK(pool.rank == 1 && pool.dtype == DType::kU8, op, "pool is " + describe(pool) + ": expected u8 [bytes]");
  HEDDLE_CHECK(block_table.rank == 2 && block_table.dtype == DType::kI32, op,
               "block_table is " + describe(block_table) + ": expected i32 [requests, blocks]");
  const int64_t layer_bytes = kv_layer_elements(heads, width) * element_bytes;
  HEDDLE_CHECK(page_bytes > 0 && layer_offset >= 0 && layer_offset <= page_bytes && layer_bytes <= page_bytes - layer_offset, op,
               "a layer of " + std::to_string(layer_bytes) + " bytes at offset " + std::to_string(layer_offset) +
                   " does not fit in pages of " + std::to_string(page_bytes) + " bytes");
  HEDDLE_CHECK(page_bytes % element_bytes == 0 && layer_offset % element_bytes == 0 &&
                   reinterpret_cast<uintptr_t>(pool.data) % static_cast<uintptr_t>(element_bytes) == 0,
               op, "pages of " + std::to_string(page_bytes) + " bytes with a layer at " + std::to_string(layer_offset) +
                       ": expected multiples of " + std::to_string(element_bytes));
  layer->data = pool.as<std::byte>() + layer_offset;
  layer->page_bytes = page_bytes;
  layer->pages = pool.dims[0] / page_bytes;
  layer->table = block_table.as<const int32_t>();
  layer->table_stride = block_table.dims[0] > 1 ? block_table.leading_stride : block_table.dims[1];
  layer->requests = block_table.dims[0];
  layer->blocks = block_table.dims[1];
  return Status::success();
}

// `name` is i32 [tokens].
inline Status check_token_indexes(const char* op, const char* name, const TensorView& tensor, int64_t tokens) {
  HEDDLE_CHECK(tensor.rank == 1 && tensor.dtype == DType::kI32 && tensor.dims[0] == tokens, op,
               std::string(name) + " is " + describe(tensor) + ": expected i32 [" + std::to_string(tokens) + "]");
  return Status::success();
}

inline Status check_kv_write(const KvWriteArgs& args, CacheLayer* layer) {
  const TensorView& k = args.k;
  const TensorView& v = args.v;
  HEDDLE_CHECK(k.rank == 3 && k.dtype == DType::kF32, "kv_write", "k is " + describe(k) + ": expected f32 [tokens, heads, width]");
  HEDDLE_CHECK(v.rank == 3 && v.dtype == DType::kF32 && std::equal(k.dims, k.dims + 3, v.dims), "kv_write",
               "v is " + describe(v) + ", k is " + describe(k) + ": expected the same shape");
  HEDDLE_CHECK(args.written.data == args.pool.data && args.written.dims[0] == args.pool.dims[0], "kv_write",
               "written is " + describe(args.written) + ": expected the pool itself");
  const int64_t element_bytes = args.cache_type == KvWriteCacheType::kF32 ? 4 : 2;
  HEDDLE_TRY(check_cache_layer("kv_write", args.pool, args.block_table, args.page_bytes, args.layer_offset, element_bytes, k.dims[1], k.dims[2],
                               layer));
  const int64_t tokens = k.dims[0];
  const TensorView& table = args.table;
  HEDDLE_CHECK(!table.present() || (table.rank == 2 && table.dtype == DType::kF32 && table.dims[0] == tokens && table.dims[1] % 2 == 0 &&
                                    table.dims[1] <= k.dims[2]),
               "kv_write",
               "table is " + describe(table) + ", k is " + describe(k) + ": expected f32 [tokens, rotary], rotary even and at most the width");
  HEDDLE_TRY(check_token_indexes("kv_write", "positions", args.positions, tokens));
  return check_token_indexes("kv_write", "request", args.request, tokens);
}

inline Status check_attention(const AttentionArgs& args, CacheLayer* layer) {
  const TensorView& q = args.q;
  const TensorView& y = args.y;
  HEDDLE_CHECK(q.rank == 3 && q.dtype == DType::kF32, "attention", "q is " + describe(q) + ": expected f32 [tokens, heads, width]");
  HEDDLE_CHECK(y.rank == 3 && y.dtype == DType::kF32 && std::equal(q.dims, q.dims + 3, y.dims), "attention",
               "y is " + describe(y) + ", q is " + describe(q) + ": expected the same shape");
  HEDDLE_CHECK(args.key_heads >= 1 && q.dims[1] % args.key_heads == 0, "attention",
               std::to_string(q.dims[1]) + " query heads for " + std::to_string(args.key_heads) + " key heads: expected a multiple");
  const int64_t element_bytes = args.cache_type == AttentionCacheType::kF32 ? 4 : 2;
  HEDDLE_TRY(check_cache_layer("attention", args.pool, args.block_table, args.page_bytes, args.layer_offset, element_bytes, args.key_heads,
                               q.dims[2], layer));
  HEDDLE_TRY(check_token_indexes("attention", "positions", args.positions, q.dims[0]));
  return check_token_indexes("attention", "request", args.request, q.dims[0]);
}

// `position` of `request` has a place in the block table.
inline Status check_place(const char* op, const CacheLayer& layer, int64_t token, int64_t request, int64_t position) {
  if (request < 0 || request >= layer.requests)
    return fail(StatusCode::kInvalidArgument, std::string("[") + op + "] token " + std::to_string(token) + " belongs to request " +
                                                  std::to_string(request) + ": the block table has " + std::to_string(layer.requests) +
                                                  " rows");
  if (position / kBlockTokens >= layer.blocks)
    return fail(StatusCode::kInvalidArgument, std::string("[") + op + "] token " + std::to_string(token) + " is at position " +
                                                  std::to_string(position) + ": the block table ends at position " +
                                                  std::to_string(layer.blocks * kBlockTokens));
  return Status::success();
}

// Blocks [first, last] of `request` name pages of the pool.
inline Status check_pages(const char* op, const CacheLayer& layer, int64_t request, int64_t first, int64_t last) {
  const int32_t* row = layer.table + request * layer.table_stride;
  for (int64_t block = first; block <= last; block++)
    if (row[block] < 0 || row[block] >= layer.pages)
      return fail(StatusCode::kInvalidArgument, std::string("[") + op + "] block " + std::to_string(block) + " of request " +
                                                    std::to_string(request) + " is page " + std::to_string(row[block]) +
                                                    ": the pool has " + std::to_string(layer.pages) + " pages");
  return Status::success();
}

}  // namespace heddle
