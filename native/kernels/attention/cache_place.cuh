// Following the block table on the device: what is data is checked before it is followed.
#pragma once
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"
#include "kernels/attention/attention_checks.h"

namespace heddle {

struct PlaceFailures {
  Failure request, position, page;
};

// `op` is a string literal.
#define HEDDLE_PLACE_FAILURES(context, op)                                                                       \
  ::heddle::PlaceFailures {                                                                                      \
    (context).failure("[" op "] token {0} belongs to request {1}: the block table has {2} rows"),                 \
        (context).failure("[" op "] token {0} is at position {1}: the block table ends at position {2}"),         \
        (context).failure("[" op "] block {0} of request {1} is page {2}: the pool has {3} pages")                \
  }

// False, and reported, when `position` of `request` has no place in the block table.
__device__ inline bool has_place(const CacheLayer& layer, const PlaceFailures& failures, int64_t token, int64_t request, int64_t position) {
  if (request < 0 || request >= layer.requests) {
    failures.request.report(token, request, layer.requests);
    return false;
  }
  if (position / kBlockTokens >= layer.blocks) {
    failures.position.report(token, position, layer.blocks * kBlockTokens);
    return false;
  }
  return true;
}

// The layer's part of a block's page; nullptr, and reported, when the pool has no such page.
template <class Stored>
__device__ inline Stored* find_page(const CacheLayer& layer, const PlaceFailures& failures, int64_t request, int64_t block) {
  const int64_t page = layer.table[request * layer.table_stride + block];
  if (page < 0 || page >= layer.pages) {
    failures.page.report(block, request, page, layer.pages);
    return nullptr;
  }
  return reinterpret_cast<Stored*>(layer.data + page * layer.page_bytes);
}

}  // namespace heddle
