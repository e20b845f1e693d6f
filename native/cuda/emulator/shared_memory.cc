#include "cuda/emulator/shared_memory.h"

#include <sys/mman.h>

#include <cstdlib>

#include "cuda/emulator/block.h"
#include "cuda/emulator/emulated_shared.h"
#include "cuda/emulator/shadow.h"

namespace heddle::emulator {

SharedMemory* shared_memory = nullptr;

namespace {

struct StaticArray {
  const void* declaration;
  uint32_t offset, bytes;
};
constexpr int kMostArrays = 64;
StaticArray arrays[kMostArrays];
int array_count = 0;
uint32_t static_bytes = 0;

constexpr uint32_t kCopyAlignment = 16;

}  // namespace

uint32_t most_shared() {
  static const uint32_t bytes = [] {
    const char* wanted = std::getenv("HEDDLE_EMULATOR_SHARED");
    const unsigned long value = wanted == nullptr ? 0 : std::strtoul(wanted, nullptr, 10);
    return value == 0 || value > kMostShared ? kMostShared : static_cast<uint32_t>(value);
  }();
  return bytes;
}

SharedMemory* new_shared() {
  auto* shared = new SharedMemory();
  void* memory = mmap(nullptr, kMostShared, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  shared->bytes = static_cast<std::byte*>(memory);
  map_shadow(&shared->shadow);
  return shared;
}

void start_launch_shared() {
  array_count = 0;
  static_bytes = 0;
}

void start_shared(Block* block, size_t dynamic_bytes) {
  block->shared->dynamic_bytes = static_cast<uint32_t>(dynamic_bytes);
  start_shadow(&block->shared->shadow, block);
}

void forget_shared(SharedMemory* shared) { forget_shadow(&shared->shadow); }

uint32_t place_static(const void* declaration, size_t bytes) {
  for (int i = 0; i < array_count; i++) {
    if (arrays[i].declaration == declaration) return arrays[i].offset;
  }
  const uint32_t dynamic_bytes = (shared_memory->dynamic_bytes + 15) / 16 * 16;
  const uint32_t rounded = static_cast<uint32_t>((bytes + 15) / 16 * 16);
  if (array_count == kMostArrays) fail_thread("more than %d static arrays in shared memory", kMostArrays);
  if (static_bytes + rounded > kMostStaticShared)
    fail_thread("%u bytes of static shared memory: at most %u", static_bytes + rounded, kMostStaticShared);
  if (dynamic_bytes + static_bytes + rounded > most_shared())
    fail_thread("%u bytes of shared memory, %u of them dynamic: at most %u", dynamic_bytes + static_bytes + rounded, dynamic_bytes, most_shared());
  const uint32_t offset = dynamic_bytes + static_bytes;
  arrays[array_count++] = {declaration, offset, static_cast<uint32_t>(bytes)};
  static_bytes += rounded;
  return offset;
}

namespace {

inline void check_place(SharedAddress at, uint32_t bytes, uint32_t alignment, const char* what, const void* code) {
  if (at.offset < at.begin || at.end - at.begin < bytes || at.offset > at.end - bytes)
    fail_at(code, "shared memory: %s of %u bytes at byte %d of an array of %u", what, bytes, static_cast<int32_t>(at.offset - at.begin), at.end - at.begin);
  if ((at.offset & (alignment - 1)) != 0) fail_at(code, "shared memory: misaligned %s of %u bytes at byte %u of an array", what, bytes, at.offset - at.begin);
}

}  // namespace

template <uint32_t Bytes>
const std::byte* read_shared(SharedAddress at, uint32_t alignment, uint32_t thread, uint32_t count) {
  const void* code = __builtin_return_address(0);
  const uint32_t bytes = Bytes == 0 ? count : Bytes;
  check_place(at, bytes, alignment, "read", code);
  const Access access{at.offset, bytes, at.begin, thread, code};
  if (Bytes == 0) {
    check_read(&shared_memory->shadow, access);
  } else {
    quick_read<Bytes>(&shared_memory->shadow, access);
  }
  return shared_memory->bytes + at.offset;
}

template <uint32_t Bytes>
std::byte* write_shared(SharedAddress at, uint32_t alignment, uint32_t count) {
  const void* code = __builtin_return_address(0);
  const uint32_t bytes = Bytes == 0 ? count : Bytes;
  check_place(at, bytes, alignment, "write", code);
  const Access access{at.offset, bytes, at.begin, threadIdx.x, code};
  if (Bytes == 0) {
    check_write(&shared_memory->shadow, access);
  } else {
    quick_write<Bytes>(&shared_memory->shadow, access);
  }
  return shared_memory->bytes + at.offset;
}

#define HEDDLE_EMULATED_ACCESS(bytes)                                                              \
  template const std::byte* read_shared<bytes>(SharedAddress, uint32_t, uint32_t, uint32_t);       \
  template std::byte* write_shared<bytes>(SharedAddress, uint32_t, uint32_t)
HEDDLE_EMULATED_ACCESS(0);
HEDDLE_EMULATED_ACCESS(1);
HEDDLE_EMULATED_ACCESS(2);
HEDDLE_EMULATED_ACCESS(4);
HEDDLE_EMULATED_ACCESS(8);
HEDDLE_EMULATED_ACCESS(16);
#undef HEDDLE_EMULATED_ACCESS

void copy_async(SharedAddress to, const void* from, int bytes, bool valid) {
  const void* code = __builtin_return_address(0);
  const auto size = static_cast<uint32_t>(bytes);
  check_place(to, size, kCopyAlignment, "asynchronous copy", code);
  if (valid) check_aligned(from, kCopyAlignment);
  Thread* self = scheduler.thread;
  check_pending(&shared_memory->shadow, {to.offset, size, to.begin, self->index, code});
  self->copies.push_back({from, to.offset, self->copy_groups, valid});
}

void drop_copies(Thread* thread) {
  for (const AsyncCopy& copy : thread->copies) drop_pending(&shared_memory->shadow, copy.to, kCopyAlignment);
  thread->copies.clear();
}

void copy_async_commit() { scheduler.thread->copy_groups++; }

void copy_async_wait(int pending) {
  Thread* self = scheduler.thread;
  size_t landed = 0;
  while (landed < self->copies.size() && self->copies[landed].group + static_cast<uint32_t>(pending) < self->copy_groups) {
    const AsyncCopy& copy = self->copies[landed++];
    land_pending(&shared_memory->shadow, copy.to, kCopyAlignment, self->index);
    if (copy.valid) {
      std::memcpy(shared_memory->bytes + copy.to, copy.from, kCopyAlignment);
    } else {
      std::memset(shared_memory->bytes + copy.to, 0, kCopyAlignment);
    }
  }
  if (landed > 0) self->copies.erase(self->copies.begin(), self->copies.begin() + static_cast<ptrdiff_t>(landed));
}

int32_t load_acquire(const int32_t* from) {
  constexpr uint32_t kPatience = 256;  // loads after which a loop that never rests is made to
  check_aligned(from, 4);
  if (++scheduler.acquires % kPatience == 0) yield();
  return *from;
}

void store_release(int32_t* to, int32_t value) {
  check_atomic(to, 4);
  *to = value;
}

int32_t add_release(int32_t* to, int32_t value) {
  check_atomic(to, 4);
  const int32_t before = *to;
  *to = before + value;
  return before;
}

void fail_global_alignment(const void* at, size_t bytes) { fail_at(__builtin_return_address(0), "misaligned access of %zu bytes to global memory at %p", bytes, at); }

}  // namespace heddle::emulator
