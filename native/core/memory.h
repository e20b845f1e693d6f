// Memory that tensors live in: aligned, counted, on huge pages where it is large.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/status.h"

namespace heddle {

struct MemoryCounters {
  int64_t bytes;
  int64_t peak_bytes;
  int64_t blocks;
};

// A block of at least `bytes()` zeroed bytes at a 64-byte boundary, freed with the last reference.
class MemoryBlock {
 public:
  static Status allocate(uint64_t bytes, std::shared_ptr<MemoryBlock>* out);
  ~MemoryBlock();
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  MemoryBlock(std::byte* data, uint64_t bytes, uint64_t mapped_bytes) : data_(data), bytes_(bytes), mapped_bytes_(mapped_bytes) {}

  std::byte* data_;
  uint64_t bytes_;
  uint64_t mapped_bytes_;
};

// All blocks of this process.
MemoryCounters memory_counters();

}  // namespace heddle
