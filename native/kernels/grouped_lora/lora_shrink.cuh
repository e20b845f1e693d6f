// x A^T for the tokens of one adapter: sixteen rows of A and a chunk of their columns, read once for all tokens of a group.
//
// A warp takes 128 columns and holds the rows' elements there in registers, loaded at once, while the tokens pass by in eights. Rows
// are the rows of the mma, tokens its columns; a lane loads 16 bytes of a row, which serve as k positions wherever they lie as long as
// x is taken in the same order. The warps' sums are added in order, so a token's bits depend on nothing but its row and the chunks.
#pragma once
#include "kernels/grouped_lora/lora_work.cuh"
#include "kernels/grouped_lora/split_terms.cuh"

namespace heddle {

inline constexpr int kTokenTile = 8;
inline constexpr int kStepColumns = 32;                    // of one 16-byte load per lane of 16-bit elements
inline constexpr int kPartialStride = kRankTile + 4;       // keeps the lanes of a store in different banks
inline constexpr size_t partial_bytes(int group) { return sizeof(float) * kLoraWarps * kPartialStride * static_cast<size_t>(group); }

// Eight floats from `at` on; those from `width` on are zero and not read. The row may be null.
__device__ __forceinline__ void load_input_eight(float (&to)[8], const float* row, int at, int width, bool vectors) {
  if (vectors && row != nullptr && at + 8 <= width) {
#pragma unroll
    for (int part = 0; part < 2; part++) {
      const Pack<float, 4> four = load_pack<4>(row + at + 4 * part);
#pragma unroll
      for (int i = 0; i < 4; i++) to[4 * part + i] = four.v[i];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++) to[i] = row != nullptr && at + i < width ? row[at + i] : 0.0f;
}

// What a token's row of inputs is: x, or for a network in series the base's outputs.
struct LoraInput {
  const float* rows;
  int64_t stride;
  bool vectors;
};

__device__ __forceinline__ LoraInput lora_input(const LoraWork& work, const AdapterEntry& entry, const SiteColumns& at) {
  if (entry.kind != EntryKind::kSeries) return {work.x, work.x_stride, work.x_vectors};
  return {work.y + at.from, work.y_stride, work.y_vectors && at.from % 4 == 0};
}

// partial[(warp * group + token) * kPartialStride + row]: each warp's own sums.
template <class Row>
__device__ __forceinline__ void shrink_columns(const LoraWork& work, const LoraLists& lists, SharedPointer<float> partial) {
  constexpr int kTerms = kRowTerms<Row>;
  constexpr int kSteps = kTerms == kFloatTerms ? 1 : 2;  // whose operands fit into registers
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int group = lane / 4, pair = lane % 4;
  const LoraItem item = lists.item[0];
  const InputChunks chunks = input_chunks(work, item.entry, item.at);
  const LoraInput input = lora_input(work, item.entry, item.at);
  const Row* rows[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = item.row + group + 8 * half;
    rows[half] = row < item.entry.rank ? pool_row<Row>(work.pool, static_cast<int64_t>(item.entry.first_a) + row, chunks.width) : nullptr;
    if (row < item.entry.rank && rows[half] == nullptr) refuse_rows(work, item, item.entry.first_a);
  }
  const int begin = item.chunk * chunks.columns, end = begin + chunks.columns < chunks.width ? begin + chunks.columns : chunks.width;
  const int64_t first_token = static_cast<LoraSlice>(lists.slice[0]).first_token;
  bool adds = false;
  int column = begin + warp * kWarpColumns;
  do {
    for (int part = 0; part < kWarpColumns; part += kSteps * kStepColumns) {
      const int mine = column + part + pair * 8;
      // Rows of A, as operands: [step][half of its columns].
      uint32_t a[kSteps][2][kTerms][4];
      Row raw[kSteps][2][8];
#pragma unroll
      for (int step = 0; step < kSteps; step++)
#pragma unroll
        for (int half = 0; half < 2; half++) load_row_elements(raw[step][half], rows[half], mine + step * kStepColumns, end);
#pragma unroll
      for (int step = 0; step < kSteps; step++)
#pragma unroll
        for (int quarter = 0; quarter < 4; quarter++)
#pragma unroll
          for (int half = 0; half < 2; half++) {
            uint32_t terms[kTerms];
            split_row_pair<Row>(terms, raw[step][half][2 * quarter], raw[step][half][2 * quarter + 1]);
#pragma unroll
            for (int term = 0; term < kTerms; term++) a[step][quarter / 2][term][quarter % 2 * 2 + half] = terms[term];
          }
      for (int tile = 0; tile < item.routes; tile += kTokenTile) {
        const float* in = nullptr;
        if (tile + group < item.routes) {
          const int route = key_route(lists.keys[item.first + tile + group]);
          in = input.rows + (first_token + route / work.routes) * input.stride;
        }
        float large[4] = {}, small[4] = {};
        constexpr int kTogether = kSteps < 2 ? 1 : 2;  // steps whose inputs are loaded together
#pragma unroll
        for (int first = 0; first < kSteps; first += kTogether) {
          float x[kTogether][8];
#pragma unroll
          for (int step = 0; step < kTogether; step++) load_input_eight(x[step], in, mine + (first + step) * kStepColumns, end, input.vectors);
#pragma unroll
          for (int step = 0; step < kTogether; step++)
#pragma unroll
            for (int m = 0; m < 2; m++) {
              uint32_t low[kFloatTerms], high[kFloatTerms];
              split_pair(low, x[step][4 * m], x[step][4 * m + 1]);
              split_pair(high, x[step][4 * m + 2], x[step][4 * m + 3]);
#pragma unroll
              for (int term = 0; term < kFloatTerms; term++) {
                const uint32_t b[2] = {low[term], high[term]};
#pragma unroll
                for (int of_row = 0; of_row < kTerms; of_row++) {
                  if (!is_kept(of_row, term)) continue;
                  if (of_row + term == 0) mma_m16n8k16<BF16>(large, a[first + step][m][of_row], b);
                  else mma_m16n8k16<BF16>(small, a[first + step][m][of_row], b);
                }
              }
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const int token = tile + 2 * pair + i % 2, row = group + i / 2 * 8;
          if (token >= item.routes) continue;
          const int place = (warp * work.group + token) * kPartialStride + row;
          const float sum = large[i] + small[i];
          partial[place] = adds ? static_cast<float>(partial[place]) + sum : sum;
        }
      }
      adds = true;
    }
    column += kChunkColumns;
  } while (column - warp * kWarpColumns < end);
}

// The item at hand: its sums in the slice's products.
__device__ __forceinline__ void shrink(const LoraWork& work, const LoraLists& lists) {
  const auto partial = shared_at<float>(lists.scratch, 0);
  with_device_rows(static_cast<LoraItem>(lists.item[0]).entry.dtype, [&](auto kind) { shrink_columns<decltype(kind)>(work, lists, partial); });
  __syncthreads();
  const LoraItem item = lists.item[0];
  const LoraSlice slice = lists.slice[0];
  for (int i = static_cast<int>(threadIdx.x); i < item.routes * kRankTile; i += kLoraThreads) {
    const int token = i / kRankTile, row = i % kRankTile;
    float sum = 0;
    for (int warp = 0; warp < kLoraWarps; warp++) sum += partial[(warp * work.group + token) * kPartialStride + row];
    product_of(work, slice, key_route(lists.keys[item.first + token]), item.s, item.chunk)[item.row + row] = sum;
  }
  __syncthreads();
}

}  // namespace heddle
