// Memory that tensors live in: aligned, counted, zeroed. The processor's own lies on huge pages where it is large; a device's is
// reached by copying only.
#pragma once
#include <atomic>
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

class MemoryCounter {
 public:
  void add(int64_t bytes, int64_t blocks) {
    const int64_t now = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    blocks_.fetch_add(blocks, std::memory_order_relaxed);
    int64_t peak = peak_.load(std::memory_order_relaxed);
    while (now > peak && !peak_.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
    }
  }
  MemoryCounters read() const {
    return {bytes_.load(std::memory_order_relaxed), peak_.load(std::memory_order_relaxed), blocks_.load(std::memory_order_relaxed)};
  }

 private:
  std::atomic<int64_t> bytes_{0};
  std::atomic<int64_t> peak_{0};
  std::atomic<int64_t> blocks_{0};
};

// Memory of a device. Safe from any thread.
class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  // At least `bytes` zeroed bytes, aligned to 256.
  virtual Status allocate(uint64_t bytes, std::byte** out) = 0;
  virtual void release(std::byte* data) = 0;
  // Returns when `from` may be used again; whatever the device does later sees the bytes.
  virtual Status write(std::byte* to, const void* from, uint64_t bytes) = 0;
  // Returns when the bytes that everything before left there are in `to`.
  virtual Status read(void* to, const std::byte* from, uint64_t bytes) = 0;

  // Of the whole device, whoever uses it.
  virtual Status room(uint64_t* free_bytes, uint64_t* total_bytes) = 0;

  MemoryCounter counter;
};

// A block of at least `bytes()` zeroed bytes at a 64-byte boundary, freed with the last reference.
class MemoryBlock {
 public:
  // In the processor's memory, or in a device's.
  static Status allocate(uint64_t bytes, std::shared_ptr<MemoryBlock>* out);
  static Status allocate(uint64_t bytes, std::shared_ptr<DeviceMemory> device, std::shared_ptr<MemoryBlock>* out);
  ~MemoryBlock();
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;

  // Not to be read or written by the processor where device() is given.
  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  uint64_t held_bytes() const { return bytes_ - given_back_; }
  DeviceMemory* device() const { return device_.get(); }

  // Lets go of the processor's memory behind the first `used` bytes, in whole pages, until it is taken back. What is there is
  // lost and becomes zeros; nobody may write there meanwhile. A device's memory stays.
  void give_back(uint64_t used);
  void take_back();

  // Copies; [offset, offset + bytes) must lie inside the block.
  Status write(uint64_t offset, const void* from, uint64_t bytes);
  Status read(uint64_t offset, void* to, uint64_t bytes) const;

 private:
  MemoryBlock(std::byte* data, uint64_t bytes, uint64_t mapped_bytes, std::shared_ptr<DeviceMemory> device)
      : data_(data), bytes_(bytes), mapped_bytes_(mapped_bytes), device_(std::move(device)) {}

  std::byte* data_;
  uint64_t bytes_;
  uint64_t mapped_bytes_;      // 0: the device's
  uint64_t given_back_ = 0;    // bytes
  std::shared_ptr<DeviceMemory> device_;
};

// All blocks of this process in the processor's memory.
MemoryCounters memory_counters();

}  // namespace heddle
