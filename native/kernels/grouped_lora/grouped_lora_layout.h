// How an adapter lies in the page pool, and what its entry at a site means. lib/adapters/placement.ts writes the same.
//
// `entries` is i32 [slots, sites, 8]: one entry per resident adapter (slot) and site of the model.
// `rows` is i32: addresses of single rows in the pool, in units of kRowUnit bytes. A row is contiguous and never
// crosses a page, so factors of any true rank use the pool's pages without padding and without contiguous runs.
//
//   kind  kNone      nothing at this site
//         kLowRank   rank rows of A (each K wide), rank rows of B transposed (each N wide):  L = scale * B (A x)
//         kDense     N rows of a whole weight (each K wide) that replaces the base's:         W x
//   kParallel  a network of two layers beside the module: rank rows of A (K wide), rank rows of B transposed:  L = scale * B f(A x)
//   kSeries    the same behind the module: rank rows of A, N wide like the rows of B transposed:  L = scale * B f(A base[t])
//   dtype of the A, B and dense rows (DType); gain and shift rows are always f32. With kInGroups added, the rows of B lie in groups,
//         with kCompactRows those of A and B, see below
//   rank  (factors) or N (kDense)
//   first_a, first_b   indexes into `rows`
//   gain, shift        index into `rows` of one row, N wide, or -1
//                      kParallel, kSeries: gain is the number of f among ActivateFunction, shift is not read
//   scale              bits of an f32
//
// With b = base[t] - base_bias (the base's product without bias), the delta of one adapter at one site is
//   kLowRank, no gain:  L + shift
//   kLowRank, gain:     gain * (b + L) - b + shift          (DoRA: gain = magnitude / norm)
//   kDense:             W x - b + shift
//   kParallel, kSeries: L
// kNone with gain >= 0 or shift >= 0 is not used: write kLowRank with rank 0.
//
// Rows of B in groups lie as a processor reads them, front to back: kGroupRows rows (in the last group: what is left) share one address, and
// their pieces of kPieceBytes alternate. With c rows in group g, bytes 64 p to 64 p + 63 of its row i are piece p c + i behind
// rows[first_b + g]; every piece is whole. Only grouped_lora on the CPU reads them, at kLowRank, kParallel and kSeries.
//
// Compact rows are bf16 in groups of compact_rows.h: rows[first_a + g] and rows[first_b + g] are addresses of kGroupRows rows of A and of B.
// Only grouped_lora on the CPU reads them, at kLowRank.
//
// An embedding table is as wide as the vocabulary, wider than a page may be. Its rows of A are therefore cut into pieces of
// kEmbeddingPiece ids: A[j][id] is element id % kEmbeddingPiece of rows[first_a + id / kEmbeddingPiece * rank + j].
// Its dense rows are one per id (rank = vocabulary, N wide); there is no bias, so b = base[t].
// A prompt of attention is kDense with f32 rows: rank keys from first_a, rank values from first_b, each key_heads * width wide; scale
// is its gate.
// A norm's entry is kDense with rank 1, dtype f32: first_a is its weight row, shift its bias row or -1.
#pragma once
#include <cstdint>

namespace heddle {

inline constexpr int64_t kRowUnit = 64;
inline constexpr int64_t kEmbeddingPiece = 4096;
inline constexpr int kGroupRows = 16;
inline constexpr int64_t kPieceBytes = 64;
inline constexpr int32_t kInGroups = 256;
inline constexpr int32_t kCompactRows = 512;
// What the networks in series of one token and site may have in all.
inline constexpr int64_t kSeriesSize = 8192;

enum class EntryKind : int32_t { kNone = 0, kLowRank = 1, kDense = 2, kParallel = 3, kSeries = 4 };

struct AdapterEntry {
  EntryKind kind;
  int32_t dtype;
  int32_t rank;
  int32_t first_a;
  int32_t first_b;
  int32_t gain;
  int32_t shift;
  float scale;
};

constexpr int32_t row_dtype(const AdapterEntry& entry) { return entry.dtype & ~(kInGroups | kCompactRows); }
constexpr bool in_groups(const AdapterEntry& entry) { return (entry.dtype & kInGroups) != 0; }
constexpr bool has_compact_rows(const AdapterEntry& entry) { return (entry.dtype & kCompactRows) != 0; }
constexpr bool is_bottleneck(const AdapterEntry& entry) { return entry.kind == EntryKind::kParallel || entry.kind == EntryKind::kSeries; }
constexpr int32_t gain_row(const AdapterEntry& entry) { return is_bottleneck(entry) ? -1 : entry.gain; }
constexpr int32_t shift_row(const AdapterEntry& entry) { return is_bottleneck(entry) ? -1 : entry.shift; }
static_assert(sizeof(AdapterEntry) == 32, "eight i32 columns");

}  // namespace heddle
