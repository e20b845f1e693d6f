#include "core/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

namespace heddle {

namespace {

MemoryCounter& host_counter() {
  static MemoryCounter* counter = new MemoryCounter;  // blocks may be freed while the process ends
  return *counter;
}

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHugePage = 2u << 20;
constexpr uint64_t kLargest = uint64_t{1} << 46;

Status refuse(uint64_t bytes) { return fail(StatusCode::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes of tensor memory"); }

}  // namespace

Status MemoryBlock::allocate(uint64_t bytes, std::shared_ptr<MemoryBlock>* out) {
  if (bytes > kLargest) return refuse(bytes);
  // One page of slack at the end: kernels may read (never write) a vector beyond the last element.
  const uint64_t unit = bytes >= kHugePage ? kHugePage : kPage;
  const uint64_t mapped = (bytes + 64 + unit - 1) / unit * unit;
  void* data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return refuse(bytes);
#if defined(MADV_HUGEPAGE)
  if (unit == kHugePage) madvise(data, mapped, MADV_HUGEPAGE);
#endif
  try {
    out->reset(new MemoryBlock(static_cast<std::byte*>(data), bytes, mapped, nullptr));
  } catch (const std::bad_alloc&) {
    munmap(data, mapped);
    return refuse(bytes);
  }
  host_counter().add(static_cast<int64_t>(bytes), 1);
  return Status::success();
}

Status MemoryBlock::allocate(uint64_t bytes, std::shared_ptr<DeviceMemory> device, std::shared_ptr<MemoryBlock>* out) {
  if (!device) return allocate(bytes, out);
  if (bytes > kLargest) return refuse(bytes);
  std::byte* data = nullptr;
  HEDDLE_TRY(device->allocate(bytes, &data));
  device->counter.add(static_cast<int64_t>(bytes), 1);
  out->reset(new MemoryBlock(data, bytes, 0, std::move(device)));
  return Status::success();
}

MemoryBlock::~MemoryBlock() {
  if (device_) {
    device_->release(data_);
    device_->counter.add(-static_cast<int64_t>(bytes_), -1);
    return;
  }
  take_back();
  munmap(data_, mapped_bytes_);
  host_counter().add(-static_cast<int64_t>(bytes_), -1);
}

void MemoryBlock::give_back(uint64_t used) {
  take_back();
  if (device_ || used >= bytes_) return;
  // A vector beyond the last element may still be read.
  const uint64_t kept = std::min(bytes_, (used + 64 + kPage - 1) / kPage * kPage);
  std::memset(data_ + used, 0, kept - used);
  if (kept == bytes_) return;
  if (madvise(data_ + kept, mapped_bytes_ - kept, MADV_DONTNEED) != 0) return;
  given_back_ = bytes_ - kept;
  host_counter().add(-static_cast<int64_t>(given_back_), 0);
}

void MemoryBlock::take_back() {
  host_counter().add(static_cast<int64_t>(given_back_), 0);
  given_back_ = 0;
}

Status MemoryBlock::write(uint64_t offset, const void* from, uint64_t bytes) {
  if (bytes == 0) return Status::success();
  if (device_) return device_->write(data_ + offset, from, bytes);
  std::memcpy(data_ + offset, from, bytes);
  return Status::success();
}

Status MemoryBlock::read(uint64_t offset, void* to, uint64_t bytes) const {
  if (bytes == 0) return Status::success();
  if (device_) return device_->read(to, data_ + offset, bytes);
  std::memcpy(to, data_ + offset, bytes);
  return Status::success();
}

MemoryCounters memory_counters() { return host_counter().read(); }

}  // namespace heddle
