#include "core/memory.h"

#include <sys/mman.h>

#include <atomic>
#include <new>
#include <string>

namespace heddle {

namespace {

std::atomic<int64_t> g_bytes{0};
std::atomic<int64_t> g_peak{0};
std::atomic<int64_t> g_blocks{0};

constexpr uint64_t kHugePage = 2u << 20;

void count(int64_t bytes, int64_t blocks) {
  const int64_t now = g_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  g_blocks.fetch_add(blocks, std::memory_order_relaxed);
  int64_t peak = g_peak.load(std::memory_order_relaxed);
  while (now > peak && !g_peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
}

}  // namespace

Status MemoryBlock::allocate(uint64_t bytes, std::shared_ptr<MemoryBlock>* out) {
  const auto refuse = [&] { return fail(StatusCode::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes of tensor memory"); };
  if (bytes > (uint64_t{1} << 46)) return refuse();
  // One page of slack at the end: kernels may read (never write) a vector beyond the last element.
  const uint64_t unit = bytes >= kHugePage ? kHugePage : 4096;
  const uint64_t mapped = (bytes + 64 + unit - 1) / unit * unit;
  void* data = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return refuse();
#if defined(MADV_HUGEPAGE)
  if (unit == kHugePage) madvise(data, mapped, MADV_HUGEPAGE);
#endif
  try {
    out->reset(new MemoryBlock(static_cast<std::byte*>(data), bytes, mapped));
  } catch (const std::bad_alloc&) {
    munmap(data, mapped);
    return refuse();
  }
  count(static_cast<int64_t>(bytes), 1);
  return Status::success();
}

MemoryBlock::~MemoryBlock() {
  munmap(data_, mapped_bytes_);
  count(-static_cast<int64_t>(bytes_), -1);
}

MemoryCounters memory_counters() {
  return {g_bytes.load(std::memory_order_relaxed), g_peak.load(std::memory_order_relaxed), g_blocks.load(std::memory_order_relaxed)};
}

}  // namespace heddle
