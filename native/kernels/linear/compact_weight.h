// Makes a packed bf16 weight compact (compact_panels.h), and plain again, in place.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cpu/thread_pool.h"
#include "kernels/linear/compact_panels.h"

namespace heddle {

// A weight [outputs, k] of compact_slots_bytes. Nobody may read it while it changes.
class CompactWeight {
 public:
  CompactWeight(std::byte* weight, int64_t outputs, int64_t k) : weight_(weight), outputs_(outputs), k_(k), panels_(linear_panels(outputs)) {}

  // Leaves it plain where it would not become shorter, or where a panel has too many exceptions. Returns the bytes from the
  // start that are in use afterwards.
  int64_t make_compact(ThreadPool& pool);
  void make_plain(ThreadPool& pool);

 private:
  int64_t lanes(int64_t panel) const;

  std::byte* weight_;
  int64_t outputs_, k_, panels_;
};

}  // namespace heddle
