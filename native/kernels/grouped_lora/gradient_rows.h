// Where the gradients of an adapter's rows lie: element a / 4 of a flat f32 array for the row at byte a of the pool.
#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/grouped_lora/adapter_pool.h"

namespace heddle {

inline constexpr int64_t kUnitFloats = kRowUnit / 4;
inline constexpr int kPassRanks = 64;             // ranks whose products with the tokens are kept at once
inline constexpr int64_t kGradientColumns = 288;  // columns of gradients per chunk

// A row that a kernel will add to, in units of the pool.
struct RowRange {
  int32_t first;
  int32_t end;
  int32_t slot;
  int32_t site;
  int32_t repeats;  // whether the same adapter may name it again, as one chunk then adds both
};

// The rows that are written, collected so that no two of them share an element: two chunks would add to it at the same time.
class GradientRows {
 public:
  // memory: one RowRange per row of the table, which is room for all unless some row is named twice, and for `repeated` more.
  GradientRows(const char* op, const AdapterPool& pool, const TensorView& gradients, int64_t repeated, std::byte* memory)
      : op_(op), pool_(pool), room_(pool.row_count + repeated), ranges_(reinterpret_cast<RowRange*>(memory)) {
    pool_.byte_count = std::min(pool.byte_count, gradients.dims[0] * 4);
  }

  static size_t bytes(const TensorView& rows, int64_t repeated) {
    return (static_cast<size_t>(rows.dims[0] + repeated) * sizeof(RowRange) + 63) / 64 * 64;
  }

  // rows[first .. first + count) of `width` floats, known to lie inside the pool.
  Status add(int64_t slot, int64_t site, int64_t first, int64_t count, int64_t width, bool repeats = false) {
    if (count == 0 || width == 0) return Status::success();
    if (!pool_.holds(first, count, width * 4)) {
      const std::string range = std::to_string(first) + " to " + std::to_string(first + count);
      return bad_entry(op_, slot, site, "has rows " + range + " whose gradients do not all lie inside gradients");
    }
    if (count > room_ - count_) return bad_entry(op_, slot, site, "has rows that it or another entry of the batch has too");
    for (int64_t i = first; i < first + count; i++) {
      const int32_t units = static_cast<int32_t>((width + kUnitFloats - 1) / kUnitFloats);
      ranges_[count_++] = {pool_.rows[i], pool_.rows[i] + units, static_cast<int32_t>(slot), static_cast<int32_t>(site), repeats};
    }
    return Status::success();
  }

  Status check_apart() {
    std::sort(ranges_, ranges_ + count_, [](const RowRange& a, const RowRange& b) { return a.first < b.first; });
    for (int64_t i = 1; i < count_; i++) {
      const RowRange &before = ranges_[i - 1], &after = ranges_[i];
      if (after.first >= before.end) continue;
      if (after.repeats && before.repeats && after.slot == before.slot && after.first == before.first) continue;
      return bad_entry(op_, after.slot, after.site, "has a row that overlaps one of slot " + std::to_string(before.slot) + " at site " +
                                                        std::to_string(before.site) + ": their gradients would mix");
    }
    return Status::success();
  }

 private:
  const char* op_;
  AdapterPool pool_;
  int64_t room_;
  RowRange* ranges_;
  int64_t count_ = 0;
};

inline float* gradient_row(const AdapterPool& pool, const TensorView& gradients, int64_t row) {
  return gradients.as<float>() + pool.rows[row] * kUnitFloats;
}

inline Status check_gradients(const char* op, const TensorView& gradients, const TensorView& accumulated) {
  HEDDLE_CHECK(gradients.rank == 1 && gradients.dtype == DType::kF32, op, "gradients is " + describe(gradients) + ": expected f32 [elements]");
  HEDDLE_CHECK(accumulated.rank == 1 && accumulated.dtype == DType::kF32 && accumulated.dims[0] == gradients.dims[0] &&
                   accumulated.data == gradients.data,
               op, "accumulated does not lie over gradients");
  return Status::success();
}

// The gradient of a row of another width than its own would not lie at its place.
inline Status check_trainable(const char* op, const AdapterEntry& entry, int64_t slot, int64_t site) {
  if (entry.kind == EntryKind::kNone || static_cast<DType>(entry.dtype) == DType::kF32) return Status::success();
  return bad_entry(op, slot, site, std::string("has factors in ") + dtype_name(static_cast<DType>(entry.dtype)) + ": gradients are of f32 factors");
}

}  // namespace heddle
