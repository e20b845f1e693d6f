// Which routes belong to which adapter, found on the device: what adapter_tokens.h does on the CPU.
//
// A route is an element of `index`. Routes with the same key lie side by side, in the order of `index`; the key is the slot, or
// the column and the slot where a token may appear once only. Runs are the keys that the batch has, tiles cut them.
#pragma once
#include "cuda/cuda_context.h"
#include "cuda/vocabulary.cuh"

namespace heddle {

inline constexpr int kRunTile = 32;  // most tokens of one adapter that go through its factors together

struct AdapterRun {
  int32_t key;
  int32_t first;  // position of its first route
  int32_t count;
  int32_t first_tile;
};

struct RunTile {
  int32_t run;
  int32_t first;  // position
  int32_t count;
};

// Zero before the first launch of an op.
struct GroupedState {
  int32_t refused;  // set by group_tokens: something was reported, and nothing may be written
  int32_t unsound;  // the same, set by the kernel that reads it behind a barrier
  int32_t runs;
  int32_t tiles;
  int32_t largest_rank;
  int32_t arrived;  // blocks at the grid's barrier
  int32_t reserved[10];
};

struct KeyCount {
  int32_t count;
  int32_t first;  // counted from behind, so that zero is none
  int32_t end;
};

// All of it lies in the workspace.
struct GroupedTokens {
  GroupedState* state;
  KeyCount* keys;
  uint32_t* zeroed;      // as many words as the op asks for, zero before its first kernel
  int32_t* part_tiles;   // [parts]: the end of each part's tiles
  AdapterRun* runs;
  RunTile* tiles;
  // By position.
  int32_t* token;
  int32_t* route;
  float* weight;
};

struct Grouping {
  const int32_t* index;  // [tokens, routes]
  const float* weight;
  const int32_t* ids;  // a token of a negative id is left out; or null
  int64_t elements;
  int32_t routes;
  int32_t slots;
  int32_t parts;  // 1, or `routes`: then each column of index has keys of its own

  int64_t keys() const { return static_cast<int64_t>(parts) * slots; }
  int64_t most_runs() const { return keys() < elements ? keys() : elements; }
  int64_t most_tiles() const { return ceil_div(elements, kRunTile) + most_runs(); }
};

// The sites that share x and where their outputs lie; checked with the routes.
struct GroupedColumns {
  const int32_t* at;  // [sites + 1], or null: one site, all columns, checked on the host
  int32_t sites;
  int64_t width;
  int64_t first_site;
  int64_t all_sites;
};

// What group_tokens refuses.
struct GroupingRefusals {
  Failure slot;     // the slot, the last slot
  Failure columns;  // from, to, width
  Failure sites;    // first, end, all
};

#define HEDDLE_GROUPING_REFUSALS(context, op)                                     \
  ::heddle::GroupingRefusals {                                                    \
    (context).failure("[" op "] index holds slot {0}: expected -1 to {1}"),       \
        (context).failure("[" op "] columns {0} to {1} do not lie in {2}"),       \
        (context).failure("[" op "] sites {0} to {1} of {2}")                     \
  }

size_t grouped_tokens_bytes(const Grouping& grouping, int64_t zeroed_words);
GroupedTokens place_grouped_tokens(const Grouping& grouping, int64_t zeroed_words, std::byte* memory);

// Fills what place_grouped_tokens placed. A slot that does not exist and columns that are wrong are reported and set `refused`.
Status group_tokens(const char* op, const Grouping& grouping, const GroupedColumns& columns, int64_t zeroed_words, const GroupingRefusals& refusals,
                    const GroupedTokens& tokens, const CudaContext& context);

// A cooperative launch of as many blocks as there are items of work at most, or as are resident at once.
template <class... Parameters, class... Arguments>
Status launch_resident(const char* op, void (*kernel)(Parameters...), int threads, int64_t items, const CudaContext& context,
                       const Arguments&... arguments) {
  if (items == 0) return Status::success();
  HEDDLE_CHECK(items <= INT32_MAX / 2, op, "the batch has " + std::to_string(items) + " pieces of work: too many");
  int resident = 0;
  HEDDLE_TRY(context.resident_blocks(op, reinterpret_cast<const void*>(kernel), static_cast<unsigned>(threads), 0, &resident));
  return context.launch(op, kernel, {strided_grid(items, resident), static_cast<unsigned>(threads), 0, true}, arguments...);
}

// All blocks of a cooperative launch have come here, and what they wrote before can be read.
__device__ inline void grid_barrier(int32_t* arrived) {
  __syncthreads();
  if (threadIdx.x == 0) {
    const int32_t blocks = static_cast<int32_t>(gridDim.x);
    __threadfence();
    const int32_t all = (add_release(arrived, 1) / blocks + 1) * blocks;
    while (load_acquire(arrived) < all) wait_a_little();
    __threadfence();
  }
  __syncthreads();
}

}  // namespace heddle
